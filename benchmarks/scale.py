"""What ten thousand tenants cost, and what a tenant with 100,000 campaigns costs the others.

Ten thousand: the real daemon with an SQLite file, none of whose tenants is due, and the real commands. CPU times are
those of the daemon until it is ready, and of the command's process; memory is what the daemon has written to.

A hundred thousand: a store on an SQLite file. A tenant begins a run and keeps a listing of 100,000 campaigns as one
page, takes the run up with as many pushes owed, and ends it; begins the next one; and ends two runs whose listing
misses all these campaigns, the second of which marks them deleted. All of this is written piece by piece, and other
tenants wait for one piece at most: for as long as its transaction holds the writer. Each piece is the same in all
turns, and other load only makes it longer, so its shortest time counts; the values are those of the longest pieces.
"""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import anyio
from opentelemetry.trace import NoOpTracer
from sqlalchemy import Engine

from adsyncd.clock import SystemClock
from adsyncd.host.garbage import seldom_collecting
from adsyncd.model.campaign import Campaign, Page
from adsyncd.model.run import Listing, Outcome, Run, run_id
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, schema, sql
from adsyncd.store.reader import READERS
from adsyncd.store.store import store_in
from adsyncd.tasks import in_thread, own_threads
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
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def measure() -> list[Figure]:
    """Measure the daemon once, and each turn in a database of its own."""
    turns = [anyio.run(turn) for _ in range(TURNS)]
    longest = {step: max(map(min, zip(*(one[step] for one in turns), strict=True))) for step in turns[0]}
    return [
        *ten_thousand(),
        *(
            Figure(f"longest hold of the writer by a piece, {step}", round(1000 * held_s, 1), "ms", at_most=MOST_MS)
            for step, held_s in longest.items()
        ),
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


async def turn() -> dict[str, list[float]]:
    """Return, by step of a large tenant's runs, the seconds that each of its pieces held the writer."""
    with TemporaryDirectory() as folder, seldom_collecting(), own_threads("store writer") as writing:
        pieces: list[float] = []

        async def timed(call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:
            began_at = time.monotonic()
            try:
                return await writing(call, limiter)
            finally:
                pieces.append(time.monotonic() - began_at)

        steps: dict[str, list[float]] = {}

        def end(step: str) -> None:
            steps[step] = pieces.copy()
            pieces.clear()

        with migrated(store_url(Path(folder))) as engine:
            async with store_in(
                engine, clock=SystemClock(), tracer=NoOpTracer(), off_loop=in_thread, writing=timed
            ) as store:
                first, second, third = (run(number) for number in range(3))
                all_of = {letter: listing(letter) for letter in "ab"}
                await began(store, first, all_of["a"])
                end("keep")
                assert len((await store.begin(first)).owed) == MANY
                end("resume")
                await store.finish(ended(first))
                end("finish")
                assert (await store.begin(second)).live == MANY
                end("begin")
                await began(store, second, all_of["b"])
                pieces.clear()
                await store.finish(ended(second))
                end("finish, 100,000 missing")
                await began(store, third, all_of["b"])
                pieces.clear()
                await store.finish(ended(third))
                end("finish, 100,000 gone")
        return steps


@contextmanager
def migrated(url: str) -> Iterator[Engine]:
    """Yield the engine of a new database."""
    engine = sql.engine(url, connections=READERS + 1)
    try:
        with engine.execution_options(writes=True).begin() as connection:
            schema.upgrade(connection)
        yield engine
    finally:
        engine.dispose()


async def began(store: Store, run: Run, page: Page) -> None:
    await store.begin(run)
    await store.keep_page(run, page, PushPolicy.ALL)


def run(number: int) -> Run:
    at = NOON + timedelta(minutes=number)
    return Run("large", run_id("large", at), at, at, "0" * 32)


def ended(run: Run) -> Run:
    return replace(run, ended_at=NOON, outcome=Outcome.SUCCEEDED, listing=Listing.COMPLETE, listed=MANY)


def listing(letter: str) -> Page:
    campaigns = tuple(
        Campaign(f"{letter}-{n:06}", "Autumn", "active", 100.5, "EUR", 10, 2, 1, NOON, f'{{"id":"{letter}-{n:06}"}}')
        for n in range(MANY)
    )
    return Page(1, campaigns, MANY, has_more=False)
