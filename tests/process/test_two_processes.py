"""Real processes that share a store: one at a time is at work on a tenant, and what a dead one leaves is taken up."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from signal import SIGKILL
from typing import Any

import anyio
import pytest

from support.platform import HEALTHY, Platform, accounts, environ_of, running_platform
from support.program import AMPLE, Daemon, Program
from support.waiting import until

TENANTS = ("acme", "globex", "initech")
CAMPAIGNS = 12
SKIPPED = "tick skipped, another process is at work"
BEFORE_IT_RUNS_OUT_S = 20  # the time to live is 30 s


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    """A platform that lets each push take effect anew, whatever its idempotency key."""
    everyone = {**HEALTHY, "campaigns": CAMPAIGNS, "push_hang": 0, "push_latency_s": 0.4, "idempotency": False}
    async with running_platform({"accounts": accounts(*TENANTS), "everyone": everyone}) as running:
        yield running


def install(folder: Path, platform: Platform, tenants: tuple[str, ...], **keys: Any) -> Program:  # noqa: ANN401 - a drop-in's
    """Make an installation whose database is in the folder above, for all to share."""
    folder.mkdir()
    program = Program(folder, environ_of(*TENANTS))
    program.settings(platform.base_url, store={"url": f"sqlite:///{folder.parent}/adsyncd.db"}, defaults=AMPLE)
    for name in tenants:
        program.tenant(name, **keys)
    return program


async def meet(*daemons: Daemon) -> None:
    """Return once each of them has been at work on a tenant, or has found another at it.

    They tick at the same instants, so they may well hand a tenant to and fro, and never find it taken.
    """
    await until(lambda: all(daemon.events("run ended") or daemon.events(SKIPPED) for daemon in daemons), within_s=60)


async def runs(program: Program, tenant: str) -> list[dict[str, Any]]:
    """Return a tenant's runs, the one that began first first."""
    return sorted(await program.ask("runs", tenant, "--limit", "1000"), key=lambda run: str(run["started_at"]))


async def test_two_daemons_with_one_store_run_each_tenant_once_at_a_time_and_push_everything_once(
    tmp_path: Path, platform: Platform
) -> None:
    often = {"schedule": {"every": "1s"}}
    one, other = (install(tmp_path / name, platform, TENANTS, **often) for name in ("one", "other"))
    async with one.daemon() as first, other.daemon() as second:
        await meet(first, second)
        for name in TENANTS:
            await platform.reach_effects(name, 3 * CAMPAIGNS)
    for name in TENANTS:
        history = await runs(one, name)
        done = [run for run in history if run["outcome"]]
        assert len(done) >= 2
        assert all((run["outcome"], run["pushed"]) == ("succeeded", CAMPAIGNS) for run in done)
        assert all(before["ended_at"] <= after["started_at"] for before, after in pairwise(done))
        ledger = await platform.ledger(name)
        assert all(set(keys.values()) == {1} for keys in ledger["effects"].values())
        assert ledger["effects_total"] == sum(run["pushed"] for run in history)
        assert ledger["refused"] == 0
    for daemon in (first, second):
        assert "Traceback" not in daemon.log.read_text()
        assert not daemon.events("run not recorded")


async def test_a_daemon_takes_up_what_a_dead_one_beside_it_left_before_its_lease_has_run_out(
    tmp_path: Path, platform: Platform
) -> None:
    await platform.change(everyone={"push_hang": 1, "idempotency": True})
    often = {"schedule": {"every": "1s"}, "sync": {"timeout": "10m"}}
    one, other = (install(tmp_path / name, platform, TENANTS[:1], **often) for name in ("one", "other"))
    async with one.started() as first:
        await platform.reach_effects("acme", 5)
        async with other.daemon() as second:
            await second.logs(SKIPPED, within_s=BEFORE_IT_RUNS_OUT_S)
            [left] = await runs(one, "acme")
            await platform.change(everyone={"push_hang": 0})
            first.process.send_signal(SIGKILL)
            await second.logs("run ended", within_s=BEFORE_IT_RUNS_OUT_S)
    taken_up, *_ = await runs(one, "acme")
    assert taken_up["run_id"] == left["run_id"]
    assert (taken_up["outcome"], taken_up["pushed"]) == ("succeeded", CAMPAIGNS)
    ledger = await platform.ledger("acme")
    assert all(set(keys.values()) == {1} for keys in ledger["effects"].values())


async def test_commands_leave_alone_whom_a_daemon_is_at_work_on_and_say_so(tmp_path: Path, platform: Platform) -> None:
    await platform.change(clients={"acme": {"rejected": ["cmp-0001"]}})
    program = install(tmp_path / "one", platform, TENANTS[:1])
    assert (await program.run("sync", "acme")).returncode == 3
    await platform.change(clients={"acme": {"push_hang": 1}})
    said: dict[str, tuple[int, str, str]] = {}

    async def call(*command: str) -> None:
        ended = await program.run(*command)
        said[command[0]] = ended.returncode, ended.stdout.decode(), ended.stderr.decode()

    program.tenant("acme", schedule={"every": "1s"}, sync={"timeout": "10m"})
    async with program.started() as daemon:
        await platform.reach_effects("acme", CAMPAIGNS - 1 + 5)
        whose = f"process {daemon.process.pid} on "
        fix = " is working on tenant acme: wait until it is done, or see `adsyncd status acme`"
        async with anyio.create_task_group() as commands:
            commands.start_soon(call, "sync", "acme")
            commands.start_soon(call, "dead-letters", "replay", "--all", "--json")
    code, _, error = said["sync"]
    assert code == 1
    assert error.startswith(f"error: {whose}")
    assert error.endswith(f"{fix}\n")
    code, out, _ = said["dead-letters"]
    [letter] = json.loads(out)
    assert (code, letter["outcome"]) == (1, "pending")
    assert letter["error"].startswith(whose)
    with closing(sqlite3.connect(tmp_path / "adsyncd.db")) as database:
        assert database.execute("SELECT count(*) FROM dead_letters").fetchone() == (1,)


async def test_a_daemon_shows_another_process_s_run_within_seconds_and_then_as_its_last_run(
    tmp_path: Path, platform: Platform
) -> None:
    program = install(tmp_path / "one", platform, TENANTS[:1])
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
        own = (await program.ask("status", "acme"))["last_run"]
        await platform.change(everyone={"push_latency_s": 3})  # the run takes several looks
        async with anyio.create_task_group() as commands:
            commands.start_soon(program.run, "sync", "acme")
            elsewhere = await program.status("acme", lambda acme: acme["state"] == "running elsewhere")
        ended_at = anyio.current_time()
        assert elsewhere["holder"].startswith("process ")
        idle = await program.status("acme", lambda acme: acme["state"] == "idle")
        assert anyio.current_time() - ended_at < 10  # the next tick is years away
        [before, latest] = await runs(program, "acme")
        assert idle["last_run"]["run_id"] == latest["run_id"] != own["run_id"] == before["run_id"]
        assert datetime.fromisoformat(idle["last_run"]["ended_at"]) == datetime.fromisoformat(latest["ended_at"])
        assert len(daemon.events("run ended")) == 1
