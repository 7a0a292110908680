"""One process at a time is at work on a tenant: by a lease, which all processes that share the store see.

A lease is held for as long as a run or a replay goes on. Its holder gives signs of life (`beat`). One who wants a lease
that is held takes it over if the holder's process is known to have ended, or has given no sign for the time to live:

    free, or mine ──take──► held ──give back──► free
                             │ ▲
                             └─┘ taken over: from exactly the holder, the fence and the beat that were seen

A holder that was taken for dead and was not, as it stood still, finds out by its `fence`: the store refuses whatever it
still has to write.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from adsyncd.errors import LeaseHeld, StoreError
from adsyncd.model.lease import Lease

TTL_S = 30.0
_LOOKS = 30  # within the time to live: counted, so that time in which the watcher itself stood still is no evidence
_BEATS = 6


class Owner(Protocol):
    """This process, as others see it. See `adsyncd.host.owner.ProcessOwner`."""

    @property
    def id(self) -> str:
        """What it signs with."""

    def is_gone(self, other: str) -> bool:
        """Whether another owner's process is known to have ended."""


class LeaseLedger(Protocol):
    """Where leases are on record. See `adsyncd.store.Store`."""

    async def take_lease(self, tenant: str, owner: str, over: Lease | None = None) -> Lease:
        """Give a lease to `owner` if it is free, its own or exactly `over`; return how it stands then."""

    async def give_lease(self, lease: Lease) -> None:
        """Make a lease free, unless it was taken over."""

    async def beat_leases(self, leases: Sequence[Lease]) -> None:
        """Give a sign of life for those of these leases that were not taken over."""


@dataclass(slots=True)
class _Hold:
    """What a process does for a tenant at once: so many things, under one lease."""

    users: int = 0
    lease: Lease | None = None
    taking: anyio.Lock = field(default_factory=anyio.Lock)


class Leases:
    """The leases of this process. Others may take them over `ttl_s` seconds after its last sign of life."""

    def __init__(self, ledger: LeaseLedger, owner: Owner, ttl_s: float = TTL_S) -> None:
        self._ledger = ledger
        self._owner = owner
        self._ttl_s = ttl_s
        self._holds: dict[str, _Hold] = {}

    @asynccontextmanager
    async def hold(self, tenant: str, pause: Callable[[float], Awaitable[None]] = anyio.sleep) -> AsyncIterator[Lease]:
        """Hold a tenant's lease while the body goes on; all bodies in this process share it.

        One that another process holds is watched, up to the time to live; `pause` waits meanwhile, and what it raises,
        this raises. Raises LeaseHeld as soon as there is a sign of life, and StoreError.

        A body that is cancelled leaves the lease to run out: its process is about to end, or takes it again.
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
                if hold.lease:
                    with suppress(StoreError):  # then it runs out
                        await self._ledger.give_lease(hold.lease)

    async def run(self) -> None:
        """Give signs of life for all that is held, until cancelled."""
        while True:
            await anyio.sleep(self._ttl_s / _BEATS)
            if held := [hold.lease for hold in self._holds.values() if hold.lease]:
                with suppress(StoreError):  # the runs themselves tell of it
                    await self._ledger.beat_leases(held)

    async def _take(self, tenant: str, pause: Callable[[float], Awaitable[None]]) -> Lease:
        seen = lease = await self._ledger.take_lease(tenant, self._owner.id)
        looks = 0
        while lease.owner != self._owner.id:
            if lease != seen:
                raise LeaseHeld(_in_whose_hands(lease))
            over = seen if looks == _LOOKS or self._owner.is_gone(seen.owner) else None
            if over is None:
                await pause(self._ttl_s / _LOOKS)
                looks += 1
            lease = await self._ledger.take_lease(tenant, self._owner.id, over)
        return lease


def _in_whose_hands(lease: Lease) -> str:
    who, tenant = lease.owner.partition(";")[0], lease.tenant
    return f"tenant {tenant} is in the hands of {who}; wait until that is done, or look with `adsyncd status {tenant}`"
