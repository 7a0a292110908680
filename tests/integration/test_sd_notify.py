"""A datagram socket in systemd's place."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from adsyncd.errors import ConfigError, Problem, StoreError
from adsyncd.host.sd_notify import open_notifier, tell_failure
from support.records import HandClock
from support.waiting import until


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """Listen as the service manager does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1))
        listener.settimeout(0)
        yield listener


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@adsyncd-test-{os.getpid()}"


async def heard(listener: socket.socket) -> str:
    with anyio.fail_after(20):
        await anyio.wait_readable(listener)
    return listener.recv(4096).decode()


async def test_a_life_is_told_in_order(address: str) -> None:
    with manager(address) as listener, open_notifier({"NOTIFY_SOCKET": address}) as notifier:
        await notifier.ready()
        assert await heard(listener) == "READY=1"
        before = time.monotonic()
        async with notifier.reloading(HandClock()):
            reloading, stamp = (await heard(listener)).splitlines()
            assert reloading == "RELOADING=1"
            assert before <= float(stamp.removeprefix("MONOTONIC_USEC=")) / 1e6 + 1e-6 <= time.monotonic() + 1e-6
        assert await heard(listener) == "READY=1"
        await notifier.stopping(timedelta(minutes=2))
        assert await heard(listener) == "STOPPING=1\nEXTEND_TIMEOUT_USEC=135000000"


async def test_a_reload_that_fails_is_over_as_well(address: str) -> None:
    with manager(address) as listener, open_notifier({"NOTIFY_SOCKET": address}) as notifier:
        with pytest.raises(ConfigError):
            async with notifier.reloading(HandClock()):
                raise ConfigError([])
        assert (await heard(listener)).startswith("RELOADING=1")
        assert await heard(listener) == "READY=1"


async def test_the_status_is_told_when_it_changes_and_only_then(address: str) -> None:
    status = "1 tenant"
    asked = 0

    def current() -> str:
        nonlocal asked
        asked += 1
        return status

    with manager(address) as listener, open_notifier({"NOTIFY_SOCKET": address}) as notifier:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(notifier.keep, current, lambda: True)
            assert await heard(listener) == "STATUS=1 tenant"
            await until(lambda: asked >= 2)
            status = "2 tenants"
            assert await heard(listener) == "STATUS=2 tenants"
            tasks.cancel_scope.cancel()


async def test_the_watchdog_is_fed_in_time_for_as_long_as_all_is_well(address: str) -> None:
    asked: list[float] = []
    well = True

    def is_well() -> bool:
        asked.append(anyio.current_time())
        return well

    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
    with manager(address) as listener, open_notifier(environ) as notifier:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(notifier.keep, lambda: "well", is_well)
            told = {await heard(listener) for _ in range(4)}
            assert told == {"STATUS=well", "WATCHDOG=1"}
            well = False
            seen = len(asked)
            await until(lambda: len(asked) >= seen + 3)
            fed = 0
            while True:
                try:
                    fed += listener.recv(4096) == b"WATCHDOG=1"
                except BlockingIOError:
                    break
            assert 3 + fed <= seen
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "watchdog", [{}, {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}], ids=["nobody's", "another's"]
)
async def test_a_watchdog_that_is_not_ours_is_not_fed(address: str, watchdog: dict[str, str]) -> None:
    with manager(address) as listener, open_notifier({"NOTIFY_SOCKET": address, **watchdog}) as notifier:
        with anyio.move_on_after(0.2):
            await notifier.keep(lambda: "well", lambda: pytest.fail("nobody needs to know"))
        assert await heard(listener) == "STATUS=well"


async def test_a_manager_that_is_slow_to_read_holds_up_no_other_task_and_misses_nothing(address: str) -> None:
    with manager(address) as listener, open_notifier({"NOTIFY_SOCKET": address}) as notifier:
        sent = 0
        with anyio.move_on_after(1):  # which a loop that stands still would never know to be over
            while True:
                await notifier.ready()
                sent += 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(notifier.stopping, timedelta())
            for _ in range(sent):
                assert await heard(listener) == "READY=1"
            assert (await heard(listener)).startswith("STOPPING=1")


async def test_without_a_manager_nothing_is_said() -> None:
    with open_notifier({}) as notifier:
        await notifier.ready()
        async with notifier.reloading(HandClock()):
            pass
        await notifier.stopping(timedelta())
    tell_failure(StoreError("the disk is full"), {})


async def test_a_manager_that_is_gone_ends_nothing(address: str) -> None:
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000"}
    with manager(address) as listener, open_notifier(environ) as notifier:
        listener.close()
        with anyio.move_on_after(0.1) as alive:
            await notifier.keep(lambda: "well", lambda: True)
        assert alive.cancelled_caught
    with open_notifier(environ) as notifier:
        await notifier.ready()
    tell_failure(StoreError("the disk is full"), environ)


async def test_a_watchdog_is_fed_again_soon_after_what_was_amiss_is_over(address: str) -> None:
    """As after a jump of the wall clock; half of its time later may be too late."""
    answers = iter([False, True])
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"}
    with manager(address) as listener, open_notifier(environ) as notifier:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(notifier.keep, lambda: "well", lambda: next(answers))
            assert [await heard(listener) for _ in range(2)] == ["STATUS=well", "WATCHDOG=1"]
            tasks.cancel_scope.cancel()


def test_a_watchdog_s_time_that_is_no_number_is_named() -> None:
    with pytest.raises(ConfigError, match="WATCHDOG_USEC: is not a number"), open_notifier({"WATCHDOG_USEC": "30s"}):
        pass


async def test_why_a_start_failed_is_told_in_a_line(address: str) -> None:
    with manager(address) as listener:
        problems = [Problem(Path("adsyncd.toml"), line, "watch", "is no boolean", "") for line in (1, 2)]
        tell_failure(ConfigError(problems), {"NOTIFY_SOCKET": address})
        assert await heard(listener) == f"STATUS=adsyncd.toml:1: watch: is no boolean\nERRNO={errno.EINVAL}"
        tell_failure(StoreError("adsyncd.db: the disk is full"), {"NOTIFY_SOCKET": address})
        assert await heard(listener) == f"STATUS=adsyncd.db: the disk is full\nERRNO={errno.EIO}"
