import os
from pathlib import Path

import pytest
import trustme
from pydantic import TypeAdapter, ValidationError

from adsyncd.config.authorities import Authorities, CaFile

ADAPTER: TypeAdapter[Authorities] = TypeAdapter(CaFile)


@pytest.fixture
def pem() -> bytes:
    return trustme.CA().cert_pem.bytes()


def test_all_certificates_of_a_bundle_are_read_whatever_stands_between_them(tmp_path: Path, pem: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes("# Zertifizierungsstelle Köln\n".encode() + pem + b"\xff\n" + trustme.CA().cert_pem.bytes())
    read = ADAPTER.validate_python(str(path))
    assert read.path == path
    assert read.pem.count("BEGIN CERTIFICATE") == 2
    assert "CERTIFICATE" not in repr(read)


def test_the_content_makes_the_difference_so_that_a_reload_takes_up_a_new_authority(tmp_path: Path, pem: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(pem)
    before = ADAPTER.validate_python(str(path))
    assert ADAPTER.validate_python(str(path)) == before
    path.write_bytes(trustme.CA().cert_pem.bytes())
    assert ADAPTER.validate_python(str(path)) != before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"canary",
        b"\x30\x82\x01",
        b"-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----\n",
        trustme.CA().private_key_pem.bytes(),
    ],
    ids=range(5),
)
def test_a_file_without_certificates_is_refused_without_a_word_of_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(str(path))
    [error] = caught.value.errors()
    assert error["ctx"]["what"] == "holds no certificates in PEM"
    assert "canary" not in f"{error['ctx']}"


def test_a_file_that_cannot_be_read_is_refused_with_what_fixes_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for value, what in (
        (str(tmp_path / "none"), "can't be read: No such file or directory"),
        (str(tmp_path), "can't be read: Is a directory"),
        (str(tmp_path / "pipe"), "can't be read: no regular file"),
        ("ca.pem", "expected an absolute path"),
        ("/a\x00b", "expected an absolute path"),
        (5, "expected an absolute path"),
    ):
        with pytest.raises(ValidationError) as caught:
            ADAPTER.validate_python(value)
        assert caught.value.errors()[0]["ctx"]["what"] == what
