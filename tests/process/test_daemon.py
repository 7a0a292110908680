"""The real daemon against a real platform: it starts, syncs, stops, is killed, and goes on where it was."""

import json
import signal
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import anyio
import pytest

from support.faked_time import faked_time
from support.platform import Platform
from support.program import AMPLE, Daemon, Program
from support.waiting import until

TENANTS = ("acme", "globex", "initech")
CAMPAIGNS = 12


async def ends(daemon: Daemon) -> int:
    with anyio.fail_after(20):
        return await daemon.process.wait()


def stored(program: Program, name: str) -> int:
    """Return how many campaigns of a tenant are stored as synced."""
    with closing(sqlite3.connect(program.folder / "adsyncd.db")) as database:
        [[count]] = database.execute(
            "SELECT count(*) FROM campaigns WHERE tenant = ? AND synced_at IS NOT NULL", [name]
        ).fetchall()
        return int(count)


# Day by day


async def test_tenants_are_synced_on_their_schedules_until_it_is_told_to_stop(
    program: Program, platform: Platform
) -> None:
    for name in TENANTS:
        program.tenant(name, schedule={"every": "1s"})
    async with program.daemon() as daemon:
        await daemon.logs("ready")
        for name in TENANTS:
            await platform.reach_effects(name, 3 * CAMPAIGNS)
    for name in TENANTS:
        done = [run for run in await program.ask("runs", name) if run["outcome"]]
        assert len(done) >= 2
        assert all((run["outcome"], run["pushed"]) == ("succeeded", CAMPAIGNS) for run in done)
        assert stored(program, name) == CAMPAIGNS
        assert (await platform.ledger(name))["refused"] == 0
    assert daemon.events("stopped")
    assert "Traceback" not in daemon.log.read_text()


async def test_a_start_catches_up_on_what_was_missed_and_only_on_that(program: Program) -> None:
    program.tenant("acme")
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
    async with program.daemon() as daemon:
        await daemon.logs("ready", 2)
    program.tenant("acme", schedule={"every": "1s"})  # so it was due in the meantime
    async with program.daemon() as daemon:
        await daemon.logs("ready", 3)
    assert [event["due"] for event in daemon.events("ready")] == [1, 0, 1]


async def test_a_wall_clock_that_jumps_makes_what_is_due_by_it_begin_once(program: Program, platform: Platform) -> None:
    """As on a machine that slept, or whose clock was wrong. No watchdog asks."""
    await platform.treat(campaigns=1)  # under libfaketime threads are slow
    clock = faked_time(program, "@2026-11-29 02:00:00", monotonic=False)
    program.tenant("acme", schedule={"cron": "0 3 * * *"})
    async with program.daemon("--log-level", "debug") as daemon:
        await daemon.logs("run ended")  # since it never ran
        clock.set("@2026-11-29 05:00:00")
        await daemon.logs("run ended", 2)
        clock.set("@2026-11-29 02:59:58")
        await daemon.logs("tick skipped, its run has ended already")
    fire_times = [run["fire_time"] for run in await program.ask("runs", "acme")]
    assert len(fire_times) == 2
    assert "2026-11-29T03:00:00+00:00" in fire_times


# Cut off, and taken up


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_run_that_was_cut_off_is_resumed_and_each_push_takes_effect_once(
    program: Program, platform: Platform, how: signal.Signals
) -> None:
    await platform.treat(push_latency_s=0.4)
    program.tenant("acme", sync={"concurrency": 3})
    async with program.started() as daemon:
        await platform.reach_effects("acme", 4)
        daemon.process.send_signal(how)
        assert await ends(daemon) == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    at_the_cut = await platform.ledger("acme")
    assert 4 <= at_the_cut["effects_total"] < CAMPAIGNS
    [left] = await program.ask("runs")
    assert (left["outcome"], left["ended_at"]) == (None, None)
    if how is signal.SIGTERM:  # what was on its way came back
        assert left["pushed"] == at_the_cut["effects_total"]
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
    [run] = await program.ask("runs")
    kept = ("run_id", "fire_time", "started_at")
    assert [run[key] for key in kept] == [left[key] for key in kept]
    assert (run["outcome"], run["pushed"], run["listed"]) == ("succeeded", CAMPAIGNS, CAMPAIGNS)
    ledger = await platform.ledger("acme")
    assert [len(keys) for keys in ledger["effects"].values()] == [1] * CAMPAIGNS
    assert (ledger["effects_total"], ledger["refused"]) == (CAMPAIGNS, 0)
    unknown = 1 if how is signal.SIGTERM else 4  # requests whose answers it did not live to see: of a page, of pushes
    assert ledger["accepted"] - unknown <= run["requests"] <= ledger["accepted"]
    assert stored(program, "acme") == CAMPAIGNS
    assert "Traceback" not in daemon.log.read_text()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_cuts_the_farewell_short(
    program: Program, platform: Platform, how: signal.Signals
) -> None:
    program.settings(platform.base_url, defaults=AMPLE, shutdown_grace="10m")
    await platform.treat(push_hang=1)
    program.tenant("acme", sync={"timeout": "10m"})
    async with program.started() as daemon:
        await platform.reach_effects("acme", 5)
        daemon.process.send_signal(how)
        await daemon.logs("stopping")
        with anyio.move_on_after(0.5):
            await daemon.process.wait()
        assert daemon.process.returncode is None
        daemon.process.send_signal(how)
        assert await ends(daemon) == 0
    assert "Traceback" not in daemon.log.read_text()
    assert [run["outcome"] for run in await program.ask("runs")] == [None]


@pytest.mark.parametrize("late", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_that_comes_when_all_is_done_changes_nothing(program: Program, late: signal.Signals) -> None:
    leaving = program.folder / "leaving"
    (program.folder / "sitecustomize.py").write_text(
        "import atexit, pathlib, time\n"
        "atexit.register(time.sleep, 1)\n"
        f"atexit.register(pathlib.Path({str(leaving)!r}).touch)\n"
    )
    program.environ["PYTHONPATH"] = str(program.folder)
    async with program.started() as daemon:
        await daemon.logs("ready")
        daemon.process.send_signal(signal.SIGTERM)
        await until(leaving.exists)
        daemon.process.send_signal(late)
        assert await ends(daemon) == 0
    assert json.loads(daemon.log.read_text().splitlines()[-1])["event"] == "stopped"


async def test_a_farewell_is_no_longer_than_its_grace(program: Program, platform: Platform) -> None:
    program.settings(platform.base_url, defaults=AMPLE, shutdown_grace="300ms")
    await platform.treat(push_hang=1)
    program.tenant("acme", sync={"timeout": "10m"})
    async with program.daemon():
        await platform.reach_effects("acme", 5)


# Mistakes of its operators


async def test_a_bad_drop_in_is_logged_with_its_place_and_the_others_run(program: Program, platform: Platform) -> None:
    for name in ("acme", "globex"):
        program.tenant(name)
    bad = program.folder / "tenants.d" / "initech.toml"
    bad.write_text('client_id = "initech"\nplatfrom = "mixo"\n')
    async with program.daemon() as daemon:
        await daemon.logs("run ended", 2)
    problems = [event["problem"] for event in daemon.events("drop-in refused")]
    assert any(problem.startswith(f"{bad}:2: platfrom: ") for problem in problems)
    assert {run["tenant"] for run in await program.ask("runs")} == {"acme", "globex"}
    assert (await platform.ledger("initech"))["accepted"] == 0


async def test_a_disabled_tenant_does_not_run(program: Program) -> None:
    program.tenant("acme")
    program.tenant("globex", enabled=False)
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
    assert [event["tenants"] for event in daemon.events("ready")] == [1]
    assert [run["tenant"] for run in await program.ask("runs")] == ["acme"]


@pytest.mark.parametrize("folder", ["is empty", "is missing"])
async def test_it_waits_without_drop_ins(program: Program, folder: str) -> None:
    if folder == "is missing":
        (program.folder / "tenants.d").rmdir()
    async with program.daemon() as daemon:
        await daemon.logs("ready")
    assert len(daemon.events("drop-in refused")) == (folder == "is missing")


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"store": {"url": "sqlite:////nowhere/adsyncd.db"}}, "there is no directory /nowhere"),
        ({"store": {"url": "sqlite:////proc/version"}}, "/proc/version"),
        ({"store": {"url": "sqlite:///{folder}/adsyncd.toml"}}, "it is not an SQLite database"),
        ({"store": {"url": "mysql://ads"}}, "sqlite:///"),
        ({"shutdown_grace": "soon"}, 'adsyncd.toml:5: shutdown_grace: expected a duration such as "15m"'),
        ({"shutdwn_grace": "20s"}, "shutdown_grace"),
    ],
)
async def test_what_it_can_t_start_with_is_said_in_a_line(
    program: Program, platform: Platform, tables: Mapping[str, Any], said: str
) -> None:
    if "store" in tables:
        tables = {"store": {"url": tables["store"]["url"].format(folder=program.folder)}}
    program.settings(platform.base_url, defaults=AMPLE, **tables)
    ended = await program.run("run")
    lines = ended.stderr.decode().splitlines()
    assert ended.returncode == (1 if "sqlite:" in str(tables) else 78)  # 78: the settings say it, not the database
    assert said in lines[0]
    assert all(line.startswith("error: ") for line in lines)


async def test_standard_variables_that_cannot_be_used_are_all_named_by_who_needs_them_and_matter_to_nobody_else(
    program: Program,
) -> None:
    program.tenant("acme")
    program.environ.update(
        OTEL_EXPORTER_OTLP_ENDPOINT="localhost:4318",
        OTEL_EXPORTER_OTLP_HEADERS="authorization: Bearer canary-4711",
        OTEL_PROPAGATORS="b3",
        OTEL_PYTHON_CONTEXT="bogus",  # which has no effect
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="x",
        SSL_CERT_FILE="/nowhere.pem",
    )
    named = {name for name in program.environ if name.startswith(("OTEL_", "SSL_"))} - {"OTEL_PYTHON_CONTEXT"}
    for command, code in ((["run"], 78), (["check"], 1), (["sync", "acme"], 1), (["status"], 4)):
        ended = await program.run(*command)
        said = (ended.stdout + ended.stderr).decode()
        assert ended.returncode == code, said
        assert "Traceback" not in said
        assert "canary-4711" not in said
        keys = {line.removeprefix("error: ").partition(":")[0] for line in said.splitlines()}
        assert keys >= named if code != 4 else not keys & named
