import errno
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import anyio
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from adsyncd.clock import SystemClock
from adsyncd.credentials.vault import AppRole, Vault, VaultToken
from adsyncd.errors import CredentialsError, CredentialsMissing, CredentialsUnavailable
from adsyncd.model.status import VaultState
from adsyncd.model.tenant import VaultRef
from support.clock import SetClock
from support.fake_vault import ACCESS, DENIED, SEALED, FakeApi, fake_vault
from support.metrics import Metrics


class World:
    """A Vault on an API that answers as the test says, and a clock that the test sets."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.api = FakeApi(self.clock)
        self._metrics = Metrics()
        self.vault = fake_vault(ACCESS, self.api, self.clock, self._metrics.instruments)

    async def read(self, path: str = "acme", role: str | None = None) -> int | None:
        return (await self.vault.read(VaultRef(path, role))).version

    async def fails(self, path: str = "acme", role: str | None = None) -> CredentialsError:
        with pytest.raises(CredentialsError) as caught:
            await self.read(path, role)
        return caught.value

    @property
    def up(self) -> float | None:
        """What the gauge says."""
        points = self._metrics.points("adsyncd.vault.up")
        return points[-1]["value"] if points else None


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    "path",
    ["", "..", "../globex", "acme/../globex", "acme/./x", "/acme", "acme/", "acme//x", "acme?version=1", "acme%2f..",
     "acme\n", "acmé", "acme#", "acme/*", "acme/+", "acme x"],
)  # fmt: skip
async def test_a_path_that_could_lead_elsewhere_is_refused_before_any_request(world: World, path: str) -> None:
    assert "can't be a path in Vault" in str(await world.fails(path))
    assert not world.api.asked


class TestReading:
    async def test_without_a_role_the_daemon_reads_itself(self, world: World) -> None:
        assert await world.read() == 1
        assert world.api.asked == ["sign_in", "secret acme as role-secret-id of the daemon"]

    async def test_with_a_role_that_role_reads_with_a_token_of_its_own(self, world: World) -> None:
        await world.read("a", "a")
        await world.read("a", "a")
        as_a = "secret a as a by role-secret-id of the AppRole a"
        assert world.api.asked == ["sign_in", "sign_in_as", as_a, as_a]

    async def test_a_thousand_roles_share_the_daemon_s_one_sign_in(self, world: World) -> None:
        async with anyio.create_task_group() as readers:
            for number in range(1000):
                readers.start_soon(world.read, f"t{number}", f"t{number}")
        assert world.api.asked.count("sign_in") == 1
        assert world.api.asked.count("sign_in_as") == 1000

    async def test_a_thousand_that_are_denied_cost_one_sign_in(self, world: World) -> None:
        world.api.failures["secret"] = DENIED
        async with anyio.create_task_group() as readers:
            for number in range(1000):
                readers.start_soon(world.fails, f"t{number}")
        assert world.api.asked.count("sign_in") == 1

    async def test_a_denial_is_asked_about_again_with_a_newer_token_which_may_be_allowed_more(
        self, world: World
    ) -> None:
        world.api.failures["secret"] = DENIED
        await world.fails()
        world.clock.elapsed_s = 60.0
        await world.fails()
        assert world.api.asked.count("sign_in") == 2

    @pytest.mark.parametrize("state", [VaultState.MISSING, VaultState.DELETED])
    async def test_a_missing_secret_costs_one_request_each_time_and_no_new_sign_in(
        self, world: World, state: VaultState
    ) -> None:
        world.api.failures["secret"] = CredentialsMissing("nothing there", state)
        await world.fails()
        world.clock.elapsed_s = 60.0  # a new token might be allowed more, but the secret would still be missing
        await world.fails()
        assert [asked.split()[0] for asked in world.api.asked] == ["sign_in", "secret", "secret"]

    async def test_a_young_token_that_is_dead_is_replaced(self, world: World) -> None:
        world.api.failures["secret"] = DENIED
        world.api.failures["look_up"] = CredentialsMissing("dead", VaultState.REFUSED)
        await world.fails()
        assert world.api.asked.count("sign_in") == 2


class TestStatus:
    async def test_before_anybody_asked_nothing_is_known(self, world: World) -> None:
        assert world.vault.status.state == "not asked yet"
        assert world.up is None

    async def test_it_says_what_is_wrong_since_when_and_when_it_is_over(self, world: World) -> None:
        await world.read()
        assert (world.vault.status.state, world.vault.status.error, world.up) == ("up", None, 1)
        world.clock.elapsed_s = 100.0
        began = world.clock.now()
        world.api.failures["secret"] = SEALED
        for _ in range(5):
            world.clock.elapsed_s += 60
            await world.fails()
        status = world.vault.status
        assert (status.state, status.error, world.up) == ("sealed", "Vault is sealed", 0)
        assert status.since == began + timedelta(seconds=60)
        world.api.failures.clear()
        world.clock.elapsed_s += 60
        await world.read()
        assert (world.vault.status.state, world.vault.status.error, world.up) == ("up", None, 1)

    @pytest.mark.parametrize("state", [VaultState.REFUSED, VaultState.UNWRAPPED, VaultState.NO_NAMESPACE])
    async def test_a_sign_in_that_is_refused_is_a_state_of_its_own(self, world: World, state: VaultState) -> None:
        world.api.failures["sign_in"] = CredentialsMissing("no", state)
        await world.fails()
        assert (world.vault.status.state, world.up) == (state, 0)

    async def test_a_secret_of_the_daemon_s_own_that_is_not_there_is_a_state_of_its_own(self, world: World) -> None:
        world.api.failures["sign_in"] = CredentialsMissing("the file is not there")
        await world.fails()
        assert world.vault.status.state == "own secret missing"

    @pytest.mark.parametrize("what", ["sign_in", "secret"])
    async def test_what_the_daemon_s_own_process_lacks_is_no_state_of_vault_s(self, world: World, what: str) -> None:
        world.api.failures[what] = OSError(errno.EMFILE, "Too many open files")
        error = await world.fails()
        assert str(error).startswith("this process has no file descriptor left; raise LimitNOFILE=")
        assert world.vault.status.state in {VaultState.UNASKED, VaultState.UP}
        assert world.up in {None, 1}
        world.api.failures.clear()
        world.clock.elapsed_s += 60
        await world.read()
        assert world.up == 1

    @pytest.mark.parametrize("what", ["secret", "sign_in_as"])
    async def test_trouble_with_one_tenant_s_path_or_role_is_not_the_daemon_s_state(
        self, world: World, what: str
    ) -> None:
        world.api.failures[what] = CredentialsMissing("deleted", VaultState.DELETED)
        assert (await world.fails("a", "a")).state == "secret deleted"
        assert world.vault.status.state == "up"

    async def test_the_log_tells_the_first_failure_other_failures_and_the_end(self, world: World) -> None:
        down = CredentialsUnavailable("Vault can't be reached", VaultState.DOWN)
        with capture_logs() as logs:
            await world.read()
            for failure in (SEALED, SEALED, SEALED, down, down):
                world.api.failures["secret"] = failure
                world.clock.elapsed_s += 60
                await world.fails()
            world.api.failures.clear()
            world.clock.elapsed_s += 60
            await world.read()
        assert [(entry["event"], entry["log_level"], entry.get("state")) for entry in logs] == [
            ("vault fails", "warning", "sealed"),
            ("vault fails", "warning", "down"),
            ("vault works again", "info", None),
        ]

    async def test_what_an_operator_has_to_fix_is_logged_as_an_error(self, world: World) -> None:
        world.api.failures["sign_in"] = CredentialsMissing("used before", VaultState.UNWRAPPED)
        with capture_logs() as logs:
            await world.fails()
        assert [(entry["state"], entry["log_level"]) for entry in logs] == [("already unwrapped", "error")]


def test_the_way_in_shows_no_secret() -> None:
    secret = SecretStr("canary")
    environ = {"SECRET": "canary"}
    for auth in (AppRole("role", lambda: secret), VaultToken(lambda: SecretStr(environ["SECRET"]))):
        access = replace(ACCESS, auth=auth)
        assert "canary" not in repr(access)
        assert "lambda" not in repr(access)


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

    async def test_tenants_that_read_other_keys_of_one_path_each_have_theirs_and_its_versions(self) -> None:
        vault = fake_vault(ACCESS, FakeApi(SystemClock()), SystemClock())
        both = VaultRef("acme"), VaultRef("acme", keys=("password",), basic=(), in_headers=("password",))
        for ref in both:
            vault.newest(ref, 1e12)
            assert set((await vault.read(ref)).secrets) == set(ref.keys)
        assert [vault.newest(ref, 1e12) for ref in both] == [1, 1]

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
