"""One process at a time works on a tenant: leases, visible to all processes that share the store.

A process holds a tenant's lease while a run or a replay is in progress, and renews its `beat` meanwhile. Another
process takes the lease over if the holder is known to have ended, or the beat has not changed for the time to live:

    free, or mine ──take──► held ──give back──► free
                             │ ▲
                             └─┘ taken over: from exactly the holder, the fence and the beat that were seen

A stalled holder learns from its fencing token (`fence`) that it was replaced: the store refuses its writes.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import anyio

from adsyncd.errors import LeaseHeld, StoreError
from adsyncd.model.lease import Lease

TTL_S = 30.0
_LOOKS = 30  # in the time to live: looks are counted, since time in which the watcher itself stalled is no evidence
_BEATS = 6  # in the time to live


class LeaseOwner(Protocol):
    """This process, as others see it. See `adsyncd.host.owner.ProcessOwner`."""

    @property
    def id(self) -> str:
        """The name under which it takes leases."""

    def is_gone(self, other: str) -> bool:
        """Return whether another owner's process is known to have ended."""


class LeaseLedger(Protocol):
    """The record of all leases. See `adsyncd.store.Store`."""

    async def take_lease(self, tenant: str, owner: str, over: Lease | None = None) -> Lease:
        """Give a lease to `owner` if it is free, its own or exactly `over`; return the lease on record."""

    async def give_lease(self, lease: Lease) -> None:
        """Make a lease free, unless it was taken over."""

    async def beat_leases(self, leases: Sequence[Lease]) -> None:
        """Renew the beat of those of these leases that were not taken over."""


@dataclass(slots=True)
class _Hold:
    """The one lease that everything in progress for a tenant shares; `users` counts that."""

    users: int = 0
    lease: Lease | None = None
    taking: anyio.Lock = field(default_factory=partial(anyio.Lock, fast_acquire=True))


class Leases:
    """The leases of this process. Another process may take one over `ttl_s` seconds after its last beat."""

    def __init__(self, ledger: LeaseLedger, owner: LeaseOwner, ttl_s: float = TTL_S) -> None:
        self.owner = owner
        self._ledger = ledger
        self._ttl_s = ttl_s
        self._holds: dict[str, _Hold] = {}
        self._takes = Counter[str]()

    @asynccontextmanager
    async def hold(self, tenant: str, pause: Callable[[float], Awaitable[None]] = anyio.sleep) -> AsyncIterator[Lease]:
        """Hold a tenant's lease during the body; all bodies in this process share it.

        A lease that another process holds is watched for up to the time to live; `pause` waits between two looks, and
        its errors are passed on. Raises LeaseHeld as soon as the beat changes, and StoreError.

        A cancelled body lets the lease expire: its process is about to end, or takes the lease again.
        """
        hold = self._holds.setdefault(tenant, _Hold())
        hold.users += 1
        try:
            async with hold.taking:
                lease = hold.lease = hold.lease or await self._take(tenant, pause)
            yield lease
        finally:
            hold.users -= 1
            if not hold.users:
                del self._holds[tenant]
                await anyio.lowlevel.checkpoint_if_cancelled()
                if hold.lease:
                    with suppress(StoreError):  # then it expires
                        await self._ledger.give_lease(hold.lease)

    def count_takes(self) -> Mapping[str, int]:
        """Return how often this process has taken leases since the last call, by tenant: their fences grew by that."""
        takes, self._takes = self._takes, Counter()
        return takes

    async def run(self) -> None:
        """Renew the beats of all held leases, until cancelled."""
        while True:
            await anyio.sleep(self._ttl_s / _BEATS)
            if held := [hold.lease for hold in self._holds.values() if hold.lease]:
                with suppress(StoreError):  # the runs report it
                    await self._ledger.beat_leases(held)

    async def _take(self, tenant: str, pause: Callable[[float], Awaitable[None]]) -> Lease:
        seen = lease = await self._ledger.take_lease(tenant, self.owner.id)
        looks = 0
        while lease.owner != self.owner.id:
            if lease != seen:
                raise LeaseHeld(_held(lease))
            over = seen if looks == _LOOKS or self.owner.is_gone(seen.owner) else None
            if over is None:
                await pause(self._ttl_s / _LOOKS)
                looks += 1
            lease = await self._ledger.take_lease(tenant, self.owner.id, over)
        self._takes[tenant] += 1
        return lease


def holder(lease: Lease) -> str:
    """Return the process that holds a lease, in words."""
    return lease.owner.partition(";")[0]


def _held(lease: Lease) -> str:
    tenant = lease.tenant
    return f"{holder(lease)} is working on tenant {tenant}: wait until it is done, or see `adsyncd status {tenant}`"
