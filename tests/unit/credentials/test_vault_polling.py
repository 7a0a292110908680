"""What a Vault does by itself: it stays signed in, and polls for new versions of credentials in use."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import anyio
from structlog.testing import capture_logs

from adsyncd.clock import SystemClock
from adsyncd.credentials.vault import Vault
from adsyncd.model.status import VaultState
from adsyncd.model.tenant import VaultRef
from support.clock import SetClock
from support.fake_vault import ACCESS, DENIED, SEALED, FakeApi, fake_vault


@asynccontextmanager
async def running(api: FakeApi, poll: timedelta) -> AsyncIterator[Vault]:
    """Run a Vault in real time."""
    vault = fake_vault(replace(ACCESS, poll=poll), api, SystemClock())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(vault.run)
        try:
            yield vault
        finally:
            api.release.set()  # what hangs goes on
        tasks.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - what is asked of the API has no event
            await anyio.sleep(0.005)


class TestLife:
    async def test_it_signs_in_and_renews_though_nobody_reads(self) -> None:
        api = FakeApi(SystemClock(), life_s=0.05)
        async with running(api, timedelta(hours=1)):
            await until(lambda: api.asked.count("renew") >= 3)
        assert api.asked.count("sign_in") == 1

    async def test_what_fails_is_tried_again_until_it_works(self) -> None:
        api = FakeApi(SystemClock())
        api.failures["sign_in"] = SEALED
        async with running(api, timedelta(hours=1)) as vault:
            await until(lambda: vault.status.state is VaultState.SEALED)
            api.failures.clear()
            await until(lambda: vault.status.state is VaultState.UP)
        assert api.asked.count("sign_in") == 2

    async def test_the_state_is_known_though_nobody_reads(self) -> None:
        api = FakeApi(SystemClock())
        async with running(api, timedelta(milliseconds=5)) as vault:
            await until(lambda: vault.status.state is VaultState.UP)
            api.failures["look_up"] = SEALED
            await until(lambda: vault.status.state is VaultState.SEALED)
            api.failures.clear()
            await until(lambda: vault.status.state is VaultState.UP)
        assert api.asked.count("sign_in") == 1

    async def test_a_new_version_of_credentials_in_use_is_seen(self) -> None:
        api, ref = FakeApi(SystemClock()), VaultRef("acme")
        async with running(api, timedelta(milliseconds=5)) as vault:
            assert vault.newest(ref, until=1e12) is None
            await until(lambda: vault.newest(ref, 1e12) == 1)
            api.versions["acme"] = 2
            await until(lambda: vault.newest(ref, 1e12) == 2)

    async def test_the_version_that_was_read_is_known_without_a_poll(self) -> None:
        vault, ref = fake_vault(ACCESS, FakeApi(SystemClock()), SystemClock()), VaultRef("acme")
        vault.newest(ref, 1e12)
        await vault.read(ref)
        assert vault.newest(ref, 1e12) == 1

    async def test_credentials_out_of_use_are_not_polled(self) -> None:
        api = FakeApi(SystemClock())
        async with running(api, timedelta(milliseconds=5)) as vault:
            vault.newest(VaultRef("out-of-use"), SystemClock().monotonic() + 0.05)
            vault.newest(VaultRef("in-use"), 1e12)
            await until(lambda: VaultRef("out-of-use") not in vault._followed)
            before = api.asked.count("version out-of-use")
            in_use = api.asked.count("version in-use")
            await until(lambda: api.asked.count("version in-use") > in_use + 3)
            assert api.asked.count("version out-of-use") == before

    async def test_a_poll_that_is_denied_is_logged_once_and_not_repeated_for_long(self) -> None:
        api = FakeApi(SystemClock())
        api.failures["version"] = DENIED
        with capture_logs() as logs:
            async with running(api, timedelta(milliseconds=5)) as vault:
                vault.newest(VaultRef("acme"), 1e12)
                await until(lambda: any(entry["event"].startswith("rotations go unnoticed") for entry in logs))
                api.failures.clear()
                vault.newest(VaultRef("globex"), 1e12)
                await until(lambda: api.asked.count("version globex") > 3)
        assert api.asked.count("version acme") == 1

    async def test_a_path_is_polled_once_at_a_time_and_a_slow_one_holds_up_no_other(self) -> None:
        api = FakeApi(SystemClock())
        api.hanging = {"acme"}
        async with running(api, timedelta(milliseconds=5)) as vault:
            for path in ("acme", "globex"):
                vault.newest(VaultRef(path), 1e12)
            await until(lambda: api.asked.count("version globex") > 3 or api.asked.count("version acme") > 1)
            assert api.asked.count("version acme") == 1

    async def test_two_polls_are_in_progress_at_most_so_that_reads_come_through(self) -> None:
        api = FakeApi(SystemClock())
        api.hanging = {f"t{number}" for number in range(20)}
        async with running(api, timedelta(milliseconds=5)) as vault:
            for path in api.hanging:
                vault.newest(VaultRef(path), 1e12)
            await until(lambda: all(followed.due == math.inf for followed in vault._followed.values()))
            with anyio.fail_after(30):
                await vault.read(VaultRef("acme"))
            assert len([asked for asked in api.asked if asked.startswith("version")]) <= 2

    async def test_the_longest_use_decides_how_long_credentials_are_polled(self) -> None:
        api = FakeApi(SystemClock())
        async with running(api, timedelta(milliseconds=5)) as vault:
            for path, until_s in (("acme", 1e12), ("acme", 0.0), ("globex", 1e12)):
                vault.newest(VaultRef(path), until_s)
            await until(lambda: "version acme" in api.asked or api.asked.count("version globex") > 10)
            assert "version acme" in api.asked

    async def test_a_poll_that_vault_does_not_answer_is_repeated(self) -> None:
        api = FakeApi(SystemClock())
        api.failures["version"] = SEALED
        async with running(api, timedelta(milliseconds=5)) as vault:
            vault.newest(VaultRef("acme"), 1e12)
            await until(lambda: vault.status.state is VaultState.SEALED)
            api.failures.clear()
            await until(lambda: vault.newest(VaultRef("acme"), 1e12) == 1)

    async def test_polls_are_spread_over_the_interval(self) -> None:
        vault = fake_vault(ACCESS, FakeApi(SetClock()), SetClock())
        dues = sorted(vault._next_poll(VaultRef(f"tenant-{number}")) for number in range(1000))
        assert all(0 < due <= 60 for due in dues)
        assert max(after - before for before, after in pairwise(dues)) < 1
