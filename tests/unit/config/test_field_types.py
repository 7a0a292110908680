import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from pydantic import TypeAdapter, ValidationError

from adsyncd.config import field_types
from adsyncd.config.field_types import Authorities, CaFile


def accepts(kind: Any, value: object) -> object:  # noqa: ANN401 - no type covers what Annotated makes
    return TypeAdapter(kind).validate_python(value)


def refuses(kind: object, value: object) -> bool:
    try:
        accepts(kind, value)
    except ValidationError:
        return True
    return False


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            field_types.VaultPath,
            ["acme", "adsyncd/acme", "A/b_c/d-e.f", "0"],
            ["", "/acme", "acme/", "a//b", "..", "a/../b", "a/..", "a..b", ".a", "a/.b", "a b", "a%2e", "a\n", "é"],
        ),
        (field_types.CredentialName, ["acme", "vault-secret-id", "a@b.c"], ["", "../a", "a/b", ".", "..", "a\n"]),
        (field_types.VariableName, ["ACME", "_a1"], ["", "1A", "A-B", "A=B", "A\n"]),
        (field_types.PlatformName, ["mixo", "mixo-eu_2", "0"], ["", "Mixo", "-a", "a.b", "a" * 64, "mixo\n"]),
        (field_types.ClientId, ["acme", "A:1/2", "a" * 256], ["", "a b", "a\r\nX-Other: 1", "é", "a" * 257]),
        (field_types.Crontab, ["*/15 * * * *", "0 8-18 * jan mon-fri"], ["", "* * * *", "* * * * * *", "@daily"]),
        (field_types.AbsolutePath, ["/run/adsyncd/control.sock"], ["", "control.sock", "./a"]),
        (field_types.StoreUrl, ["sqlite:////a b/c.db", "postgresql+psycopg://u:p@h/d"], ["", "mysql://h/d", "/a.db"]),
    ],
)
def test_text_is_taken_if_all_of_it_has_the_shape(kind: object, good: list[str], bad: list[str]) -> None:
    assert [str(accepts(kind, value)) for value in good] == good
    assert [value for value in bad if not refuses(kind, value)] == []


def test_an_address_loses_its_trailing_slash() -> None:
    assert accepts(field_types.Url, "https://ads.example.com/") == "https://ads.example.com"
    assert accepts(field_types.Url, "http://127.0.0.1:8080/v1//") == "http://127.0.0.1:8080/v1"
    assert accepts(field_types.Url, "http://[::1]:80") == "http://[::1]:80"


@pytest.mark.parametrize(
    "host",
    ["[fe80::1%eth0]:80", "[fe80::1%25eth0]", "[::ffff:192.0.2.1]", "192.0.2.1", "127.1", "a_b", "ads.", "H", "1"],
)
def test_an_address_may_have_any_host_that_can_be_connected_to(host: str) -> None:
    assert accepts(field_types.Url, f"http://{host}/api") == f"http://{host}/api"
    httpx.URL(f"http://{host}/api")


@pytest.mark.parametrize(
    "address",
    [
        "", "ads.example.com", "ftp://ads.example.com", "https://", "https:///path", "https://h:99999", "https://h:0",
        "https://[::1", "https://h?q=1", "https://h#f", "https://h /", "https://h\n", "https://user:secret@h",
        "https://user@h", "https://@h", 5,
    ],
)  # fmt: skip
def test_what_is_no_plain_http_address_is_refused(address: object) -> None:
    assert refuses(field_types.Url, address)


def test_a_webhook_s_address_is_taken_as_it_is() -> None:
    for address in ("https://hooks.example.com/a/b/", "http://127.0.0.1:8080/?key=1&token=2"):
        assert accepts(field_types.WebhookUrl, address) == address
    for address in ("hooks.example.com", "https://user:secret@h", "https://h#f", "https://h/ x"):
        assert refuses(field_types.WebhookUrl, address)


def test_a_duration_is_bounded_below() -> None:
    assert accepts(field_types.Interval, "1s") == timedelta(seconds=1)
    assert refuses(field_types.Interval, "999ms")
    assert refuses(field_types.SomeDuration, "0s")
    assert accepts(field_types.AnyDuration, "0s") == timedelta(0)


def test_numbers_and_flags_are_taken_from_text_in_variables_alone() -> None:
    assert accepts(field_types.Whole, field_types.Variable("5")) == 5
    assert accepts(field_types.Share, field_types.Variable("0.5")) == 0.5
    assert accepts(field_types.Flag, field_types.Variable("false")) is False
    for kind, text in [(field_types.Whole, "5"), (field_types.Share, "0.5"), (field_types.Flag, "false")]:
        assert refuses(kind, text)
        assert refuses(kind, field_types.Variable("many"))


def test_kinds_of_numbers_are_not_mixed() -> None:
    assert accepts(field_types.Share, 1) == 1.0
    for other in (True, 5.0):
        assert refuses(field_types.Whole, other)
    assert refuses(field_types.Flag, 1)
    assert refuses(field_types.Share, float("nan"))


@pytest.mark.parametrize(
    ("kind", "value", "words", "fix"),
    [
        (field_types.VaultPath, "/adsyncd/acme", 'must not begin or end with a "/"', 'write "adsyncd/acme"'),
        (field_types.VaultPath, "adsyncd/acme/", 'must not begin or end with a "/"', 'write "adsyncd/acme"'),
        (field_types.VaultPath, "/../acme", 'must not begin or end with a "/"', 'remove that "/"'),
        (
            field_types.VaultPath,
            "https://vault.internal:8200/v1/secret/data/acme",
            "expected a path without an address",
            "remove everything up to and including vault.mount",
        ),
        (field_types.VaultMount, "secret/", 'must not begin or end with a "/"', 'write "secret"'),
        (field_types.VaultMount, "secret/data", "has a part of the API's path", 'write mount = "secret"'),
        (field_types.VaultMount, "v1/secret", "has a part of the API's path", 'write mount = "secret"'),
        (
            field_types.VaultAddress,
            "https://vault:8200/v1/",
            "has a part of the API's path",
            'remove the "/v1" at its end',
        ),
    ],
)
def test_the_usual_slips_in_vault_s_paths_are_named_with_what_fixes_them(
    kind: object, value: str, words: str, fix: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        accepts(kind, value)
    [error] = caught.value.errors()
    assert words in error["ctx"]["what"]
    assert error["ctx"]["fix"] == fix


@pytest.fixture
def pem() -> bytes:
    return trustme.CA().cert_pem.bytes()


def test_all_certificates_of_a_bundle_are_read_whatever_stands_between_them(tmp_path: Path, pem: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes("# Zertifizierungsstelle Köln\n".encode() + pem + b"\xff\n" + trustme.CA().cert_pem.bytes())
    read = accepts(CaFile, str(path))
    assert isinstance(read, Authorities)
    assert read.path == path
    assert read.pem.count("BEGIN CERTIFICATE") == 2
    assert "CERTIFICATE" not in repr(read)


def test_the_content_makes_the_difference_so_that_a_reload_takes_up_a_new_authority(tmp_path: Path, pem: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(pem)
    before = accepts(CaFile, str(path))
    assert accepts(CaFile, str(path)) == before
    path.write_bytes(trustme.CA().cert_pem.bytes())
    assert accepts(CaFile, str(path)) != before


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
        accepts(CaFile, str(path))
    [error] = caught.value.errors()
    assert error["ctx"]["what"] == "holds no certificates in PEM"
    assert "canary" not in f"{error['ctx']}"


def test_a_file_that_cannot_be_read_is_refused_with_what_fixes_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for value, what in (
        (str(tmp_path / "none"), "can't be read: No such file or directory"),
        (str(tmp_path), "can't be read: Is a directory"),
        (str(tmp_path / "pipe"), "can't be read: not a regular file"),
        ("ca.pem", "expected an absolute path"),
        ("/a\x00b", "expected an absolute path"),
        (5, "expected an absolute path"),
    ):
        with pytest.raises(ValidationError) as caught:
            accepts(CaFile, value)
        assert caught.value.errors()[0]["ctx"]["what"] == what
