import codecs
import os
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr

from adsyncd.credentials.account import Credentials
from adsyncd.credentials.systemd import read_credential, read_systemd
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable
from support.descriptors import exhausted


def test_a_credential_is_json_in_the_directory_that_systemd_names(tmp_path: Path) -> None:
    (tmp_path / "acme").write_text('{"email": "ads@acme.example", "password": "pw"}\n')
    credentials = read_systemd("acme", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert credentials == Credentials("ads@acme.example", SecretStr("pw"))


@pytest.mark.parametrize("environ", [{}, {"CREDENTIALS_DIRECTORY": ""}])
def test_without_systemd_the_error_says_how_to_be_started(environ: dict[str, str]) -> None:
    with pytest.raises(CredentialsMissing, match=r"start the daemon by systemd, with LoadCredential=acme:FILE"):
        read_systemd("acme", environ)


def test_a_credential_that_is_not_there_is_named_with_its_fix(tmp_path: Path) -> None:
    with pytest.raises(CredentialsMissing, match=r"No such file or directory.*LoadCredential=acme"):
        read_systemd("acme", {"CREDENTIALS_DIRECTORY": str(tmp_path)})


@pytest.mark.parametrize("name", ["", ".", "..", "../acme", "/etc/passwd", "a/b", "acme\n", ".hidden"])
def test_no_name_leads_out_of_the_directory(name: str, tmp_path: Path) -> None:
    (tmp_path / "acme").write_text("{}")
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(CredentialsMissing, match="can't be a credential's name"):
        read_credential(name, {"CREDENTIALS_DIRECTORY": str(inside)})


@pytest.mark.parametrize("content", [b'{"email": "canary', b"\xffcanary", b"canary", b'{"password": "canary"}', b""])
def test_a_malformed_credential_is_refused_without_a_word_of_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "acme").write_bytes(content)
    with pytest.raises(CredentialsMissing, match="the credential acme") as caught:
        read_systemd("acme", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_the_mark_of_the_encoding_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "acme").write_bytes(codecs.BOM_UTF8 + b'{"email": "ads@acme.example", "password": "pw"}')
    assert read_systemd("acme", {"CREDENTIALS_DIRECTORY": str(tmp_path)}).email == "ads@acme.example"


@pytest.mark.parametrize("content", [b"[" * 200_000, b" " * (2 << 20)])
def test_a_credential_that_is_nested_too_deep_or_too_large_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "acme").write_bytes(content)
    with pytest.raises(CredentialsMissing, match="the credential acme is"):
        read_systemd("acme", {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_pipe_in_the_place_of_a_credential_blocks_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "acme")
    with pytest.raises(CredentialsMissing, match=r"can't be read \(no regular file\)"):
        read_systemd("acme", {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_a_credential_that_this_process_has_no_descriptor_for_is_not_taken_for_missing(tmp_path: Path) -> None:
    (tmp_path / "acme").write_text('{"email": "ads@acme.example", "password": "pw"}')
    with exhausted(), pytest.raises(CredentialsUnavailable, match="no file descriptor left; raise LimitNOFILE="):
        read_systemd("acme", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
