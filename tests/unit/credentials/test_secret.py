import codecs
import os
import traceback
from pathlib import Path

import pytest

from adsyncd.credentials.secret import resolve_secret
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable
from adsyncd.model.tenant import InCredential, InFile, InVariable, SecretPlace
from support.descriptors import exhausted


def places(folder: Path, content: str) -> dict[str, tuple[SecretPlace, dict[str, str]]]:
    (folder / "secret-id").write_text(content)
    return {
        "credential": (InCredential("secret-id"), {"CREDENTIALS_DIRECTORY": str(folder)}),
        "variable": (InVariable("SECRET_ID"), {"SECRET_ID": content}),
        "file": (InFile(folder / "secret-id"), {}),
    }


@pytest.mark.parametrize("place", ["credential", "variable", "file"])
def test_a_secret_is_taken_without_the_line_end_after_it(place: str, tmp_path: Path) -> None:
    assert resolve_secret(*places(tmp_path, "s3cret\n")[place]).get_secret_value() == "s3cret"


@pytest.mark.parametrize("place", ["credential", "variable", "file"])
@pytest.mark.parametrize("content", ["", " \n", "two\nlines-canary", "canary\u20ac", "canary\x00"])
def test_what_no_header_could_carry_is_refused_without_a_word_of_it(place: str, content: str, tmp_path: Path) -> None:
    with pytest.raises(CredentialsMissing, match="holds no secret") as caught:
        resolve_secret(*places(tmp_path, content)[place])
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_a_secret_is_read_anew_each_time_so_that_a_rotated_one_works(tmp_path: Path) -> None:
    ref = InFile(tmp_path / "secret-id")
    ref.path.write_text("old")
    assert resolve_secret(ref, {}).get_secret_value() == "old"
    ref.path.write_text("new")
    assert resolve_secret(ref, {}).get_secret_value() == "new"


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsMissing, match=r"none can't be read \(No such file or directory\)"):
        resolve_secret(InFile(tmp_path / "none"), {})
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(CredentialsMissing, match="binary is not UTF-8 text"):
        resolve_secret(InFile(tmp_path / "binary"), {})


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(CredentialsMissing, match="the environment variable SECRET_ID holds no secret"):
        resolve_secret(InVariable("SECRET_ID"), {})


def test_the_mark_of_the_encoding_is_skipped_and_a_pipe_blocks_nothing(tmp_path: Path) -> None:
    (tmp_path / "marked").write_bytes(codecs.BOM_UTF8 + b"s3cret\n")
    assert resolve_secret(InFile(tmp_path / "marked"), {}).get_secret_value() == "s3cret"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CredentialsMissing, match=r"pipe can't be read \(no regular file\)"):
        resolve_secret(InFile(tmp_path / "pipe"), {})


def test_a_secret_that_this_process_has_no_descriptor_for_is_not_taken_for_missing(tmp_path: Path) -> None:
    ref = InFile(tmp_path / "secret-id")
    ref.path.write_text("s3cret")
    with exhausted(), pytest.raises(CredentialsUnavailable, match="no file descriptor left; raise LimitNOFILE="):
        resolve_secret(ref, {})
