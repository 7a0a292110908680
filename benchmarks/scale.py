"""What one large tenant costs the others: how long their writes wait while a tenant with 100,000 campaigns runs.

A store on an SQLite file. The small tenants are one task that writes again and again and measures each write. Beside it
the large tenant begins a run, keeps a listing of 100,000 campaigns as one page, is taken up with 100,000 pushes owed,
ends a run whose listing misses all of another 100,000, and ends it. The values are medians of the turns' longest waits.
"""

import gc
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
from benchmarks.config import store_url
from benchmarks.figures import Figure

Result = TypeVar("Result")

TURNS = 5
MANY = 100_000
MOST_MS = 20
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def measure() -> list[Figure]:
    """Measure each turn in a database of its own."""
    turns = [anyio.run(turn) for _ in range(TURNS)]
    return [
        Figure(
            f"longest wait of another tenant's write, {what}",
            round(median(one[what] for one in turns), 1),
            "ms",
            at_most=MOST_MS,
        )
        for what in turns[0]
    ]


async def turn() -> dict[str, float]:
    """Return the longest wait of a small write (ms) beside each step of the large tenant's runs."""
    with TemporaryDirectory() as folder:
        async with open_store(store_url(Path(folder)), clock=SystemClock(), tracer=NoOpTracer()) as store:
            first, second, third = (run(number) for number in range(3))
            all_of = {letter: listing(letter) for letter in "ab"}
            gc.freeze()  # the two listings are of the benchmark, not of a daemon
            waits = {"beside nothing": (await felt(store, anyio.sleep(1)))[0]}
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
