import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from adsyncd.credentials.account import Credentials, credentials_of
from adsyncd.errors import CredentialsMissing

GOOD = {"email": "ads@acme.example", "password": "canary-password"}


def test_credentials_show_neither_email_nor_password() -> None:
    credentials = credentials_of(GOOD, "here")
    assert credentials == Credentials("ads@acme.example", SecretStr("canary-password"))
    assert "acme" not in repr(credentials)
    assert "canary" not in f"{credentials} {credentials!r}"


def test_other_keys_beside_email_and_password_are_nobodys_business() -> None:
    assert credentials_of({**GOOD, "owner": "sales"}, "here") == credentials_of(GOOD, "here")


@pytest.mark.parametrize("key", ["email", "password"])
@pytest.mark.parametrize("value", [None, "", 7, ["x"]])
def test_a_missing_empty_or_wrongly_typed_part_is_told_with_its_place_alone(key: str, value: object) -> None:
    with pytest.raises(CredentialsMissing, match="secret/acme does not hold credentials") as caught:
        credentials_of(GOOD | {key: value}, "secret/acme")
    assert "canary" not in str(caught.value)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_whatever_is_no_object_is_refused(content: object) -> None:
    with pytest.raises(CredentialsMissing):
        credentials_of(content, "here")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (7, "a number"),
        (1.5, "a number"),
        (True, "true or false"),
        (["x"], "an array"),
        ({}, "an object"),
    ],
)
def test_what_stands_in_the_place_of_a_text_is_named(value: object, words: str) -> None:
    with pytest.raises(CredentialsMissing, match=f"password is {words};"):
        credentials_of(GOOD | {"password": value}, "here")


def test_all_keys_that_are_missing_are_named() -> None:
    with pytest.raises(CredentialsMissing, match="email is missing, password is missing; it needs the keys email and"):
        credentials_of({"user": "canary"}, "here")


@pytest.mark.parametrize("key", ["email", "password"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_one_line_break_at_the_end_is_cut_off_and_told(key: str, end: str) -> None:
    credentials = credentials_of(GOOD | {key: GOOD[key] + end}, "here")
    assert credentials == credentials_of(GOOD, "here")
    assert credentials.trimmed
    assert not credentials_of(GOOD, "here").trimmed


@pytest.mark.parametrize("key", ["email", "password"])
@pytest.mark.parametrize("character", ["\n\n", "\r", "a\nb", "\x00", "\t", "\x1b", "\x7f"])
def test_what_no_sign_in_can_carry_is_named_without_a_word_of_it(key: str, character: str) -> None:
    with pytest.raises(CredentialsMissing, match=f"{key} has a line break or another control character") as caught:
        credentials_of(GOOD | {key: f"canary{character}"}, "here")
    assert "canary" not in str(caught.value)


def test_half_of_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(CredentialsMissing, match="password is not UTF-8 text"):
        credentials_of(GOOD | {"password": "\ud800"}, "here")


def test_a_colon_is_a_password_s_and_no_email_s() -> None:
    assert credentials_of(GOOD | {"password": "a:b c\u00e4"}, "here").password.get_secret_value() == "a:b c\u00e4"
    with pytest.raises(CredentialsMissing, match="email has a colon"):
        credentials_of(GOOD | {"email": "ads:acme"}, "here")
