"""What pages and lists ask about all tenants, answered from memory: they may ask each second.

store ──► last day (each half minute) ─┐
workers, plans ──► loads ──────────────┼──► who needs attention, quotas, history
workers' permits (each ten seconds) ───┤
workers' states and verdicts ──────────┘    (looked at once a second at most, and for 0.5 % of the time)
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import anyio
import anyio.lowlevel
import structlog

from adsyncd.clock import Clock
from adsyncd.control.census import Census, census
from adsyncd.control.commands import Commands
from adsyncd.control.free_permits import EVERY_S, FreePermits
from adsyncd.control.last_day import LastDay
from adsyncd.control.loads import Loads, in_words, schedule_of
from adsyncd.control.overview import Bucket, Cause, QuotaRow, QuotasPage, Reason, TenantRow, TenantsPage
from adsyncd.control.paging import Listed, key_of, position
from adsyncd.control.reasons import Failures, Reasons
from adsyncd.control.statuses import Member
from adsyncd.model.alert import Alert
from adsyncd.model.half_hour import HalfHour, half_hour_of, start_of
from adsyncd.model.selection import EVERYTHING, Selection
from adsyncd.model.status import DaemonStatus, TenantStatus
from adsyncd.tasks import OffLoop, beside, in_thread
from adsyncd.telemetry.repetition import again_and_again
from adsyncd.tenants.supervisor import Supervisor

_log = structlog.stdlib.get_logger(__name__)

_FAILING = "overview not refreshed"
_REFRESH_S = 30.0
_GLANCE_S = 1.0  # a look at all tenants is used for so long at least
_GLANCE_LENGTHS = 200  # and for so many times as long as it took
_DAY = 48  # half hours, after which all are read anew


class Records(Failures, Protocol):
    """The part of `adsyncd.store.Store` that the overview uses."""

    async def half_hour(self, start: datetime) -> list[HalfHour]:
        """Return what each tenant's runs did in half an hour."""


class Alerts(Protocol):
    """The part of `adsyncd.alerts.AlertWatch` that the overview uses."""

    @property
    def firing(self) -> Sequence[Alert]:
        """The alerts that fire."""


class Overview:
    """Looks at all tenants. `run` has to run beside it; until then, and while the database fails, it knows less."""

    def __init__(
        self,
        supervisor: Supervisor,
        commands: Commands,
        store: Records,
        alerts: Alerts,
        clock: Clock,
        off_loop: OffLoop = in_thread,
    ) -> None:
        self._supervisor = supervisor
        self._commands = commands
        self._statuses = commands.statuses
        self._store = store
        self._alerts = alerts
        self._clock = clock
        self._off_loop = off_loop
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self._day = LastDay()
        self._read_on: int | None = None  # the number of the day on which all half hours were read
        self._loads = Loads(lambda: supervisor.workers, clock, off_loop)
        self._reasons = Reasons(store, clock)
        self._free = FreePermits(lambda: supervisor.workers, clock)
        self._glance: tuple[float, Census] | None = None  # with the time until which it is used
        self._told = 0  # commands

    async def run(self) -> None:
        """Keep the last day, the last hour and the loads up to date until cancelled."""
        async with beside(again_and_again, self._free.sample, EVERY_S, _log, _FAILING):
            await again_and_again(self.refresh, _REFRESH_S, _log, _FAILING)

    async def refresh(self) -> None:
        """Read what may have changed, and compute the loads anew. Raises StoreError."""
        now = self._clock.now()
        try:
            await self._read(now)
        finally:
            await self._loads.refresh(lambda tenant_id: self._day.requests(tenant_id, now))

    async def tenants(self, selection: Selection, *, worst: bool, limit: int, after: str | None) -> TenantsPage:
        """Return a page of tenants. Raises CommandRefused if no page begins after `after`."""
        now, everyone = self._clock.now(), await self._census()
        total, page = everyone.page(selection, worst=worst, limit=limit, after=after)
        rows = [self._row(status, now) for status in await self._statuses.of(page.items)]
        return TenantsPage(rows, total, everyone.counts, page.next)

    async def listed(self, selection: Selection, *, worst: bool, limit: int, after: str | None) -> Listed[TenantStatus]:
        """Return the statuses of the same page."""
        total, page = (await self._census()).page(selection, worst=worst, limit=limit, after=after)
        return Listed(await self._statuses.of(page.items), page.next, total=total)

    async def tenant(self, tenant_id: str) -> TenantRow:
        """Return a tenant's row, with all that is known of its trouble. Raises NoSuchTenant."""
        return self._row(await self._commands.tenant(tenant_id), self._clock.now())

    async def daemon(self) -> DaemonStatus:
        """Return the daemon's status, with the tenants of the last look at them."""
        everyone = await self._census()
        return self._commands.status(everyone.states, everyone.counts)

    async def names(self, selection: Selection, limit: int, after: str | None) -> Listed[str]:
        """Return a page of the ids of the tenants that are selected, sorted. Raises CommandRefused."""
        return (await self._census()).page(selection, worst=False, limit=limit, after=after)[1]

    def free_permits(self, tenant_id: str) -> list[tuple[datetime, float]]:
        """Return the share of a tenant's permits that was free at instants of the last hour, oldest first."""
        return self._free.of(tenant_id)

    def causes(self) -> list[Cause]:
        """Return the tenants with a verdict by trouble and reason, the worst first; as the last look showed them."""
        return list(self._glance[1].causes) if self._glance else []

    async def current_causes(self) -> list[Cause]:
        """Return the causes of all tenants, after a look if the last one is too old."""
        return await self.causes_of(EVERYTHING)

    async def causes_of(self, selection: Selection) -> list[Cause]:
        """Return the causes of the selected tenants, after a look if the last one is too old."""
        return (await self._census()).causes_of(selection)

    async def reasons(self) -> list[Reason]:
        """Return what failed, by reason across tenants; some seconds old. Raises StoreError."""
        return await self._reasons.of(self._supervisor.workers)

    def history(self, since: datetime, bucket: timedelta) -> list[Bucket]:
        """Return the sums of all tenants' runs from `since` on, for 24 h at most, by `bucket`; oldest first."""
        return self._day.history(since, bucket, self._clock.now())

    def alerts(self, limit: int, after: str | None) -> Listed[Alert]:
        """Return a page of the alerts that fire, by tenant and name."""
        key = key_of(after, str, str) if after else ()
        found = sorted(alert for alert in ((*one.key, one) for one in self._alerts.firing) if alert[:2] > key)
        page = [alert for _, _, alert in found[:limit]]
        return Listed(page, position(*page[-1].key) if len(found) > limit else None)

    async def quotas(self, limit: int, after: str | None) -> QuotasPage:
        """Return platforms, and a page of the tenants, the one nearest to its limit first. Raises CommandRefused."""
        ranked, start = self._loads.ranked, 0
        if after:
            share, platform, client_id, tenant_id = key_of(after, int, str, str, str)
            start = bisect_right(ranked, (int(share), str(platform), str(client_id), str(tenant_id)))
        page = ranked[start : start + limit]
        rows = list[QuotaRow]()
        for rank in page:
            rows += self._quota(rank[-1])
            await anyio.lowlevel.checkpoint()
        following = position(*page[-1]) if start + limit < len(ranked) else None
        platforms = self._loads.platforms(self._supervisor.open_breakers)
        return QuotasPage(platforms, rows, len(ranked), self._loads.over, self._loads.close, following)

    async def _read(self, now: datetime) -> None:
        today = half_hour_of(now) // _DAY
        day = self._day if self._read_on in {None, today} else LastDay()  # once a day anew: forgets removed tenants
        for number in day.wanted(now):
            found = await self._store.half_hour(start_of(number))
            await self._off_loop(partial(day.put, number, found), limiter=self._one_at_a_time)
        self._day, self._read_on = day, today

    async def look(self) -> Census:
        """Return all tenants as they are now."""
        began, told = self._clock.monotonic(), self._told
        seen = census(await self._statuses.glance(), self._is_near)
        now = self._clock.monotonic()
        holds_s = max(_GLANCE_S, _GLANCE_LENGTHS * (now - began)) if told == self._told else 0.0
        self._glance = now + holds_s, seen
        return seen

    def look_again(self) -> None:
        """Have the next question look at all tenants, since a command has changed them, also during a look."""
        self._told += 1
        if self._glance is not None:
            self._glance = self._clock.monotonic(), self._glance[1]

    async def _census(self) -> Census:
        if self._glance is None or self._clock.monotonic() >= self._glance[0]:
            return await self.look()
        return self._glance[1]

    def _is_near(self, member: Member) -> bool:
        return self._loads.is_near(member.id)

    def _row(self, status: TenantStatus, now: datetime) -> TenantRow:
        worker = self._supervisor.workers.get(status.id)
        load = self._loads.of(worker.tenant) if worker else None
        return TenantRow(status, status.verdict, self._day.marks(status.id, now), load)

    def _quota(self, tenant_id: str) -> Iterator[QuotaRow]:
        """Yield a tenant's row, if it is still in service."""
        worker = self._supervisor.workers.get(tenant_id)
        if worker is None or (load := self._loads.of(worker.tenant)) is None:
            return
        tenant = worker.tenant
        waited_s, refused = self._day.sums(tenant_id)
        yield QuotaRow(
            tenant_id,
            tenant.platform.name,
            tenant.client_id,
            load,
            in_words(tenant.quota),
            worker.gate.free,
            waited_s,
            refused,
            schedule_of(tenant),
            self._loads.fixes(tenant),
        )
