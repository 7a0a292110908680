import base64
import random

import pytest

from mock_api.accounts import TOKEN_PREFIX, PlatformAccount, Tokens, signing_in

ACME = PlatformAccount(password="p:ä", clients=frozenset({"acme"}))
ACCOUNTS = {
    "acme@example.com": ACME,
    "other@example.com": PlatformAccount(password="other", clients=frozenset({"other"})),
}


def basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def test_the_right_password_signs_in_even_with_a_colon_in_it() -> None:
    assert signing_in(ACCOUNTS, basic("acme@example.com:p:ä")) == "acme@example.com"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        "Basic /w==",
        basic("acme@example.com"),
        basic("acme@example.com:"),
        basic("acme@example.com:other"),
        basic("nobody@example.com:p:ä"),
        basic("acme@example.com:p:ä").replace("Basic", "Bearer"),
    ],
)
def test_anything_else_does_not_sign_in(authorization: str) -> None:
    assert signing_in(ACCOUNTS, authorization) is None


def test_a_token_opens_its_own_account_until_it_expires() -> None:
    tokens = Tokens(random.Random(1))
    token = tokens.issue("acme@example.com", ACME, expires_at=100)
    assert token.startswith(TOKEN_PREFIX)
    assert tokens.account(ACCOUNTS, f"Bearer {token}", 99.9) is ACME
    assert tokens.account(ACCOUNTS, f"Bearer {token}", 100) is None


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic {token}", "Bearer {token}x"])
def test_another_header_opens_nothing(authorization: str) -> None:
    tokens = Tokens(random.Random(1))
    token = tokens.issue("acme@example.com", ACME, expires_at=100)
    assert tokens.account(ACCOUNTS, authorization.format(token=token), 0) is None


def test_a_new_generation_revokes_the_tokens_issued_before() -> None:
    tokens = Tokens(random.Random(1))
    old = tokens.issue("acme@example.com", ACME, expires_at=100)
    renewed = ACME.model_copy(update={"generation": 1})
    new = tokens.issue("acme@example.com", renewed, expires_at=100)
    accounts = ACCOUNTS | {"acme@example.com": renewed}
    assert tokens.account(accounts, f"Bearer {old}", 0) is None
    assert tokens.account(accounts, f"Bearer {new}", 0) is renewed


def test_the_tokens_of_a_removed_account_open_nothing() -> None:
    tokens = Tokens(random.Random(1))
    token = tokens.issue("acme@example.com", ACME, expires_at=100)
    assert tokens.account({}, f"Bearer {token}", 0) is None


def test_a_flood_of_sign_ins_does_not_grow_the_memory_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mock_api.accounts._TOKENS_KEPT", 2)
    tokens = Tokens(random.Random(1))
    issued = [tokens.issue("acme@example.com", ACME, expires_at=100) for _ in range(3)]
    assert [tokens.account(ACCOUNTS, f"Bearer {token}", 0) for token in issued] == [None, ACME, ACME]
