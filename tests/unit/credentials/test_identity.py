import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from adsyncd.credentials.backoff import Backoff
from adsyncd.credentials.identity import Identity, TokenLease, WrappedSecret
from adsyncd.errors import CredentialsError, CredentialsMissing, CredentialsUnavailable
from adsyncd.model.status import VaultState
from support.virtual_time import BACKEND, VirtualClock

LIFE_S = 3600.0


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


@dataclass
class Vault:
    """Signs in and renews, which takes a second, or fails with `failure`."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    failure: CredentialsError | None = None
    renewable: bool = True
    sign_ins: int = 0
    renewals: int = 0
    duration_s: float = LIFE_S

    def identity(self) -> Identity:
        return Identity(self.sign_in, self.renew, self.clock, Backoff(self.clock, Random(1)))

    async def sign_in(self) -> TokenLease:
        self.sign_ins += 1
        token = SecretStr(f"token-{self.sign_ins}")
        now_s = self.clock.monotonic()
        await self._answer()
        return TokenLease(token, now_s, self.duration_s, self.renewable)

    async def renew(self, lease: TokenLease) -> TokenLease | None:
        self.renewals += 1
        now_s = self.clock.monotonic()
        await self._answer()
        return replace(lease, granted_s=now_s) if self.duration_s >= lease.duration_s else None

    async def _answer(self) -> None:
        await anyio.sleep(1)
        if self.failure is not None:
            raise self.failure


async def signed_in(*, renewable: bool = True) -> tuple[Vault, Identity, TokenLease]:
    vault = Vault(renewable=renewable)
    identity = vault.identity()
    return vault, identity, await identity.lease()


REFUSED = CredentialsMissing("wrong secret id", VaultState.REFUSED)
SEALED = CredentialsUnavailable("sealed", VaultState.SEALED)


@given(duration_s=st.integers(1, 10**7), share=st.floats(0, 2))
def test_a_lease_is_due_when_two_thirds_of_it_are_over_and_over_at_its_end(duration_s: int, share: float) -> None:
    lease = TokenLease(SecretStr(""), 0.0, duration_s, renewable=True)
    age_s = duration_s * share
    assert (lease.due_s(age_s) <= 0) == (age_s >= duration_s * 2 / 3)
    assert lease.over(age_s) == (age_s >= duration_s)


def test_a_lease_without_an_end_is_never_due() -> None:
    lease = TokenLease(SecretStr(""), 0.0, 0, renewable=False)
    assert lease.due_s(1e12) > 1e300
    assert not lease.over(1e12)


async def test_all_who_want_the_lease_share_one_sign_in() -> None:
    vault = Vault()
    identity, got = vault.identity(), []

    async def want() -> None:
        got.append(await identity.lease())

    async with anyio.create_task_group() as tasks:
        for _ in range(1000):
            tasks.start_soon(want)
    assert {lease.token.get_secret_value() for lease in got} == {"token-1"}
    assert vault.sign_ins == 1


@pytest.mark.parametrize("failure", [REFUSED, SEALED])
async def test_a_failed_sign_in_is_told_to_all_who_waited_for_it(failure: CredentialsError) -> None:
    vault = Vault(failure=failure)
    identity = vault.identity()

    async def want() -> None:
        with pytest.raises(type(failure)):
            await identity.lease()

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(want)
    assert vault.sign_ins == (1 if failure is REFUSED else 5)  # an outage is held back where all have to pass


async def test_after_a_refused_sign_in_the_next_one_waits_and_then_goes() -> None:
    vault = Vault(failure=REFUSED)
    identity = vault.identity()
    for _ in range(100):
        with pytest.raises(CredentialsMissing):
            await identity.lease()
    assert vault.sign_ins == 1
    assert identity.due_s > 0
    vault.failure = None
    await anyio.sleep(identity.due_s)
    assert await identity.lease()


async def test_two_thirds_into_its_life_a_lease_is_renewed() -> None:
    vault, identity, first = await signed_in()
    assert identity.due_s == pytest.approx(LIFE_S * 2 / 3 - 1)  # signing in took a second
    await anyio.sleep(identity.due_s)
    second = await identity.lease()
    assert second.token == first.token
    assert second.granted_s > first.granted_s
    assert (vault.sign_ins, vault.renewals) == (1, 1)


async def test_where_a_renewal_falls_short_there_is_a_new_sign_in() -> None:
    vault, identity, first = await signed_in()
    vault.duration_s = 60.0
    await anyio.sleep(identity.due_s)
    assert (await identity.lease()).token != first.token


@pytest.mark.parametrize(("renewable", "late_s"), [(False, 0.0), (True, LIFE_S)])
async def test_a_lease_that_can_not_be_renewed_or_is_over_is_replaced(renewable: bool, late_s: float) -> None:
    vault, identity, first = await signed_in(renewable=renewable)
    await anyio.sleep(identity.due_s + late_s)
    assert (await identity.lease()).token != first.token
    assert vault.renewals == 0


@pytest.mark.parametrize("failure", [REFUSED, SEALED])
async def test_a_renewal_that_fails_leaves_the_lease_to_its_end(failure: CredentialsError) -> None:
    vault, identity, first = await signed_in()
    await anyio.sleep(identity.due_s)
    vault.failure = failure
    assert await identity.lease() is first
    await anyio.sleep(LIFE_S / 3 - 5)
    assert await identity.lease() is first
    await anyio.sleep(40)
    with pytest.raises(type(failure)):
        await identity.lease()


async def test_a_refused_lease_is_replaced_once_for_all_whom_it_failed() -> None:
    _, identity, first = await signed_in()
    got: list[TokenLease] = []

    async def want() -> None:
        got.append(await identity.lease(refused=first))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(want)
    assert {lease.token.get_secret_value() for lease in got} == {"token-2"}


async def test_a_refused_lease_that_can_not_be_replaced_is_left_to_those_whom_it_serves() -> None:
    vault, identity, first = await signed_in()
    vault.failure = REFUSED
    with pytest.raises(CredentialsMissing):
        await identity.lease(refused=first)
    assert await identity.lease() is first
    vault.failure = None
    await anyio.sleep(identity.due_s)
    assert (await identity.lease()).token != first.token
    assert vault.renewals == 0  # which would not show whether the sign-in works again


async def test_when_the_one_who_signs_in_is_cancelled_another_goes_on() -> None:
    vault = Vault()
    identity = vault.identity()

    async def impatient() -> None:
        with anyio.move_on_after(0.5):
            await identity.lease()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(impatient)
        await anyio.sleep(0.1)
        assert (await identity.lease()).token.get_secret_value() == "token-2"


def test_a_lease_does_not_show_its_token() -> None:
    assert "canary" not in repr(TokenLease(SecretStr("canary"), 0.0, 1.0, renewable=True))


class Wrapping:
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


def test_a_token_is_unwrapped_once_and_another_in_its_place_when_the_secret_is_wanted_again() -> None:
    wrapping = Wrapping()
    secret = WrappedSecret(wrapping.deliver, wrapping.unwrap)
    assert [secret().get_secret_value() for _ in range(3)] == ["secret of token-1"] * 3
    wrapping.token = "token-2"
    assert wrapping.used == ["token-1"]
    assert [secret().get_secret_value() for _ in range(2)] == ["secret of token-2"] * 2


def test_a_token_that_somebody_else_used_is_told_each_time_until_there_is_another() -> None:
    wrapping = Wrapping()
    wrapping.used.append("token-1")
    secret = WrappedSecret(wrapping.deliver, wrapping.unwrap)
    for _ in range(2):
        with pytest.raises(CredentialsMissing):
            secret()
    wrapping.token = "token-2"
    assert secret().get_secret_value() == "secret of token-2"


def test_a_used_token_in_the_place_of_a_good_one_does_not_bring_back_the_old_secret() -> None:
    wrapping = Wrapping()
    secret = WrappedSecret(wrapping.deliver, wrapping.unwrap)
    secret()
    wrapping.token = "token-2"
    wrapping.used.append("token-2")
    with pytest.raises(CredentialsMissing):
        secret()


def test_what_a_slow_answer_unwrapped_is_not_lost_for_who_asks_meanwhile() -> None:
    wrapping, asked, answer = Wrapping(), threading.Event(), threading.Event()

    def slowly(token: SecretStr) -> SecretStr:
        asked.set()
        assert answer.wait(30)
        return wrapping.unwrap(token)

    secret = WrappedSecret(wrapping.deliver, slowly)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(secret)
        assert asked.wait(30)
        second = threads.submit(secret)
        answer.set()
        assert first.result(30) == second.result(30) == SecretStr("secret of token-1")
