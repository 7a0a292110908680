import os
import sys
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from adsyncd.demo.process import running

PATIENT = "import signal; print('here', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); signal.pause()"


async def has_said(log: Path, words: str) -> None:
    with anyio.fail_after(20):
        while words not in await anyio.Path(log).read_text():  # noqa: ASYNC110 - a file wakes nobody
            await anyio.sleep(0.01)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def gone(process: Process) -> bool:
    return process.returncode is not None and not Path(f"/proc/{process.pid}").exists()


async def test_it_says_all_to_the_log_and_ends_with_the_block(tmp_path: Path) -> None:
    async with running(
        python("import os; print(os.getcwd(), os.environ['A'])"), tmp_path / "log", {"A": "b"}
    ) as process:
        await process.wait()
    assert (tmp_path / "log").read_text() == f"{tmp_path} b\n"

    async with running(python(PATIENT), tmp_path / "log", {}, grace_s=20) as process:
        await has_said(tmp_path / "log", "here")
    assert gone(process)
    assert process.returncode == -15


async def test_one_that_does_not_end_when_asked_is_killed_once_the_grace_is_over(tmp_path: Path) -> None:
    async with running(python(STUBBORN), tmp_path / "log", {}, grace_s=0.05) as process:
        await has_said(tmp_path / "log", "here")
    assert gone(process)
    assert process.returncode == -9


async def test_without_a_grace_it_is_killed_at_once(tmp_path: Path) -> None:
    async with running(python(PATIENT), tmp_path / "log", {}) as process:
        await has_said(tmp_path / "log", "here")
    assert process.returncode == -9


async def test_it_ends_too_when_the_block_fails_or_is_cancelled(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with running(python(PATIENT), tmp_path / "log", {}, grace_s=20) as failing:
            raise ZeroDivisionError
    assert gone(failing)

    with anyio.CancelScope() as scope:
        async with running(python(STUBBORN), tmp_path / "log", {}, grace_s=0.05) as cancelled:
            await has_said(tmp_path / "log", "here")
            scope.cancel()
            await anyio.sleep_forever()
    assert gone(cancelled)


async def test_a_signal_to_the_terminals_processes_does_not_reach_it(tmp_path: Path) -> None:
    async with running(python(PATIENT), tmp_path / "log", {}) as process:
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
