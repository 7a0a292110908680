"""The free permits of each tenant in the last hour, sampled in memory: a byte for each sample."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from adsyncd.clock import Clock
from adsyncd.tasks import give_way
from adsyncd.tenants.worker import Worker

EVERY_S = 10.0
_SAMPLES = 360  # of an hour
_FULL = 255


@dataclass(frozen=True, slots=True)
class _Sample:
    """The free shares of tenants at an instant, in bytes. `tenants`: one object for all samples of the same tenants."""

    at: datetime
    tenants: tuple[str, ...]
    shares: bytes


class FreePermits:
    """Keeps samples of an hour. `sample` has to be called every `EVERY_S`."""

    def __init__(self, workers: Callable[[], Mapping[str, Worker]], clock: Clock) -> None:
        self._workers = workers
        self._clock = clock
        self._samples: deque[_Sample] = deque(maxlen=_SAMPLES)

    async def sample(self) -> None:
        """Take one sample of each tenant; the event loop has turns in between."""
        now, workers, shares = self._clock.now(), dict(self._workers()), bytearray()
        for number, worker in enumerate(workers.values()):
            free = worker.gate.free / max(1, worker.tenant.quota.requests)
            shares.append(round(_FULL * min(1.0, max(0.0, free))))
            await give_way(number)
        tenants = tuple(workers)
        if self._samples and self._samples[-1].tenants == tenants:
            tenants = self._samples[-1].tenants
        self._samples.append(_Sample(now, tenants, bytes(shares)))

    def of(self, tenant_id: str) -> list[tuple[datetime, float]]:
        """Return the share of a tenant's permits that was free at each sample, oldest first."""
        found, tenants, place = list[tuple[datetime, float]](), tuple[str, ...](), None
        for sample in self._samples:
            if sample.tenants is not tenants:
                tenants = sample.tenants
                place = tenants.index(tenant_id) if tenant_id in tenants else None
            if place is not None:
                found.append((sample.at, sample.shares[place] / _FULL))
        return found
