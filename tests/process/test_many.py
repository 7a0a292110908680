"""5,000 tenants: a daemon with as many drop-ins, and what one `adsyncd status` costs it and its client, in CPU time."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import anyio
import pytest
from sqlalchemy import create_engine, insert

from adsyncd.clock import SystemClock
from adsyncd.model.run import Outcome, run_id
from adsyncd.store import tables
from support.migrated import sqlite_file
from support.program import Program

MANY = 5000
PAUSED = 40
FAILING = 12
CLIENT_S = 1.0
DAEMON_S = 0.1
ROUNDS = 5
NEVER = {"cron": "0 0 29 2 *"}
UNNEEDED = {  # by a client of the daemon
    "adsyncd.config.settings",
    "adsyncd.control.attention",
    "adsyncd.control.wire",
    "adsyncd.rate.gate",
    "adsyncd.runs.plan",
    "adsyncd.store.store",
    "apscheduler",
    "opentelemetry",
    "sqlalchemy",
    "starlette",
    "structlog",
    "uvicorn",
}
MEASURED = """
import resource, sys
import adsyncd.cli
try:
    adsyncd.cli.main()
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, *sys.modules, file=sys.stderr)
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """An installation with many tenants, none of which is due."""
    installed = Program(tmp_path, {"ACME": '{"email": "a@example.com", "password": "p"}'})
    installed.settings("http://127.0.0.1:9", defaults={"quota": {"requests": 1000, "per": "60s"}})
    names = [f"shop-{number:04}" for number in range(MANY)]
    for name in names:
        installed.tenant(name, credentials={"env": "ACME"}, schedule=NEVER)
    record_runs(sqlite_file(tmp_path), names)
    return installed


def record_runs(url: str, names: Sequence[str]) -> None:
    """Have each tenant run just now, so that none is due. The runs of the last ones failed."""
    now = SystemClock().now()
    counts = dict.fromkeys(
        ("listed", "pushed", "skipped", "stored", "dead_lettered", "failed", "requests", "retries"), 3
    )
    rows = [
        {
            **counts,
            "refused": 0,
            "run_id": run_id(name, now),
            "tenant": name,
            **dict.fromkeys(("fire_time", "started_at", "ended_at"), now),
            "trace_id": f"{number:032x}",
            "waited_s": 0.0,
            "outcome": Outcome.FAILED if number >= MANY - FAILING else Outcome.SUCCEEDED,
            "error": "the platform answered 503" if number >= MANY - FAILING else None,
        }
        for number, name in enumerate(names)
    ]
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(insert(tables.runs), rows)
    engine.dispose()


async def measured(program: Program, *arguments: str) -> tuple[str, float, set[str]]:
    """Return what a command prints, the CPU time that it took, and the modules that it imported."""
    _, _, _, *rest = program._command("status", *arguments)
    command = [sys.executable, "-c", MEASURED, *rest]
    ended = await anyio.run_process(command, check=False, env=program._environ())
    assert ended.returncode == 0, ended.stderr
    cpu_s, *modules = ended.stderr.decode().split()
    return ended.stdout.decode(), float(cpu_s), set(modules)


def cpu_of(pid: int) -> float:
    """Return the CPU time of a process with all its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def at_rest(pid: int) -> None:
    """Return once a process uses less than 2 % of a CPU: it has planned all tenants, of which it takes a few a time."""
    with anyio.fail_after(240):
        used = -1.0
        while cpu_of(pid) - used > 0.1:
            used = cpu_of(pid)
            await anyio.sleep(5)


async def test_of_many_tenants_status_shows_the_worst_at_once(program: Program) -> None:
    async with program.started("--log-level", "warning") as daemon:
        socket = program.folder / "control.sock"
        with anyio.fail_after(60):
            while not socket.exists():  # noqa: ASYNC110 - another process
                await anyio.sleep(0.1)
        shown: dict[str, Any] = await program.ask("pause", "--match", "shop-00[0-3]*")
        assert len(shown) == PAUSED
        await at_rest(daemon.process.pid)

        text, client_s, modules = await measured(program)
        lines = text.splitlines()
        assert lines[0] == f"5,000 tenants: {FAILING} failing, {PAUSED} paused"
        assert lines[2].startswith(f"{FAILING} failing: shop-4988, shop-4989, shop-4990 and 9 more: the platform")
        assert any(line.startswith(f"{PAUSED} paused: shop-0000, shop-0001, shop-0002 and 37 more: ") for line in lines)
        assert sum(line.startswith("shop-") for line in lines) == 100
        assert lines[-1] == "and 4,900 more: --limit N, --all, or a selection such as --failing"
        assert client_s < CLIENT_S
        assert not {name for name in modules if any(name == each or name.startswith(f"{each}.") for each in UNNEEDED)}

        text, _, _ = await measured(program, "--paused", "--limit", "3")
        assert f"{PAUSED} of them are selected" in text
        assert text.splitlines()[-1].startswith("and 37 more")

        page, ids = json.loads((await measured(program, "--json", "--limit", "900", "--match", "shop-0*"))[0]), []
        while True:
            ids += [one["id"] for one in page["tenants"]]
            if page["next"] is None:
                break
            arguments = ("--json", "--limit", "900", "--match", "shop-0*", "--after", page["next"])
            page = json.loads((await measured(program, *arguments))[0])
        assert ids == [f"shop-{number:04}" for number in range(1000)]

        took = list[float]()
        for _ in range(ROUNDS):  # the median, since the daemon also looks at all tenants by itself now and then
            before = cpu_of(daemon.process.pid)
            await measured(program)
            took.append(cpu_of(daemon.process.pid) - before)
        assert median(took) < DAEMON_S
        assert await daemon.stop() == 0
