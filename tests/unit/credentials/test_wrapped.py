import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from adsyncd.credentials.wrapped import WrappedSecret
from adsyncd.errors import CredentialsMissing


class Vault:
    """Unwraps each token once."""

    def __init__(self) -> None:
        self.token = "token-1"
        self.used: list[str] = []

    def deliver(self) -> SecretStr:
        return SecretStr(self.token)

    def unwrap(self, token: SecretStr) -> SecretStr:
        if token.get_secret_value() in self.used:
            raise CredentialsMissing("used")
        self.used.append(token.get_secret_value())
        return SecretStr(f"secret of {token.get_secret_value()}")


def test_a_token_is_unwrapped_once_and_its_secret_is_kept() -> None:
    vault = Vault()
    secret = WrappedSecret(vault.deliver, vault.unwrap)
    assert [secret().get_secret_value() for _ in range(3)] == ["secret of token-1"] * 3


def test_another_token_in_its_place_is_unwrapped_when_the_secret_is_wanted_again() -> None:
    vault = Vault()
    secret = WrappedSecret(vault.deliver, vault.unwrap)
    secret()
    vault.token = "token-2"
    assert vault.used == ["token-1"]
    assert secret().get_secret_value() == "secret of token-2"
    assert secret().get_secret_value() == "secret of token-2"


def test_a_token_that_somebody_else_used_is_told_each_time_until_there_is_another() -> None:
    vault = Vault()
    vault.used.append("token-1")
    secret = WrappedSecret(vault.deliver, vault.unwrap)
    for _ in range(2):
        with pytest.raises(CredentialsMissing):
            secret()
    vault.token = "token-2"
    assert secret().get_secret_value() == "secret of token-2"


def test_a_used_token_in_the_place_of_a_good_one_does_not_bring_back_the_old_secret() -> None:
    vault = Vault()
    secret = WrappedSecret(vault.deliver, vault.unwrap)
    secret()
    vault.token = "token-2"
    vault.used.append("token-2")
    with pytest.raises(CredentialsMissing):
        secret()


def test_what_a_slow_answer_unwrapped_is_not_lost_for_who_asks_meanwhile() -> None:
    vault, asked, answer = Vault(), threading.Event(), threading.Event()

    def slowly(token: SecretStr) -> SecretStr:
        asked.set()
        assert answer.wait(30)
        return vault.unwrap(token)

    secret = WrappedSecret(vault.deliver, slowly)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(secret)
        assert asked.wait(30)
        second = threads.submit(secret)
        answer.set()
        assert first.result(30) == second.result(30) == SecretStr("secret of token-1")
