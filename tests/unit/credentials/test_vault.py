import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import anyio
import anyio.from_thread
import hvac
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from adsyncd.clock import SystemClock
from adsyncd.credentials.vault import AppRole, Lease, Vault, VaultAccess, VaultToken, open_vault
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable

TIMEOUT_S = 30


@pytest.fixture
async def vault() -> AsyncIterator[Vault]:
    auth = AppRole("role", lambda: pytest.fail("it signed in"))
    access = VaultAccess("http://127.0.0.1:1", "secret", None, None, timedelta(seconds=TIMEOUT_S), auth)
    async with open_vault(access, SystemClock()) as vault:
        yield vault


@pytest.mark.parametrize(
    "path",
    ["", "..", "../globex", "acme/../globex", "acme/./x", "/acme", "acme/", "acme//x", "acme?version=1", "acme%2f..",
     "acme\n", "acmé", "acme#", "acme/*", "acme/+", "acme x"],
)  # fmt: skip
async def test_a_path_that_could_lead_elsewhere_is_refused_before_any_request(vault: Vault, path: str) -> None:
    with pytest.raises(CredentialsMissing, match="can't be a path in Vault"):
        await vault.read(path)


@given(duration_s=st.integers(1, 10**7), share=st.floats(0, 2))
def test_a_lease_is_old_when_two_thirds_of_it_are_over(duration_s: int, share: float) -> None:
    lease = Lease(hvac.Client(token=""), 1000.0, duration_s, renewable=True)
    age_s = duration_s * share
    assert lease.aged(1000.0 + age_s) == (1000.0 + age_s - 1000.0 >= duration_s * 2 / 3)


def test_a_lease_without_an_end_never_gets_old() -> None:
    assert not Lease(hvac.Client(token=""), 0.0, 0, renewable=False).aged(1e12)


async def test_no_token_of_the_environment_is_picked_up(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "canary")
    assert hvac.Client().token == "canary"
    assert vault._client("").token == ""


async def test_calls_that_hang_after_their_callers_gave_up_still_count(vault: Vault) -> None:
    release, all_hang, hanging = threading.Event(), anyio.Event(), []

    def hang() -> None:
        hanging.append(threading.current_thread())
        if len(hanging) == 10:
            anyio.from_thread.run_sync(all_hang.set)
        assert release.wait(TIMEOUT_S)

    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as callers:
            for _ in range(25):
                callers.start_soon(vault._call, hang)
            await all_hang.wait()
            callers.cancel_scope.cancel()
        try:
            with pytest.raises(CredentialsUnavailable, match="yet to answer earlier requests"):
                await vault._call(lambda: None)
            assert len(hanging) == 10
        finally:
            release.set()
        while True:
            with suppress(CredentialsUnavailable):
                assert await vault._call(lambda: "an answer") == "an answer"
                break


def test_the_way_in_shows_no_secret() -> None:
    secret = SecretStr("canary")
    environ = {"SECRET": "canary"}
    for auth in (AppRole("role", lambda: secret), VaultToken(lambda: SecretStr(environ["SECRET"]))):
        access = VaultAccess("http://127.0.0.1:1", "secret", None, None, timedelta(seconds=1), auth)
        assert "canary" not in repr(access)
        assert "lambda" not in repr(access)
