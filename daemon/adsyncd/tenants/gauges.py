"""The metrics of tenants that no run records: counters that begin at 0, and gauges that are read at each export.

`increase()` of PromQL needs a value before the first event, so each counter whose attributes are known begins with its
tenant.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from adsyncd.duration import LONGEST, format_duration
from adsyncd.model.run import Outcome
from adsyncd.model.schedule import intervals
from adsyncd.model.tenant import PushPolicy, Schedule, Tenant
from adsyncd.rate.limiter import Usage
from adsyncd.rate.wait import WaitReason
from adsyncd.telemetry.instruments import (
    DEAD_LETTERS,
    DEAD_LETTERS_OLDEST,
    FAILED,
    LISTED,
    PLATFORM,
    PUSHED,
    QUOTA_LIMIT,
    QUOTA_PERMITS,
    QUOTA_USED,
    QUOTA_WAIT,
    REQUESTS,
    RETRIES,
    RUNS,
    RUNS_OVERLAPPED,
    RUNS_PAUSED,
    SAVED,
    SCHEDULE_INTERVAL,
    STORED,
    TENANT,
    TOKEN_EXPIRES_IN,
    WAITS,
    WINDOW,
    Instruments,
)
from adsyncd.telemetry.repetition import Repetition, again_and_again
from adsyncd.telemetry.series import Reading

_log = structlog.stdlib.get_logger(__name__)

_LETTERS_S = 30.0  # between two looks at all dead letters
_PLAIN = (LISTED, FAILED, RETRIES, SAVED, QUOTA_WAIT, RUNS_OVERLAPPED, RUNS_PAUSED)
_STATUSES = ("200", "429", "503", "none")  # each platform answers so now and then; others begin with their first answer


class Gate(Protocol):
    """The permits of a client id. See `adsyncd.rate.gate.Gate`."""

    def usage(self) -> list[Usage]:
        """Return how much of each window is used."""


class Session(Protocol):
    """The sign-in of a tenant. See `adsyncd.platforms.session.Session`."""

    def expires_in(self) -> float | None:
        """Return the seconds until the token expires, if that is known."""


class Measured(Protocol):
    """A tenant in service. See `adsyncd.tenants.worker.Worker`."""

    @property
    def tenant(self) -> Tenant:
        """Its settings."""

    @property
    def gate(self) -> Gate:
        """Its permits."""

    @property
    def session(self) -> Session:
        """Its sign-in."""


class Letters(Protocol):
    """The part of `adsyncd.store.Store` that knows the dead letters."""

    async def oldest_dead_letters(self) -> dict[str, tuple[int, datetime]]:
        """Return, by tenant, the number of its dead letters and since when the oldest of them is one."""


def begin(instruments: Instruments, tenant: Tenant) -> None:
    """Begin the counters of a tenant at 0, as far as their attributes are known."""
    pushes = tenant.sync.push is not PushPolicy.NONE
    for metric in (*_PLAIN, PUSHED if pushes else STORED):
        instruments.add(metric, 0, tenant=tenant.id)
    for outcome in Outcome:
        instruments.add(RUNS, 0, tenant=tenant.id, outcome=outcome.value)
    for status in _STATUSES:
        instruments.add(REQUESTS, 0, tenant=tenant.id, status=status)
    for reason in WaitReason:
        if reason is not WaitReason.PLATFORM_QUOTA or tenant.platform.quota:
            instruments.add(WAITS, 0, tenant=tenant.id, reason=reason.value)


async def keep_letters(store: Letters, instruments: Instruments, tenants: Callable[[], Collection[str]]) -> None:
    """Read the dead letters of all tenants again and again, until cancelled: an operator closes some at any time."""
    aged = set[str]()

    async def measure() -> None:
        nonlocal aged
        letters = await store.oldest_dead_letters()
        for tenant in aged - letters.keys():
            instruments.end(DEAD_LETTERS_OLDEST, tenant=tenant)
        aged = letters.keys() & set(tenants())
        for tenant in tenants():
            count, oldest = letters.get(tenant, (0, None))
            instruments.set(DEAD_LETTERS, count, tenant=tenant)
            if oldest is not None:
                instruments.set(DEAD_LETTERS_OLDEST, oldest.timestamp(), tenant=tenant)

    if not instruments.is_idle:
        await again_and_again(measure, _LETTERS_S, _log, "dead letters can't be measured")


class Gauges:
    """Reads the gauges of all tenants. `workers` and `platforms` return what is in service now, by id and by name."""

    def __init__(
        self,
        workers: Callable[[], Mapping[str, Measured]],
        platforms: Callable[[], Mapping[str, list[Usage]]],
        since: datetime,
        now_s: Callable[[], float],
    ) -> None:
        self._workers = workers
        self._platforms = platforms
        self._since = since
        self._now_s = now_s
        self._said = Repetition()
        self._intervals: dict[Schedule, timedelta] = {}  # a crontab's takes some milliseconds

    def read(self) -> Iterator[Reading]:
        """Return all values. A tenant that can't be measured is left out, and does not hide the others."""
        known, self._intervals = self._intervals, {}
        for tenant_id, worker in self._workers().items():
            try:
                values = list(self._of(worker, known))
            except Exception as error:  # noqa: BLE001 - one tenant's trouble never reaches another
                log = _log.error if self._said.is_news(tenant_id, repr(error), self._now_s()) else _log.debug
                log("tenant can't be measured", tenant=tenant_id, exc_info=True)
                continue
            yield from values
        for platform, usage in self._platforms().items():
            yield from _windows({PLATFORM: platform}, usage)

    def _of(self, worker: Measured, known: Mapping[Schedule, timedelta]) -> Iterator[Reading]:
        tenant, usage = worker.tenant, worker.gate.usage()
        of = {TENANT: tenant.id}
        yield QUOTA_PERMITS.name, min(window.requests - window.used for window in usage), of
        yield from _windows(of, usage)
        if (expires_in := worker.session.expires_in()) is not None:
            yield TOKEN_EXPIRES_IN.name, expires_in, of
        interval = self._intervals.get(tenant.schedule) or known.get(tenant.schedule)
        if interval is None:
            interval = intervals(tenant.schedule, self._since)[1]
        self._intervals[tenant.schedule] = interval
        if interval < LONGEST:  # else its crontab fires once or never
            yield SCHEDULE_INTERVAL.name, interval.total_seconds(), of


def _windows(of: Mapping[str, str], usage: list[Usage]) -> Iterator[Reading]:
    for window in usage:
        attributes = {**of, WINDOW: format_duration(timedelta(milliseconds=window.length_ms))}
        yield QUOTA_LIMIT.name, window.requests, attributes
        yield QUOTA_USED.name, window.used, attributes
