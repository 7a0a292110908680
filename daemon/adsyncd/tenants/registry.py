"""Who is served now: what changes in the drop-ins reaches supervisor, ticks and alerts through here alone.

Whoever is not named in a difference is not touched. The loop has its turn after each tenant, so that a thousand that
change at once delay no run.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Protocol

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from adsyncd.alerts import Watch
from adsyncd.clock import Clock
from adsyncd.model.run import whole_ms
from adsyncd.model.schedule import missed, share, trigger
from adsyncd.model.status import Silence
from adsyncd.model.tenant import Tenant
from adsyncd.store import Store
from adsyncd.tenants.diff import Change, Diff
from adsyncd.tenants.supervisor import Supervisor

_CATCH_UP_GAP_S = 0.05  # between runs that are due already, so that they don't sign in all at once


class Ticks(Protocol):
    """Who says when tenants are due. See `adsyncd.tenants.ticks.Ticker`."""

    def add(self, tenant: Tenant) -> None:
        """Tick for a tenant from now on."""

    def change(self, tenant: Tenant) -> None:
        """Tick by a tenant's new schedule."""

    def remove(self, tenant_id: str) -> None:
        """Tick for a tenant no more."""


class Registry:
    """The tenants that are served, by id.

    `silent`: those whose quotas the last difference changed, and who send nothing for a while because of that.
    """

    def __init__(self, supervisor: Supervisor, ticks: Ticks, alerts: Watch, store: Store, clock: Clock) -> None:
        self._supervisor = supervisor
        self._ticks = ticks
        self._alerts = alerts
        self._store = store
        self._clock = clock
        self._due: dict[str, datetime] = {}
        self._more_due = anyio.Event()
        self.tenants: dict[str, Tenant] = {}
        self.silent: list[Silence] = []

    async def apply(self, difference: Diff) -> int:
        """Make a difference from `tenants` true, and return how many of those who are added are due already.

        Raises StoreError, before anything has changed.
        """
        self.silent = []
        due, letters = await self._look_back(difference.added) if difference.added else ({}, {})
        for tenant_id in difference.removed:
            self._remove(tenant_id)
            await anyio.lowlevel.checkpoint()
        for change in difference.changed:
            self._change(change)
            await anyio.lowlevel.checkpoint()
        for tenant in difference.added:
            self._add(tenant, letters.get(tenant.id, 0))
            await anyio.lowlevel.checkpoint()
        self._due |= due
        self._more_due.set()
        return len(due)

    async def catch_up(self, runs: TaskGroup) -> None:
        """Begin the runs that are due already as tasks of `runs`, one soon after the other, until cancelled."""
        while True:
            while self._due:
                tenant_id = next(iter(self._due))
                self._supervisor.tick(runs, tenant_id, self._due.pop(tenant_id))
                await anyio.sleep(_CATCH_UP_GAP_S)
            self._more_due = anyio.Event()
            await self._more_due.wait()

    async def _look_back(self, tenants: Collection[Tenant]) -> tuple[dict[str, datetime], dict[str, int]]:
        """Return for which fire times tenants are due already, in the order to begin in, and their dead letters."""
        now = whole_ms(self._clock.now())
        open_runs = {run.tenant: run.fire_time for run in await self._store.open_runs()}
        last_fires = await self._store.last_fire_times()
        due = {}
        for tenant in sorted(tenants, key=lambda tenant: share(tenant.id)):
            last_fire = last_fires.get(tenant.id)
            since = open_runs.get(tenant.id) or missed(trigger(tenant.schedule, tenant.id), last_fire, now)
            if since is not None:
                due[tenant.id] = since
            await anyio.lowlevel.checkpoint()
        return due, await self._store.dead_letter_counts()

    def _add(self, tenant: Tenant, dead_letters: int) -> None:
        self.tenants[tenant.id] = tenant
        self._supervisor.add(tenant, dead_letters)
        self._alerts.add(tenant)
        self._ticks.add(tenant)

    def _change(self, change: Change) -> None:
        self.tenants[change.new.id] = change.new
        lasts_s = self._supervisor.change(change)
        if lasts_s is not None and lasts_s >= 1:
            self.silent.append(Silence(change.new.id, self._clock.now() + timedelta(seconds=lasts_s), lasts_s))
        self._alerts.change(change.new)
        if change.reschedules:
            self._ticks.change(change.new)

    def _remove(self, tenant_id: str) -> None:
        del self.tenants[tenant_id]
        self._due.pop(tenant_id, None)
        self._ticks.remove(tenant_id)
        self._alerts.remove(tenant_id)
        self._supervisor.remove(tenant_id)
