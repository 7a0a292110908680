"""What other processes do with the tenants: `adsyncd sync`, a replay, another daemon with the same store.

    each 2 s: leases that others hold, and the sum of all fences ──► who is at work elsewhere
                                                                 ──► lease given back, or a fence grew without us:
                                                                     read the tenant's last run, dead letters and pause

A fence grows with each change of hands, so the sum shows that some process was at work even if it has ended between two
looks. All fences are read only then.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from adsyncd.alerts import AlertWatch
from adsyncd.model.lease import Lease
from adsyncd.model.run import Run
from adsyncd.runs.lease import TTL_S, Leases, holder
from adsyncd.runs.success import got_through
from adsyncd.telemetry.instruments import DEAD_LETTERS, LAST_SUCCESS, Instruments
from adsyncd.telemetry.repetition import again_and_again
from adsyncd.tenants.worker import Worker

_log = structlog.stdlib.get_logger(__name__)

LOOK_S = 2.0
_LOOKS = round(TTL_S / LOOK_S)  # without a beat, until a holder counts as gone


class Records(Protocol):
    """What is on record of tenants. See `adsyncd.store.Store`."""

    async def leases_of_others(self, owner: str) -> tuple[Sequence[Lease], int]:
        """Return the leases that other owners hold, and the sum of all fences."""

    async def fences(self) -> Mapping[str, int]:
        """Return the fence of each tenant that ever had a lease."""

    async def last_runs_of(self, tenants: Collection[str]) -> Mapping[str, Run]:
        """Return, by tenant, the latest run that ended, of these tenants."""

    async def dead_letter_counts(self, tenants: Sequence[str]) -> Mapping[str, int]:
        """Return the number of dead letters by tenant."""

    async def pauses(self) -> Mapping[str, datetime]:
        """Return, by paused tenant, since when it is paused."""


@dataclass(slots=True)
class _Held:
    """A lease that another process holds, and how many looks ago its beat changed."""

    lease: Lease
    looks: int = 0


class Elsewhere:
    """Keeps the workers informed of what other processes do with their tenants."""

    def __init__(
        self,
        records: Records,
        leases: Leases,
        workers: Callable[[], Mapping[str, Worker]],
        watch: AlertWatch,
        instruments: Instruments,
    ) -> None:
        self._records = records
        self._leases = leases
        self._workers = workers
        self._watch = watch
        self._instruments = instruments
        self._fences = dict[str, int]()  # as they are if no other process was at work
        self._held = dict[str, _Held]()
        self._at_work = dict[str, str]()  # tenant -> who works on it
        self._stale = set[str]()  # tenants of which the records are to be read

    async def begin(self) -> None:
        """Note the present fences, before anything else is read of the tenants. Raises StoreError."""
        self._fences = dict(await self._records.fences())

    async def run(self) -> None:
        """Look again and again, until cancelled. While the database fails, what is known stays."""
        await again_and_again(self.look, LOOK_S, _log, "other processes can't be seen")

    async def look(self) -> None:
        """Look once. Raises StoreError; the next look makes up for it."""
        for tenant_id, takes in self._leases.count_takes().items():
            self._fences[tenant_id] = self._fences.get(tenant_id, 0) + takes
        held, total = await self._records.leases_of_others(self._leases.owner.id)
        self._note(held)
        if total != sum(self._fences.values()):
            fences = await self._records.fences()
            self._stale |= {name for name, fence in fences.items() if fence != self._fences.get(name, 0)}
            self._fences = dict(fences)
        if self._stale:
            await self._read()

    def _note(self, leases: Sequence[Lease]) -> None:
        """Tell the workers who is at work on their tenants. A holder without a beat for the time to live is not."""
        before, self._held = self._held, {}
        gone = {owner: self._leases.owner.is_gone(owner) for owner in {lease.owner for lease in leases}}
        at_work = dict[str, str]()
        for lease in leases:
            seen = before.get(lease.tenant)
            same = seen is not None and seen.lease == lease
            now = self._held[lease.tenant] = _Held(lease, seen.looks + 1 if seen and same else 0)
            if not gone[lease.owner] and now.looks < _LOOKS:
                at_work[lease.tenant] = holder(lease)
        self._stale |= self._at_work.keys() - at_work.keys()
        workers = self._workers()
        for tenant_id in self._at_work.keys() | at_work.keys():
            if worker := workers.get(tenant_id):
                worker.elsewhere = at_work.get(tenant_id)
        self._at_work = at_work

    async def _read(self) -> None:
        """Read anew what is on record of the tenants on which other processes have worked."""
        stale, workers = set(self._stale), self._workers()
        ids = sorted(stale & workers.keys())
        if ids:
            paused = {tenant_id: workers[tenant_id].paused_since for tenant_id in ids}
            runs = await self._records.last_runs_of(ids)
            letters = await self._records.dead_letter_counts(ids)
            pauses = await self._records.pauses()
            for tenant_id in ids:
                worker = self._workers().get(tenant_id)
                if worker is not None:
                    self._instruments.set(DEAD_LETTERS, letters.get(tenant_id, 0), tenant=tenant_id)
                    if worker.paused_since == paused[tenant_id]:  # else it was paused or resumed here meanwhile
                        worker.learn_pause(pauses.get(tenant_id))
                    if (run := runs.get(tenant_id)) is not None:
                        await self._learn(worker, run)
        self._stale -= stale

    async def _learn(self, worker: Worker, run: Run) -> None:
        """Note another process's run, and judge alerts by it. A run that got through shows that sign-ins work."""
        if not worker.learn(run):
            return
        well = got_through(worker.tenant.alerts, run)
        if well and run.ended_at:
            self._instruments.set(LAST_SUCCESS, run.ended_at.timestamp(), tenant=run.tenant)
        if worker.is_evidence(run):
            await self._watch.ended(run, None if well else worker.session.failure)
