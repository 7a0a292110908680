"""The cost of idle tenants: the real daemon with 1, 100 and 1,000 of them, none of which is due.

Their drop-ins have a schedule far in the future, and the store holds one run of each. Time to ready is from the start
of the process to its log's `ready`. Memory is what the process has written to and shares with no other process. A
tenant that has run since the start costs more: it keeps credentials, a token, and permits that cool.
"""

import time
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from opentelemetry.trace import NoOpTracer

from adsyncd.clock import SystemClock
from adsyncd.model.run import Outcome, Run, run_id
from adsyncd.store import Store, open_store
from benchmarks.config import ENVIRON, FAR_AWAY, FROM_ENVIRON, HEALTHY, accounts, store_url, tenant_ids, write_config
from benchmarks.figures import Figure
from benchmarks.processes import cpu_s, own_kb, running_daemon, running_platform

IDLE = (1, 100, 1000)  # tenants
RUN = (1, 300)
SETTLE_S = 2.0
IDLE_S = 15.0
MOST_KB = 60


@dataclass(frozen=True, slots=True)
class Sample:
    tenants: int
    ready_s: float
    memory_kb: int
    cpu_percent: float


def measure() -> list[Figure]:
    """Measure a daemon with each number of tenants."""
    idle = [sample(count) for count in IDLE]
    run = [memory_after_runs_kb(count) for count in RUN]
    each_kb = (idle[-1].memory_kb - idle[0].memory_kb) / (IDLE[-1] - IDLE[0])
    each_run_kb = (run[-1] - run[0]) / (RUN[-1] - RUN[0])
    return [
        Figure("memory for each more tenant", round(each_kb, 1), "KB", at_most=MOST_KB),
        Figure("memory for each more tenant, after a run of each", round(each_run_kb, 1), "KB", at_most=MOST_KB),
        *(Figure(f"memory, {s.tenants:,} idle", round(s.memory_kb / 1000, 1), "MB") for s in idle),
        *(Figure(f"time to ready, {s.tenants:,} idle", round(s.ready_s, 2), "s") for s in idle),
        *(Figure(f"CPU while idle, {s.tenants:,} idle", round(s.cpu_percent, 2), "% of a core") for s in idle),
    ]


def sample(count: int) -> Sample:
    """Measure a daemon whose tenants are not due."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        config = write_config(
            folder, "http://platform.invalid", dict.fromkeys(tenant_ids(count), ""), defaults=FAR_AWAY + FROM_ENVIRON
        )
        anyio.run(bring_up_to_date, store_url(folder), tenant_ids(count))
        started = time.monotonic()
        with running_daemon(config) as (events, pid):
            ready = next(event for event in events if event["event"] == "ready")
            ready_s = time.monotonic() - started
            assert (ready["tenants"], ready["due"]) == (count, 0), ready
            time.sleep(SETTLE_S)  # until the work after a start, or after a run, is done
            busy_s = cpu_s(pid)
            time.sleep(IDLE_S)  # the CPU time is measured over this time
            busy_s = cpu_s(pid) - busy_s
            return Sample(count, ready_s, own_kb(pid), 100 * busy_s / IDLE_S)


def memory_after_runs_kb(count: int) -> int:
    """Measure a daemon whose tenants have each run, and so hold credentials, a token and used permits."""
    settings = {"accounts": accounts(tenant_ids(count)), "everyone": {**HEALTHY, "campaigns": 9}}
    with TemporaryDirectory() as folder, running_platform(settings) as (base_url, _):
        tenants = dict.fromkeys(tenant_ids(count), "")
        config = write_config(Path(folder), base_url, tenants, defaults=FAR_AWAY + FROM_ENVIRON)
        with running_daemon(config, ENVIRON) as (events, pid):
            ended = (event for event in events if event["event"] == "run ended")
            assert all(event["outcome"] == "succeeded" for event in islice(ended, count))
            time.sleep(SETTLE_S)  # until the work after a start, or after a run, is done
            return own_kb(pid)


async def bring_up_to_date(url: str, tenants: list[str]) -> None:
    """Record for each tenant a run that has just succeeded."""
    async with (
        open_store(url, clock=SystemClock(), tracer=NoOpTracer()) as store,
        anyio.create_task_group() as tasks,
    ):
        for tenant in tenants:
            tasks.start_soon(record_run, store, tenant, SystemClock().now())


async def record_run(store: Store, tenant: str, now: datetime) -> None:
    run = Run(tenant, run_id(tenant, now), now, now, trace_id="0" * 32)
    await store.begin(run)
    await store.finish(replace(run, ended_at=now, outcome=Outcome.SUCCEEDED))
