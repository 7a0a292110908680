"""The real `adsyncd sync` against a real platform: its exit codes, what it prints, its progress, and Ctrl-C."""

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, closing

import anyio
import pytest
from anyio.abc import ByteReceiveStream, Process

from support.platform import Platform
from support.program import AMPLE, Program
from support.terminals import reading

CAMPAIGNS = 12
REJECTED = "cmp-0003"
RUN_KEYS = [
    "tenant", "run_id", "fire_time", "started_at", "ended_at", "outcome", "listed", "pushed", "skipped", "stored",
    "dead_lettered", "failed", "requests", "retries", "refused", "waited_s", "waits", "late_s", "skipped_ticks",
    "trace_id", "error", "note",
]  # fmt: skip
ESCAPE = "\x1b["
LISTING_MODULES = """
import sys, adsyncd.cli
try:
    adsyncd.cli.main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
UNNEEDED = {  # by a sync on SQLite, with neither Vault nor exporters; each takes 20 to 150 ms to import
    "alembic",  # the schema is the newest
    "apscheduler.schedulers",  # ticks
    "google.protobuf",  # exporters
    "hvac",  # Vault
    "jinja2",  # the pages
    "opentelemetry.exporter",
    "opentelemetry.sdk.metrics",
    "prometheus_client",
    "psycopg",
    "requests",  # Vault and exporters
    "sqlalchemy.dialects.postgresql",
    "starlette",  # the control API
    "uvicorn",
    "watchfiles",  # reloads
}


@pytest.fixture
def program(program: Program, platform: Platform) -> Program:
    """An installation with the tenant acme, whose commands wait for the database for a second."""
    store = {"url": f"sqlite:///{program.folder}/adsyncd.db?timeout=1"}
    program.settings(platform.base_url, store=store, defaults=AMPLE)
    program.tenant("acme")
    return program


def syncing(program: Program, *options: str, stderr: int = subprocess.PIPE) -> AbstractAsyncContextManager[Process]:
    """Start `adsyncd sync acme`; what is left of it in the end is killed."""
    return program.opened(*program._command("sync", "acme", *options), stdin=subprocess.DEVNULL, stderr=stderr)


async def said(process: Process) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error of a process that comes to its end."""
    heard = {"out": b"", "err": b""}

    async def hear(what: str, stream: ByteReceiveStream) -> None:
        async for chunk in stream:
            heard[what] += chunk

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for what, stream in (("out", process.stdout), ("err", process.stderr)):
                if stream is not None:
                    tasks.start_soon(hear, what, stream)
        return await process.wait(), heard["out"].decode(), heard["err"].decode()


@pytest.mark.parametrize(
    ("treatment", "code", "outcome", "pushed"),
    [
        ({}, 0, "succeeded", CAMPAIGNS),
        ({"rejected": [REJECTED]}, 3, "partial", CAMPAIGNS - 1),
        ({"fault": "html"}, 1, "failed", 0),
    ],
)
async def test_the_exit_code_tells_how_the_run_ended_and_the_record_says_the_same(
    program: Program, platform: Platform, treatment: Mapping[str, object], code: int, outcome: str, pushed: int
) -> None:
    await platform.treat(**treatment)
    program.tenant("acme", sync={"max_attempts": 1})
    ended = await program.run("sync", "acme", "--json")
    run = json.loads(ended.stdout)
    assert ended.returncode == code
    assert (run["outcome"], run["pushed"]) == (outcome, pushed)
    assert list(run) == RUN_KEYS
    assert [run] == await program.ask("runs")
    assert b"Traceback" not in ended.stderr


async def test_a_sync_imports_nothing_that_it_does_not_need(program: Program) -> None:
    """Half of the time of a sync without a push was for modules that only others need."""
    assert (await program.run("sync", "acme")).returncode == 0
    _, _, _, *arguments = program._command("sync", "acme")
    command = [sys.executable, "-c", LISTING_MODULES, *arguments]
    ended = await anyio.run_process(command, check=False, env=program._environ())
    assert ended.returncode == 0
    imported = set(ended.stderr.decode().split())
    assert "sqlalchemy" in imported
    assert not UNNEEDED & imported


async def test_what_is_no_terminal_gets_a_plain_table_and_no_progress(program: Program) -> None:
    ended = await program.run("sync", "acme")
    header, row = ended.stdout.decode().splitlines()
    [run] = await program.ask("runs")
    assert header.startswith("tenant ")
    assert f"{CAMPAIGNS}/{CAMPAIGNS}" in row
    assert run["trace_id"] in row
    assert ESCAPE not in ended.stdout.decode()
    assert ended.stderr == b""


async def test_a_terminal_shows_the_progress_up_to_the_last_campaign(program: Program, platform: Platform) -> None:
    await platform.treat(push_latency_s=0.3)
    ours, theirs = pty.openpty()
    drawn = b""
    program.environ["TERM"] = "xterm-256color"
    async with syncing(program, stderr=theirs) as process:
        os.close(theirs)
        with anyio.fail_after(20):
            async for more in reading(ours):
                drawn += more
        code, out, _ = await said(process)
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    assert code == 0
    assert ESCAPE in drawn.decode()
    assert "acme" in text
    assert len(set(re.findall(r"(\d+)/12", text))) > 2
    assert re.findall(r"(\d+)/12", text)[-1] == "12"
    assert ESCAPE not in out


async def test_ctrl_c_lets_what_is_on_its_way_come_back_and_the_next_run_goes_on(
    program: Program, platform: Platform
) -> None:
    await platform.treat(push_latency_s=0.4)
    async with syncing(program, "--json") as process:
        await platform.reach_effects("acme", 3)
        process.send_signal(signal.SIGINT)
        code, out, err = await said(process)
    left = json.loads(out)
    assert (code, left["outcome"]) == (1, None)
    assert left["pushed"] == (await platform.ledger("acme"))["effects_total"] < CAMPAIGNS
    assert "Traceback" not in err
    run = await program.ask("sync", "acme")
    assert (run["run_id"], run["pushed"]) == (left["run_id"], CAMPAIGNS)
    effects = (await platform.ledger("acme"))["effects"]
    assert [list(keys.values()) for keys in effects.values()] == [[1]] * CAMPAIGNS


async def test_a_second_ctrl_c_cuts_that_short_and_says_what_becomes_of_the_run(
    program: Program, platform: Platform
) -> None:
    await platform.treat(push_hang=1)
    program.tenant("acme", sync={"timeout": "10m"})
    async with syncing(program) as process:
        await platform.reach_effects("acme", 5)
        process.send_signal(signal.SIGINT)
        with anyio.move_on_after(0.5):
            await process.wait()
        assert process.returncode is None
        process.send_signal(signal.SIGINT)
        code, out, err = await said(process)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "error: cut short: the run stays open, and the tenant's next run resumes it"
    assert "Traceback" not in err
    assert [run["outcome"] for run in await program.ask("runs")] == [None]


async def test_a_database_that_others_lock_in_mid_run_is_said_in_words(program: Program, platform: Platform) -> None:
    await platform.treat(push_latency_s=0.3)
    async with syncing(program) as process:
        await platform.reach_effects("acme", 1)
        with closing(sqlite3.connect(program.folder / "adsyncd.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            code, out, err = await said(process)
    assert code == 1
    assert "another process keeps it locked" in out
    assert "Traceback" not in out + err
    assert (await program.run("sync", "acme")).returncode == 0


async def test_a_reader_may_hang_up_early(program: Program) -> None:
    await program.run("sync", "acme")
    environ = program._environ()
    command = " ".join(program._command("runs", "--json"))
    for reader in ("head -c 1", "true"):
        ended = await anyio.run_process(["sh", "-c", f"{command} | {reader}"], env=environ)
        assert ended.stderr == b""


async def test_a_sync_gives_back_the_permits_that_it_had_on_record_and_did_not_use(program: Program) -> None:
    program.tenant("acme", sync={"concurrency": 1})  # the last request's permit is the first of a block
    async with syncing(program, "--json") as process:
        code, out, _ = await said(process)
    assert code == 0
    with closing(sqlite3.connect(program.folder / "adsyncd.db")) as database:
        free_at = [row[0] for row in database.execute("SELECT free_at FROM permits")]
    assert len(free_at) > json.loads(out)["requests"]
    assert max(free_at) < time.clock_gettime(time.CLOCK_BOOTTIME) + 61  # cooling, and none out with a request
