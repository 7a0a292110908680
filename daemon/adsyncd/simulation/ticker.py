"""Ticks by the virtual clock, in place of `adsyncd.tenants.ticks`, whose scheduler reads the machine's clock."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from heapq import heappop, heappush

import anyio

from adsyncd.clock import Clock
from adsyncd.model.schedule import next_fire, trigger
from adsyncd.model.tenant import Tenant


class VirtualTicker:
    """Calls `emit(tenant id, fire time)` at each fire time of each tenant while it runs.

    As with APScheduler: it reads the wall clock when it wakes up, missed fire times become one tick for the latest of
    them, and no fire time comes twice if the clock is set back.
    """

    def __init__(self, clock: Clock, emit: Callable[[str, datetime], None]) -> None:
        self._clock = clock
        self._emit = emit
        self._following: dict[str, Callable[[datetime], datetime | None]] = {}
        self._due: dict[str, datetime] = {}
        self._line: list[tuple[datetime, str]] = []  # due fire times, and outdated ones from before a change
        self._changed = anyio.Event()

    def add(self, tenant: Tenant) -> None:
        """Tick for a tenant from now on."""
        following = self._following[tenant.id] = partial(next_fire, trigger(tenant.schedule, tenant.id))
        self._expect(tenant.id, following(self._clock.now()))

    def change(self, tenant: Tenant) -> None:
        """Use a tenant's new schedule from now on."""
        self.add(tenant)

    def remove(self, tenant_id: str) -> None:
        """Stop ticking for a tenant."""
        del self._following[tenant_id]
        self._due.pop(tenant_id, None)

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            wait_s = (self._line[0][0] - self._clock.now()).total_seconds() if self._line else None
            if wait_s is None or wait_s > 0:
                self._changed = anyio.Event()
                with anyio.move_on_after(wait_s):
                    await self._changed.wait()
                continue
            due, tenant_id = heappop(self._line)
            if self._due.get(tenant_id) == due:
                following: datetime | None = due
                while following and following <= self._clock.now():
                    due, following = following, self._following[tenant_id](following)
                self._expect(tenant_id, following)
                self._emit(tenant_id, due)

    def _expect(self, tenant_id: str, due: datetime | None) -> None:
        if due is None:  # a date that never comes, such as 30 February
            self._due.pop(tenant_id, None)
        else:
            self._due[tenant_id] = due
            heappush(self._line, (due, tenant_id))
        self._changed.set()
