"""What ten thousand tenants cost, and what a tenant with 100,000 campaigns costs the others.

Ten thousand: the real daemon with an SQLite file, none of whose tenants is due, and the real commands. CPU times are
those of the daemon until it is ready, and of the command's process; memory is what the daemon has written to.

A hundred thousand: a store on an SQLite file. The small tenants are one task that writes again and again and measures
each write. Beside it the large tenant begins a run and keeps a listing of 100,000 campaigns as one page, takes the run
up with as many pushes owed, and ends it; begins the next one; and ends two runs whose listing misses all these
campaigns, the second of which marks them deleted. The values are medians of the turns' longest waits: other load on
the machine and on its disk makes them longer, as the value beside nothing shows.
"""

import gc
import resource
import time
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

import anyio
from opentelemetry.trace import NoOpTracer

from adsyncd.clock import SystemClock
from adsyncd.model.campaign import Campaign, Page
from adsyncd.model.run import Listing, Outcome, Run, run_id
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, open_store
from adsyncd.tasks import beside
from benchmarks.config import FAR_AWAY, FROM_ENVIRON, store_url, tenant_ids, write_config
from benchmarks.figures import Figure
from benchmarks.idle import bring_up_to_date
from benchmarks.processes import cpu_s, own_kb, running_daemon, started

Result = TypeVar("Result")

TENANTS = 10_000
SETTLE_S = 10.0
IDLE_S = 20.0
TURNS = 5
MANY = 100_000
MOST_MS = 20
ALONE = "beside nothing"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def measure() -> list[Figure]:
    """Measure the daemon once, and each turn in a database of its own."""
    turns = [anyio.run(turn) for _ in range(TURNS)]
    waits = {what: round(median(one[what] for one in turns), 1) for what in turns[0]}
    wait = "longest wait of another tenant's write"
    return [
        *ten_thousand(),
        Figure(f"{wait}, {ALONE}", waits.pop(ALONE), "ms"),
        *(Figure(f"{wait}, {what}", longest, "ms", at_most=MOST_MS) for what, longest in waits.items()),
    ]


def ten_thousand() -> list[Figure]:
    """Measure a daemon with many tenants, and the commands that look at all of them."""
    with TemporaryDirectory() as name:
        folder, tenants = Path(name), tenant_ids(TENANTS)
        config = write_config(
            folder, "http://platform.invalid", dict.fromkeys(tenants, ""), defaults=FAR_AWAY + FROM_ENVIRON
        )
        anyio.run(bring_up_to_date, store_url(folder), tenants)
        with running_daemon(config) as (events, pid):
            assert next(event for event in events if event["event"] == "ready")["tenants"] == TENANTS
            ready_s = cpu_s(pid)
            time.sleep(SETTLE_S)  # until old history is looked for
            busy_s = cpu_s(pid)
            time.sleep(IDLE_S)  # the CPU time is measured over this time
            busy_s = cpu_s(pid) - busy_s
            memory_kb = own_kb(pid)
            spent = {command: command_cpu_s(command, config) for command in ("status", "plan", "reload")}
            (folder / "tenants.d" / f"{tenants[0]}.toml").write_text(f'client_id = "{tenants[0]}"\nenabled = false\n')
            before_s = cpu_s(pid)
            command_cpu_s("reload", config)
            changed_s = cpu_s(pid) - before_s
    return [
        Figure("CPU until ready, 10,000 tenants", round(ready_s, 2), "s", at_most=10),
        Figure("memory, 10,000 tenants", round(memory_kb / 1000, 1), "MB", at_most=600),
        Figure("CPU while idle, 10,000 tenants", round(100 * busy_s / IDLE_S, 2), "% of a core", at_most=1),
        Figure("CPU of `adsyncd status`, 10,000 tenants", round(spent["status"], 2), "s", at_most=4),
        Figure("CPU of `adsyncd plan`, 10,000 tenants", round(spent["plan"], 2), "s", at_most=12),
        Figure("CPU of `adsyncd reload`, 10,000 tenants", round(spent["reload"], 2), "s", at_most=2),
        Figure("CPU of the daemon's reload, 1 of 10,000 changed", round(changed_s, 2), "s", at_most=2),
    ]


def command_cpu_s(command: str, config: Path) -> float:
    """Run a command, and return the CPU seconds of its process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with started("adsyncd", command, "--config", str(config)) as process:
        process.communicate()
    assert process.returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def turn() -> dict[str, float]:
    """Return the longest wait of a small write (ms) beside each step of the large tenant's runs."""
    with TemporaryDirectory() as folder:
        async with open_store(store_url(Path(folder)), clock=SystemClock(), tracer=NoOpTracer()) as store:
            first, second, third = (run(number) for number in range(3))
            all_of = {letter: listing(letter) for letter in "ab"}
            gc.freeze()  # the two listings are of the benchmark, not of a daemon
            waits = {ALONE: (await felt(store, anyio.sleep(5)))[0]}
            waits["keep"], _ = await felt(store, began(store, first, all_of["a"]))
            waits["resume"], point = await felt(store, store.begin(first))
            assert len(point.owed) == MANY
            waits["finish"], _ = await felt(store, store.finish(ended(first)))
            waits["begin"], point = await felt(store, store.begin(second))
            assert point.live == MANY
            await began(store, second, all_of["b"])
            waits["finish, 100,000 missing"], _ = await felt(store, store.finish(ended(second)))
            await began(store, third, all_of["b"])
            waits["finish, 100,000 gone"], _ = await felt(store, store.finish(ended(third)))
            return waits


async def began(store: Store, run: Run, page: Page) -> None:
    await store.begin(run)
    await store.keep_page(run, page, PushPolicy.ALL)


async def felt(store: Store, act: Awaitable[Result]) -> tuple[float, Result]:
    """Return the longest wait of a small write during `act` (ms), and the result of `act`."""
    waits = [0.0]

    async def feel() -> None:
        while True:
            began_at = time.monotonic()
            try:
                await store.pause("small", NOON)
            finally:  # a write that the end of `act` cuts short has waited as long
                waits.append(time.monotonic() - began_at)
            await anyio.sleep(0.001)

    async with beside(feel):
        result = await act
    return 1000 * max(waits), result


def run(number: int) -> Run:
    at = NOON + timedelta(minutes=number)
    return Run("large", run_id("large", at), at, at, "0" * 32)


def ended(run: Run) -> Run:
    return replace(run, ended_at=NOON, outcome=Outcome.SUCCEEDED, listing=Listing.COMPLETE, listed=MANY)


def listing(letter: str) -> Page:
    campaigns = tuple(
        Campaign(f"{letter}-{n:06}", "Autumn", "active", 100.5, 10, 2, 1, NOON, f'{{"id":"{letter}-{n:06}"}}')
        for n in range(MANY)
    )
    return Page(1, campaigns, MANY, has_more=False)
