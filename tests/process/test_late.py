"""The real daemon says of a tenant whose quota is too small that it is late, by how much, why, and what to do."""

import signal
from pathlib import Path

import anyio
import pytest

from support.platform import HEALTHY, Platform, accounts, environ_of, running_platform
from support.program import AMPLE, Program

CAMPAIGNS = 12  # and two pages: 14 requests, for which a quota of 5 a second has to return twice


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path, environ_of("acme", "globex"))


def answering_pushes_in(latency_s: float) -> dict[str, object]:
    """Return the settings of a platform that answers pushes in so many seconds."""
    everyone = {**HEALTHY, "campaigns": CAMPAIGNS, "push_latency_s": latency_s}
    return {"accounts": accounts("acme", "globex"), "everyone": everyone}


def install(program: Program, platform: Platform) -> None:
    """Let acme be due more often than its quota allows; globex has all that it needs."""
    program.settings(platform.base_url)
    program.tenant("acme", schedule={"every": "1500ms"}, quota={"requests": 5, "per": "1s"})
    program.tenant("globex", **AMPLE)


async def test_a_tenant_that_skips_every_second_tick_is_late_everywhere(program: Program) -> None:
    async with running_platform(answering_pushes_in(0)) as platform:
        install(program, platform)
        async with program.daemon() as daemon:
            await daemon.logs("alert fires")
            shown = (await program.run("status", "acme")).stdout.decode()
            table = (await program.run("status")).stdout.decode()
            status = await program.ask("status", "acme")
            [fires] = daemon.events("alert fires")
        runs = [run for run in await program.ask("runs", "acme", "--limit", "1000") if run["outcome"]]
        listed = (await program.run("runs", "acme")).stdout.decode()
    verdict = status["verdict"]
    assert (verdict["trouble"], verdict["severity"]) == ("late", "warning")
    assert verdict["sentence"].startswith("acme is late: ")
    assert "It is due every 1s500ms, and a run takes " in verdict["causes"][0]
    assert "waits for the quota of 5 requests per 1s, which its 14 requests use up twice over." in verdict["causes"][0]
    assert verdict["causes"][1].startswith("Nothing fails: all 12 campaigns were pushed ")
    assert verdict["fixes"][0] == 'schedule = { every = "1m" } or less often'
    assert verdict["fixes"][1].startswith("have the platform allow ")
    assert "verdict acme is late: " in " ".join(shown.split())
    assert verdict["fixes"][1] in " ".join(shown.split())
    assert f"1 late: acme: late: runs wait for the quota of their client id; {verdict['fixes'][0]}\n" in table
    assert "globex: late" not in table
    assert (fires["alert"], fires["tenant"], fires["severity"]) == ("late", "acme", "warning")
    assert "waits for the quota of 5 requests per 1s" in fires["summary"]
    assert "late" in listed.splitlines()[0]
    skipping = runs[-3:]
    assert {run["outcome"] for run in skipping} == {"succeeded"}
    assert all(run["skipped_ticks"] >= 1 for run in skipping)
    assert all(run["late_s"] >= 1 for run in skipping[:-1])  # the first one began on time
    for run in skipping:
        assert max(run["waits"], key=run["waits"].get) == "quota"


async def test_a_skipped_tick_outlives_a_daemon_that_is_killed(program: Program) -> None:
    async with running_platform(answering_pushes_in(5)) as platform:
        install(program, platform)
        async with program.started() as daemon:
            with anyio.fail_after(60):
                while not await _skipped(program):  # noqa: ASYNC110 - another process's database
                    await anyio.sleep(0.1)
            daemon.process.send_signal(signal.SIGKILL)
            await daemon.process.wait()
        assert await _skipped(program) >= 1


async def _skipped(program: Program) -> int:
    """Return how many ticks the open run of acme has skipped, as another process reads it from the database."""
    found = await program.run("runs", "acme", "--json")
    if found.returncode:
        return 0  # no database yet
    runs = await program.ask("runs", "acme")
    return sum(run["skipped_ticks"] for run in runs if run["outcome"] is None)
