"""Tells when tenants are due, by APScheduler: its jobs do no work.

Work inside a job would be cancelled by the scheduler's shutdown, its failures would end in APScheduler's log, and its
trace would be a child of whatever re-armed the timer. So the executor only passes on each job's fire time.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import anyio
import structlog
from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from adsyncd.clock import Clock
from adsyncd.model.schedule import trigger
from adsyncd.model.tenant import Tenant

Emit = Callable[[str, datetime], None]

_log = structlog.stdlib.get_logger(__name__)

_LATE = timedelta(seconds=5)
_LOOK_S = 1.0  # between two looks at the wall clock
_JUMP_S = 1.0  # that the wall clock gains or loses between two looks


class Ticker:
    """Calls `emit(tenant id, fire time)` on the event loop at each fire time of each tenant, until it is stopped.

    If a stalled loop or a sleeping machine misses several fire times of a tenant, the latest of them is emitted.
    """

    def __init__(self, emit: Emit) -> None:
        self._jobs = MemoryJobStore()
        self._scheduler = AsyncIOScheduler(
            jobstores={"default": self._jobs},
            executors={"default": _Executor(emit)},
            job_defaults={"coalesce": True, "misfire_grace_time": None},
            timezone=UTC,
        )

    def add(self, tenant: Tenant) -> None:
        """Start to tick for a tenant."""
        self._scheduler.add_job(_nothing, trigger(tenant.schedule, tenant.id), id=tenant.id)

    def change(self, tenant: Tenant) -> None:
        """Tick by a tenant's new schedule."""
        with suppress(JobLookupError):  # it was stopped meanwhile
            self._scheduler.reschedule_job(tenant.id, trigger=trigger(tenant.schedule, tenant.id))

    def remove(self, tenant_id: str) -> None:
        """Stop ticking for a tenant."""
        with suppress(JobLookupError):  # it was stopped meanwhile
            self._scheduler.remove_job(tenant_id)

    def next_fire_time(self, tenant_id: str) -> datetime | None:
        """Return the next fire time of a tenant, or None if there is none."""
        job = self._scheduler.get_job(tenant_id)
        due: datetime | None = job and job.next_run_time
        return due and due.astimezone(UTC)

    def start(self) -> None:
        """Start to tick on the running event loop."""
        self._scheduler.start()

    async def keep_time(self, clock: Clock) -> None:
        """Follow the wall clock when it jumps, for example after a machine's sleep, until cancelled.

        The scheduler sleeps by the event loop's clock and does not notice. If the wall clock was put forward, ticks
        that have become due are emitted at once. If it was put back, next fire times are computed anew.
        """
        ahead_s = clock.now().timestamp() - clock.monotonic()
        while True:
            await anyio.sleep(_LOOK_S)
            now = clock.now()
            before_s, ahead_s = ahead_s, now.timestamp() - clock.monotonic()
            if abs(ahead_s - before_s) > _JUMP_S:
                _log.warning("the wall clock jumped", by_s=round(ahead_s - before_s, 1))
                self._schedule_anew(now)
            self.is_punctual(now)

    def is_punctual(self, now: datetime) -> bool:
        """Return whether no tick is late by some seconds; a late one is emitted at once."""
        due = self._jobs.get_next_run_time()
        punctual = due is None or now - due < _LATE
        if not punctual:
            self._scheduler.wakeup()
        return punctual

    def _schedule_anew(self, now: datetime) -> None:
        self._scheduler.pause()  # or each change would wake it up
        for job in self._scheduler.get_jobs():
            due = job.next_run_time
            if due is None or due > now:  # a job that is due is about to be emitted
                self._scheduler.reschedule_job(job.id, trigger=job.trigger)
        self._scheduler.resume()

    def stop(self) -> None:
        """Stop ticking."""
        self._scheduler.pause()  # at once: the shutdown waits for its turn on the loop, after ticks that are due
        self._scheduler.shutdown(wait=False)


class _Executor(BaseExecutor):  # type: ignore[misc]  # apscheduler ships no types
    def __init__(self, emit: Emit) -> None:
        super().__init__()
        self._emit = emit

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._emit(job.id, run_times[-1].astimezone(UTC))
        self._run_job_success(job.id, [])


def _nothing() -> None:
    """Stand in for a job's function, which the executor never calls."""
