"""The real daemon when nobody reads its log, there is no log at all, or there are few file descriptors."""

import fcntl
import json
import os
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from support.platform import HEALTHY, Platform, accounts, environ_of, running_platform
from support.program import AMPLE, Daemon, Program
from support.waiting import until

SMALL = 4096  # bytes that a pipe holds, which is a page at least


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[Platform]:
    async with running_platform({"accounts": accounts("acme"), "everyone": {**HEALTHY, "campaigns": 3}}) as running:
        yield running


@pytest.fixture
def program(tmp_path: Path, platform: Platform) -> Program:
    """An installation with a tenant that runs each second."""
    installed = Program(tmp_path, environ_of("acme"))
    installed.settings(platform.base_url)
    installed.tenant("acme", schedule={"every": "1s"}, quota={"requests": 1000, "per": "1s"})
    return installed


@asynccontextmanager
async def daemon(program: Program, output: int) -> AsyncIterator[None]:
    """Start the daemon, which logs all that it can, and have it stop cleanly."""
    async with program.started("--log-level", "debug", output=output) as started:
        await until_ready(program)
        yield
        assert await started.stop() == 0


async def until_ready(program: Program) -> None:
    """Return once the daemon answers."""
    async with program.control() as control:
        with anyio.fail_after(30):
            while True:
                try:
                    if (await control.get("/v1/ready", timeout=5)).is_success:
                        return
                except httpx.TransportError:
                    pass
                await anyio.sleep(0.05)


async def sent(platform: Platform, more: int) -> None:
    """Return once the tenant has sent so many requests more."""
    before = (await platform.ledger("acme"))["accepted"]
    with anyio.fail_after(30):
        while (await platform.ledger("acme"))["accepted"] < before + more:  # noqa: ASYNC110 - another process's
            await anyio.sleep(0.05)


async def test_a_log_that_nobody_reads_holds_up_neither_runs_nor_answers_nor_the_stop(
    program: Program, platform: Platform
) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, SMALL)
    with os.fdopen(read, "rb") as reader:
        async with daemon(program, write):
            await until(lambda: waiting_in(read) >= SMALL // 2)
            await sent(platform, 12)
            assert (await program.run("status")).returncode == 0
        os.close(write)
        first = reader.read().splitlines()[0]
    assert json.loads(first)["event"]


def waiting_in(pipe: int) -> int:
    """Return how many bytes wait in a pipe."""
    count = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)


async def test_a_reader_that_goes_away_changes_nothing_not_even_the_exit_code(
    program: Program, platform: Platform
) -> None:
    program.environ["OTEL_TRACES_EXPORTER"] = "console"
    read, write = os.pipe()
    async with daemon(program, write):
        os.close(write)
        os.close(read)
        await sent(platform, 8)


async def test_without_standard_streams_the_daemon_runs_and_nothing_takes_their_places(
    program: Program, platform: Platform
) -> None:
    command = " ".join(program._command("run"))
    async with program.opened("sh", "-c", f"exec {command} 0<&- 1>&- 2>&-") as process:
        await until_ready(program)
        await sent(platform, 4)
        streams = [Path(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
        assert {str(stream.readlink()) for stream in streams} == {os.devnull}
        assert await Daemon(process, Path(os.devnull)).stop() == 0


@pytest.mark.parametrize("stderr", ["2>&-", "2> >(exec true)"])
async def test_wrong_settings_exit_with_78_even_if_nobody_can_be_told(program: Program, stderr: str) -> None:
    program.settings(shutdown_grace="soon")
    command = " ".join(program._command("run"))
    ended = await anyio.run_process(["bash", "-c", f"{command} {stderr}"], env=program._environ(), check=False)
    assert ended.returncode == 78


async def test_an_output_that_can_t_be_written_is_said_in_a_line(program: Program) -> None:
    command = " ".join(program._command("check"))
    ended = await anyio.run_process(["sh", "-c", f"{command} >/dev/full"], env=program._environ(), check=False)
    assert ended.returncode == 1
    assert ended.stderr.decode() == "error: the output can't be written: No space left on device\n"


MANY = [f"tenant{number}" for number in range(40)]
DESCRIPTORS = 64  # of which the daemon needs half for itself, and each of its tenants six


class Confined(Program):
    """An installation whose processes may have few file descriptors."""

    def _command(self, command: str, *arguments: str) -> list[str]:
        limit = f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"
        return ["prlimit", limit, *super()._command(command, *arguments)]


async def test_too_few_descriptors_for_all_tenants_cost_time_and_no_run_and_are_blamed_on_nobody(
    tmp_path: Path,
) -> None:
    settings = {"everyone": {**HEALTHY, "campaigns": 10, "push_latency_s": 0.5}, "accounts": accounts(*MANY)}
    async with running_platform(settings) as platform:
        program = Confined(tmp_path, environ_of(*MANY))
        program.settings(platform.base_url, defaults={**AMPLE, "sync": {"max_attempts": 1}})
        for tenant in MANY:
            program.tenant(tenant, credentials={"env": tenant.upper()})
        async with program.daemon() as daemon:
            await daemon.logs("run ended", len(MANY), within_s=120)
        runs = await program.runs()
    assert {(run["outcome"], run["pushed"], run["error"]) for run in runs.values()} == {("succeeded", 10, None)}
    [told] = daemon.events("out of resources for connections")
    assert told["cause"].startswith("this process has no file descriptor left; raise LimitNOFILE=")
    log = daemon.log.read_text()
    assert "circuit breaker" not in log
    assert "no connection to" not in log
    assert "Traceback" not in log
