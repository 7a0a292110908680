from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from adsyncd.config import field_types


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
        (field_types.VaultPath, "/../acme", 'must not begin or end with a "/"', 'leave out that "/"'),
        (
            field_types.VaultPath,
            "https://vault.internal:8200/v1/secret/data/acme",
            "expected names without an address",
            "leave out all up to vault.mount, and that, too",
        ),
        (field_types.VaultMount, "secret/", 'must not begin or end with a "/"', 'write "secret"'),
        (field_types.VaultMount, "secret/data", "has parts of the API's paths", 'write mount = "secret"'),
        (field_types.VaultMount, "v1/secret", "has parts of the API's paths", 'write mount = "secret"'),
        (
            field_types.VaultAddress,
            "https://vault.internal:8200/v1/",
            "has a part of the API's paths",
            'leave out the "/v1" at its end',
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
