from dataclasses import replace

import pytest

from adsyncd.config.profile_file import shipped_profile
from adsyncd.model.profile import Paging, PagingKind, Profile, StaticToken, TokenRequest, placeholders

PROFILE = shipped_profile()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("/v1/{account}/x?size={page_size}", ["account", "page_size"]),
        ("Bearer {secret.api_key2} {var.login_id}", ["secret.api_key2", "var.login_id"]),
        ("query { campaigns { id } }", []),
        ("{}{ account}{Account}{a.b.c}{a-b}{.a}{a.}{\\n}", []),
        ("{{account}}", ["account"]),
    ],
)
def test_placeholders_are_names_in_braces_and_other_braces_are_text(text: str, names: list[str]) -> None:
    assert placeholders(text) == names


def with_request(**parts: object) -> Profile:
    request = TokenRequest("POST", "/token")
    return replace(PROFILE, headers=(), sign_in=replace(request, **parts))  # type: ignore[arg-type]  # any part


@pytest.mark.parametrize(
    ("profile", "names"),
    [
        (PROFILE, ("email", "password")),
        (replace(PROFILE, sign_in=StaticToken("access_token")), ("access_token",)),
        (with_request(form=(("a", "{secret.a}:{secret.b}"), ("b", "{secret.a}"))), ("a", "b")),
        (with_request(json='{"Login":"{secret.login}","x":{"y":["{secret.pin}"]}}'), ("login", "pin")),
        (with_request(headers=(("x-key", "{secret.key}"), ("x-id", "{account}"))), ("key",)),
        (replace(with_request(), headers=(("developer-token", "{secret.developer_token}"),)), ("developer_token",)),
        (with_request(), ()),
    ],
)
def test_the_secrets_of_a_profile_are_all_that_its_requests_hold_each_once(
    profile: Profile, names: tuple[str, ...]
) -> None:
    assert profile.secrets == names


def test_a_fingerprint_names_the_content() -> None:
    again = replace(PROFILE)
    assert again is not PROFILE
    assert again.fingerprint == PROFILE.fingerprint
    changed = replace(PROFILE, listing=replace(PROFILE.listing, absent_is_empty=True))
    assert changed.fingerprint != PROFILE.fingerprint


def test_only_pages_that_have_a_number_can_be_asked_for_in_any_order() -> None:
    assert [kind for kind in PagingKind if Paging(kind).is_numbered] == [PagingKind.NONE, PagingKind.NUMBER]


@pytest.mark.parametrize(
    ("profile", "basic", "in_headers"),
    [
        (PROFILE, ("email", "password"), ()),
        (replace(PROFILE, sign_in=StaticToken("access_token")), (), ("access_token",)),
        (replace(PROFILE, headers=(("key", "{secret.key}"),)), ("email", "password"), ("key",)),
        (with_request(form=(("a", "{secret.a}"),), headers=(("x-key", "{secret.key}"),)), (), ("key",)),
    ],
)
def test_the_secrets_of_basic_authentication_and_of_header_fields_are_told_apart(
    profile: Profile, basic: tuple[str, ...], in_headers: tuple[str, ...]
) -> None:
    assert (profile.basic, profile.secrets_in_headers) == (basic, in_headers)
