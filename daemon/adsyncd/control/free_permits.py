"""The free permits of each tenant in the last hour, sampled in memory: a byte for each sample."""

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime

import anyio
import anyio.lowlevel

from adsyncd.clock import Clock
from adsyncd.tenants.worker import Worker

_EVERY_S = 10.0
_SAMPLES = 360  # of an hour
_FULL = 254  # of a byte, whose 0 stands for no sample
_TURN = 200  # tenants that are looked at in one turn of the event loop: about a millisecond
_SPARE = 1000  # places of removed tenants


class FreePermits:
    """Looks at the permits of all tenants every ten seconds. `run` has to run beside it."""

    def __init__(self, workers: Callable[[], Mapping[str, Worker]], clock: Clock) -> None:
        self._workers = workers
        self._clock = clock
        self._places: dict[str, int] = {}
        self._samples: deque[tuple[datetime, bytearray]] = deque(maxlen=_SAMPLES)

    async def run(self) -> None:
        """Take samples until cancelled."""
        while True:
            await self.sample()
            await anyio.sleep(_EVERY_S)

    async def sample(self) -> None:
        """Take one sample of each tenant; the event loop has turns in between."""
        workers = self._workers()
        if len(self._places) > 2 * len(workers) + _SPARE:  # most of them were removed
            self._places.clear()
            self._samples.clear()
        now, column = self._clock.now(), bytearray(len(self._places))
        for number, (tenant_id, worker) in enumerate(list(workers.items())):
            place = self._places.setdefault(tenant_id, len(self._places))
            if place >= len(column):
                column.append(0)
            column[place] = 1 + round(_FULL * min(1.0, max(0, worker.gate.free) / max(1, worker.tenant.quota.requests)))
            if number % _TURN == _TURN - 1:
                await anyio.lowlevel.checkpoint()
        self._samples.append((now, column))

    def of(self, tenant_id: str) -> list[tuple[datetime, float]]:
        """Return the share of a tenant's permits that was free at each sample, oldest first."""
        place = self._places.get(tenant_id)
        if place is None:
            return []
        known = [(at, column[place]) for at, column in self._samples if place < len(column) and column[place]]
        return [(at, (value - 1) / _FULL) for at, value in known]
