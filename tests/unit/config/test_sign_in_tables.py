import tomllib
from datetime import timedelta

import pytest
from pydantic import ValidationError

from adsyncd.config.diagnostics import Diagnostic, diagnose
from adsyncd.config.field_types import ConfigTable
from adsyncd.config.sign_in_tables import SignInTable, TokenTable
from adsyncd.model.profile import SignIn, StaticToken, TokenRequest


def sign_in(text: str) -> SignIn:
    return SignInTable.model_validate(tomllib.loads(text)).sign_in()


def problem(text: str, table: type[ConfigTable] = SignInTable) -> Diagnostic:
    with pytest.raises(ValidationError) as caught:
        table.model_validate(tomllib.loads(text))
    [found] = diagnose(caught.value, table)
    return found


def test_a_token_may_be_a_secret_itself() -> None:
    assert sign_in('static = "access_token"') == StaticToken("access_token")


def test_a_token_may_come_from_a_request_of_which_every_key_is_read() -> None:
    text = """\
method = "POST"
url = "https://auth.example.com/token"
basic = ["client_id", "client_secret"]
form = { grant_type = "refresh_token", refresh_token = "{secret.refresh_token}" }
headers = { X-Client-ID = "{account}" }
token = "data.token"
expires_in = "data.expires_in"
expires_at = "data.expires_at"
life = "12h"
"""
    assert sign_in(text) == TokenRequest(
        "POST",
        "https://auth.example.com/token",
        ("client_id", "client_secret"),
        form=(("grant_type", "refresh_token"), ("refresh_token", "{secret.refresh_token}")),
        json=None,
        headers=(("x-client-id", "{account}"),),
        token="data.token",
        expires_in="data.expires_in",
        expires_at="data.expires_at",
        life=timedelta(hours=12),
    )
    request = sign_in('url = "/v3/token"\njson = { Login = "{secret.login}", Minutes = 1440 }')
    assert request == TokenRequest("POST", "/v3/token", json='{"Login":"{secret.login}","Minutes":1440}')


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "needs exactly one of static and url"),
        ('static = "a"\nurl = "/token"', "needs exactly one of static and url"),
        ('static = "a"\nlife = "1h"', "has a static token, so it needs no other key"),
        ('url = "/token"\nform = {}\njson = {}', "has both form and json; keep one of them"),
        ('url = "/token"\nmethod = "GET"\nform = {}', 'has a body, which a GET has not; write method = "POST"'),
    ],
)
def test_a_sign_in_that_can_not_be_is_refused(text: str, what: str) -> None:
    assert problem(text).what == what


def test_the_token_goes_into_a_header_of_the_profile_s_choice() -> None:
    assert TokenTable().model_dump() == {"header": "authorization", "scheme": "Bearer"}
    table = TokenTable.model_validate({"header": "TTD-Auth", "scheme": ""})
    assert (table.header, table.scheme) == ("TTD-Auth", "")
    assert problem('scheme = "a b"', TokenTable).key == ("scheme",)
