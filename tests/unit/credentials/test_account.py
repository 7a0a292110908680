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
