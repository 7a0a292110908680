import ssl
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import CredentialsMissing
from adsyncd.model.tenant import InCredential, InFile, InVariable, Platform, SecretPlace
from adsyncd.platforms.route import Route, find_route

PUBLIC = ssl.create_default_context()
PEM = trustme.CA().cert_pem.bytes().decode()
OTHER_PEM = trustme.CA().cert_pem.bytes().decode()


def a_route(
    proxy: str | SecretPlace | None = None,
    pem: str | None = None,
    trusting: dict[str, ssl.SSLContext] | None = None,
    **environ: str,
) -> Route:
    platform = Platform("mixo", "https://ads", shipped_profile(), None, proxy=proxy, authorities=pem)
    return find_route(platform, PUBLIC, {} if trusting is None else trusting, environ)


def test_without_a_word_about_it_the_way_is_straight_and_the_public_authorities_count() -> None:
    assert a_route() == Route(PUBLIC)
    assert (a_route().via, a_route().secrets) == ("", ())


def test_all_platforms_with_the_same_authorities_share_one_context() -> None:
    trusting: dict[str, ssl.SSLContext] = {}
    contexts = [a_route(pem=pem, trusting=trusting).tls for pem in (PEM, PEM, OTHER_PEM)]
    assert contexts[0] is contexts[1]
    assert contexts[0] is not contexts[2]
    assert PUBLIC not in contexts
    assert len(contexts[0].get_ca_certs()) == 1  # and none of the public ones


@pytest.mark.parametrize("place", ["variable", "file", "credential"])
def test_a_proxy_s_address_with_a_password_is_read_anew_each_time_and_shows_neither(place: str, tmp_path: Path) -> None:
    address = "http://us%40er:c%3Aanary@proxy.internal:3128"
    (tmp_path / "proxy").write_text(address + "\n")
    places: dict[str, SecretPlace] = {
        "variable": InVariable("P"),
        "file": InFile(tmp_path / "proxy"),
        "credential": InCredential("proxy"),
    }
    route = a_route(places[place], P=address, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert route.proxy is not None
    assert (route.via, route.proxy.auth) == ("proxy.internal:3128", ("us@er", "c:anary"))
    assert SecretStr("c:anary") in route.secrets
    assert "anary" not in repr(route)


def test_only_a_proxy_that_speaks_tls_gets_a_context() -> None:
    plain, secure = a_route("http://p:1", PEM).proxy, a_route("https://p:1", PEM)
    assert plain is not None
    assert plain.ssl_context is None
    assert secure.proxy is not None
    assert secure.proxy.ssl_context is secure.tls


def test_what_cannot_be_had_is_the_error_of_each_request() -> None:
    route = a_route(InVariable("P"))
    assert isinstance(route.error, CredentialsMissing)
    assert route.proxy is None
