"""The cost of a reload: a thousand drop-ins that all change, and ten thousand of which one changes.

The daemon's parts with an SQLite file. One tenant's run pushes campaigns all the time to a mock platform in a separate
process, which takes 50 ms for each. Every changed drop-in has another schedule, another quota and another key that
applies from the next run on. Periods with a reload and periods of the same length without one take turns. A delay is
the lateness of a task that sleeps for a millisecond again and again: a run would be held up for as long. The values are
medians of the turns. Other load delays the task, too, and only makes a turn worse, so the target is for the best turn.
"""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

import anyio

from adsyncd.config import load_settings
from adsyncd.daemon import open_parts
from adsyncd.host import event_loop
from adsyncd.model.run import Tally
from adsyncd.tasks import beside
from adsyncd.tenants.registry import Registry
from adsyncd.tenants.reload import Reloader
from adsyncd.tenants.ticks import Ticker
from benchmarks.config import ENVIRON, FAR_AWAY, FROM_ENVIRON, HEALTHY, accounts, tenant_ids, write_config
from benchmarks.figures import Figure
from benchmarks.processes import running_platform

Result = TypeVar("Result")

TURNS = 7
BUSY = "busy"
UNLIMITED = {"quota_requests": 1_000_000, "quota_window_s": 1}
PLATFORM = {
    "accounts": accounts([BUSY]),
    "everyone": {**HEALTHY, **UNLIMITED, "campaigns": 100_000, "push_latency_s": 0.05},
}
DROP_IN = 'schedule = {{ every = "{days}d" }}\nquota = {{ requests = {days}, per = "60s" }}\nsync.page_size = {days}\n'


@dataclass(frozen=True, slots=True)
class Turn:
    """A reload; the largest delays (s) and pushes (per s) of a period with it and of one without."""

    took_s: float
    delay_s: float
    quiet_delay_s: float
    pushes: float
    quiet_pushes: float


@dataclass(frozen=True, slots=True)
class Scene:
    folder: Path
    reloader: Reloader
    tally: Tally


def measure() -> list[Figure]:
    """Measure both."""
    with running_platform(PLATFORM) as (base_url, _):
        all_change = event_loop.run(turns, base_url, 1000, 1000)
        one_changes = event_loop.run(turns, base_url, 10_000, 1)
    return [
        Figure("time, 1,000 files that all changed", took(all_change), "s", at_most=2),
        *delays_ms("1,000 that all changed", all_change),
        *compared("1,000 that all changed", all_change),
        Figure("time, 10,000 files of which 1 changed", took(one_changes), "s", at_most=2),
        *delays_ms("10,000 of which 1 changed", one_changes),
        *compared("10,000 of which 1 changed", one_changes),
    ]


def took(seen: list[Turn]) -> float:
    return round(median(turn.took_s for turn in seen), 2)


def delays_ms(what: str, seen: list[Turn]) -> list[Figure]:
    delays = [1000 * turn.delay_s for turn in seen]
    return [
        Figure(f"largest delay, {what}", round(median(delays), 1), "ms"),
        Figure(f"largest delay of the best turn, {what}", round(min(delays), 1), "ms", at_most=50),
    ]


def compared(what: str, seen: list[Turn]) -> list[Figure]:
    delay = median(turn.delay_s / turn.quiet_delay_s for turn in seen)
    pushes = median(turn.pushes / turn.quiet_pushes for turn in seen)
    return [
        Figure(f"largest delay, ratio to none, {what}", round(delay, 2)),
        Figure(f"pushes a second, ratio to none, {what}", round(pushes, 2)),
    ]


async def turns(base_url: str, files: int, changed: int) -> list[Turn]:
    """Measure reloads in which `changed` of `files` drop-ins change."""
    seen: list[Turn] = []
    async with scene(base_url, files) as at_work:
        for number in range(2, 2 + TURNS):
            quiet, quiet_pushes, _ = await felt(at_work, partial(anyio.sleep, 1))
            for tenant_id in tenant_ids(changed):
                drop_in = DROP_IN.format(days=number)
                (at_work.folder / "tenants.d" / f"{tenant_id}.toml").write_text(f'client_id = "{tenant_id}"\n{drop_in}')
            delay_s, pushes, report = await felt(at_work, at_work.reloader.reload)
            assert len(report.changed) == changed, report
            seen.append(Turn(report.took_s, delay_s, quiet, pushes, quiet_pushes))
    return seen


async def felt(at_work: Scene, act: Callable[[], Awaitable[Result]]) -> tuple[float, float, Result]:
    """Return the largest delay during `act`, the pushes per second, and the result of `act`."""
    delays = [0.0]

    async def feel() -> None:
        while True:
            asked_at = time.monotonic()
            await anyio.sleep(0.001)
            delays.append(time.monotonic() - asked_at - 0.001)

    began, pushed = time.monotonic(), at_work.tally.pushed
    async with beside(feel):
        result = await act()
    return max(delays), (at_work.tally.pushed - pushed) / (time.monotonic() - began), result


@asynccontextmanager
async def scene(base_url: str, files: int) -> AsyncIterator[Scene]:
    """Serve idle tenants, and one that has started to push. No tenant catches up on missed runs."""
    os.environ.update(ENVIRON)
    with TemporaryDirectory() as name:
        folder = Path(name)
        special = {BUSY: 'quota = { requests = 1000000, per = "1s" }\nsync.run_deadline = "1h"\n'}
        tenants = dict.fromkeys(tenant_ids(files), "") | special
        config = write_config(folder, base_url, tenants, defaults=FAR_AWAY + FROM_ENVIRON)
        settings = load_settings(config, os.environ)
        async with open_parts(settings, os.environ, "error") as parts, anyio.create_task_group() as tasks:
            ticker, tally = Ticker(lambda _id, _fire_time: None), Tally()
            registry = Registry(parts.supervisor, ticker, parts.alerts, parts.store, parts.clock)
            load = partial(load_settings, config, os.environ)
            reloader = Reloader(settings, load, registry, parts.clock, parts.instruments)
            assert len((await reloader.reload()).added) == files + 1
            ticker.start()
            tasks.start_soon(parts.supervisor.worker(BUSY).sync, parts.clock.now(), tally)
            while tally.pushed < 100:  # noqa: ASYNC110 - nobody says so
                await anyio.sleep(0.1)
            yield Scene(folder, reloader, tally)
            ticker.stop()
            tasks.cancel_scope.cancel()
