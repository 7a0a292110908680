from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from adsyncd.config.diagnostics import diagnose
from adsyncd.config.platform_table import PlatformTable
from adsyncd.config.secret_table import Proxy, ProxyTable, Secret, SecretRef, proxy_parts
from adsyncd.config.settings import TokenAuth
from adsyncd.model.tenant import InCredential, InFile, InVariable, SecretPlace

SECRET: TypeAdapter[SecretRef] = TypeAdapter(Secret)
PROXY: TypeAdapter[ProxyTable] = TypeAdapter(Proxy)


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"credential": "token"}, InCredential("token")),
        ({"env": "TOKEN"}, InVariable("TOKEN")),
        ({"file": "/run/token"}, InFile(Path("/run/token"))),
    ],
)
def test_a_secret_is_in_one_place(keys: dict[str, str], place: SecretPlace) -> None:
    assert SECRET.validate_python(keys).place() == place


@pytest.mark.parametrize("wrong", ["canary", {}, {"env": "A", "file": "/canary"}, {"file": "canary"}])
def test_a_secret_itself_or_several_places_are_refused_without_a_word_of_it(wrong: object) -> None:
    with pytest.raises(ValidationError) as caught:
        TokenAuth.model_validate({"method": "token", "token": wrong})
    assert "canary" not in f"{caught.value} {diagnose(caught.value, TokenAuth)}"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("http://proxy.internal:3128", ("http://proxy.internal:3128", None)),
        ("https://10.0.0.1", ("https://10.0.0.1", None)),
        ("http://[::1]:3128/", ("http://[::1]:3128", None)),
        ("http://user:pass@proxy:1", ("http://proxy:1", ("user", "pass"))),
        ("http://user@proxy:1", ("http://proxy:1", ("user", ""))),
        ("http://u%40x:p%2F%3A%23@proxy:1", ("http://proxy:1", ("u@x", "p/:#"))),
        ("http://user:p@ss:word@proxy:1", ("http://proxy:1", ("user", "p@ss:word"))),
    ],
)
def test_an_address_is_told_apart_from_user_and_password(
    address: str, parts: tuple[str, tuple[str, str] | None]
) -> None:
    assert proxy_parts(address) == parts


@pytest.mark.parametrize(
    "address",
    [
        "", "proxy:3128", "canary", "ftp://canary", "socks5://canary:1", "socks5h://u:canary@h", "http://", "http://:3128",
        "http://canary:99999", "http://canary:0", "http://canary:x", "http://[canary", "http://h/canary", "http://h?canary",
        "http://h#canary", "http://user:can/ary@proxy:1", "http://user:1/canary@proxy:1", "http://user:1?canary@proxy:1",
        "http://user:1#canary@proxy:1", "http://canary proxy", "http://canary\n", "http://can\x00ary", "http://cän:1",
    ],
)  # fmt: skip
def test_what_is_no_proxy_s_address_is_told_without_a_word_of_it(address: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) ") as caught:
        proxy_parts(address)
    assert "can" not in str(caught.value).replace("canno", "")


def test_the_address_alone_stands_for_the_table_and_each_place_is_one_of_the_daemon_s_secrets() -> None:
    assert PROXY.validate_python("http://p:1/").proxy() == "http://p:1"
    assert PROXY.validate_python({"url": "http://p:1"}).proxy() == "http://p:1"
    assert PROXY.validate_python({"env": "P"}).proxy() == InVariable("P")
    assert PROXY.validate_python({"file": "/run/p"}).proxy() == InFile(Path("/run/p"))
    assert PROXY.validate_python({"credential": "p"}).proxy() == InCredential("p")


@pytest.mark.parametrize(
    "wrong",
    [
        "http://u:canary@p:1", "http://canary@p:1", {}, {"url": "http://canary:1", "env": "P"}, "socks5://canary:1", 5,
        {"env": "http://u:canary@p:1"}, {"file": "http://u:canary@p:1"}, ["http://u:canary@p:1"],
    ],
)  # fmt: skip
def test_a_password_stands_in_no_file_of_the_settings_and_one_place_is_named(wrong: object) -> None:
    with pytest.raises(ValidationError) as caught:
        PlatformTable.model_validate({"base_url": "https://ads", "proxy": wrong})
    assert "canary" not in f"{caught.value} {diagnose(caught.value, PlatformTable)}"
