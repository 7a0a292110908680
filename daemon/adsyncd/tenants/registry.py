"""The tenants in service: each change of the drop-ins reaches supervisor, ticks and alerts through here alone.

A tenant that a difference does not name is not touched. The event loop has a turn after each tenant, so that a thousand
changes at once delay no run.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from adsyncd.alerts import AlertWatch
from adsyncd.clock import Clock
from adsyncd.model.run import Run, whole_ms
from adsyncd.model.schedule import missed, share, trigger
from adsyncd.model.status import Silence
from adsyncd.model.tenant import Tenant
from adsyncd.runs.success import got_through
from adsyncd.store import Store
from adsyncd.tenants.diff import Change, Diff
from adsyncd.tenants.supervisor import Supervisor


class Ticks(Protocol):
    """The schedules of tenants. See `adsyncd.tenants.ticks.Ticker`."""

    def add(self, tenant: Tenant) -> None:
        """Start to tick for a tenant."""

    def change(self, tenant: Tenant) -> None:
        """Tick by a tenant's new schedule."""

    def remove(self, tenant_id: str) -> None:
        """Stop ticking for a tenant."""


@dataclass(frozen=True, slots=True)
class _Memory:
    """What the store knows of a tenant. `due`: the fire time that the tenant has to catch up on."""

    due: datetime | None
    paused_since: datetime | None
    last_run: Run | None
    last_success: datetime | None
    dead_letters: int


class Registry:
    """The tenants in service, by id.

    `silent`: the tenants that send nothing for a while because the last difference changed their quotas.
    """

    def __init__(self, supervisor: Supervisor, ticks: Ticks, alerts: AlertWatch, store: Store, clock: Clock) -> None:
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
        """Apply a difference from `tenants`, and return how many of the added tenants are already due.

        Raises StoreError before anything has changed.
        """
        self.silent = []
        memories = await self._recall(difference.added) if difference.added else {}
        for tenant_id in difference.removed:
            self._remove(tenant_id)
            await anyio.lowlevel.checkpoint()
        for change in difference.changed:
            self._change(change)
            await anyio.lowlevel.checkpoint()
        for tenant in difference.added:
            self._add(tenant, memories[tenant.id])
            await anyio.lowlevel.checkpoint()
        due = {tenant_id: memory.due for tenant_id, memory in memories.items() if memory.due}
        self._due |= due
        self._more_due.set()
        return len(due)

    async def forget(self, tenant_id: str) -> None:
        """Forget the pause of a tenant that is gone for good. Raises StoreError."""
        await self._store.resume(tenant_id)

    async def catch_up(self, runs: TaskGroup) -> None:
        """Start the runs that are already due as tasks of `runs`, until cancelled; each begins when its turn comes."""
        while True:
            while self._due:
                tenant_id = next(iter(self._due))
                self._supervisor.tick(runs, tenant_id, self._due.pop(tenant_id))
                await anyio.lowlevel.checkpoint()
            self._more_due = anyio.Event()
            await self._more_due.wait()

    async def _recall(self, tenants: Collection[Tenant]) -> dict[str, _Memory]:
        """Return what the store knows of tenants, by id, in the order in which they catch up.

        Those whose runs were cut off come first.
        """
        now = whole_ms(self._clock.now())
        open_runs = {run.tenant: run.fire_time for run in await self._store.open_runs()}
        last_fires = await self._store.last_fire_times()
        pauses, last_runs = await self._store.pauses(), await self._store.last_runs()
        letters = await self._store.dead_letter_counts()
        successes = await self._successes(tenants, last_runs)
        memories = {}
        for tenant in sorted(tenants, key=lambda tenant: (tenant.id not in open_runs, share(tenant.id))):
            due = open_runs.get(tenant.id) or missed(
                trigger(tenant.schedule, tenant.id), last_fires.get(tenant.id), now
            )
            memories[tenant.id] = _Memory(
                due,
                pauses.get(tenant.id),
                last_runs.get(tenant.id),
                successes.get(tenant.id),
                letters.get(tenant.id, 0),
            )
            await anyio.lowlevel.checkpoint()
        return memories

    async def _successes(self, tenants: Collection[Tenant], last_runs: Mapping[str, Run]) -> dict[str, datetime]:
        """Return when the last run of each tenant ended that met its success rate; None if it is long ago."""
        alerts = {tenant.id: tenant.alerts for tenant in tenants}
        latest = {run.tenant: [run] for run in last_runs.values() if run.tenant in alerts}
        unwell = [tenant_id for tenant_id, [run] in latest.items() if not got_through(alerts[tenant_id], run)]
        latest |= await self._store.last_regular_runs(unwell) if unwell else {}
        found = {}
        for tenant_id, runs in latest.items():
            ends = [run.ended_at for run in runs if run.ended_at and got_through(alerts[tenant_id], run)]
            if ends:
                found[tenant_id] = ends[0]
        return found

    def _add(self, tenant: Tenant, memory: _Memory) -> None:
        self.tenants[tenant.id] = tenant
        self._supervisor.add(
            tenant,
            paused_since=memory.paused_since,
            last_run=memory.last_run,
            last_success=memory.last_success,
            dead_letters=memory.dead_letters,
        )
        self._alerts.add(tenant)
        self._ticks.add(tenant)

    def _change(self, change: Change) -> None:
        self.tenants[change.new.id] = change.new
        lasts_s = self._supervisor.worker(change.new.id).change(change)
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
