"""Gates for tests, with a ledger in memory."""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import anyio

from adsyncd.clock import Clock
from adsyncd.rate import Gate, Governor, Permit
from adsyncd.rate.account import Account
from adsyncd.rate.bucket import cools_for
from adsyncd.rate.ledger import Claim, PermitRecord, ShapeRecord
from adsyncd.rate.quota import ClientQuota, Quota, Window
from support.virtual_time import VirtualClock

WINDOW = 60.0
COOLS_FOR = cools_for(Window(1, timedelta(seconds=WINDOW)))


class Middle(Random):
    """Draws the middle of what it may."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class MemoryLedger:
    """Keeps the last record of each permit, and lets several processes have them as the store does."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str, int, int], PermitRecord] = {}
        self.shapes: list[ShapeRecord] = []

    async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        if all(self._may(claim) for claim in claims):
            self.records |= {_key(claim.record): claim.record for claim in claims}
            return ()
        whose = {(claim.record.platform, claim.record.client_id) for claim in claims}
        return tuple(record for key, record in self.records.items() if key[:2] in whose)

    async def read_permits(self, platform: str, client_id: str) -> Sequence[PermitRecord]:
        return tuple(record for key, record in self.records.items() if key[:2] == (platform, client_id))

    def note_permits(self, claims: Sequence[Claim]) -> None:
        self.records |= {_key(claim.record): claim.record for claim in claims if self._may(claim)}

    def forget_permits(self, records: Sequence[PermitRecord]) -> None:
        for record in records:
            if self.records.get(_key(record)) == record:
                del self.records[_key(record)]

    def note_shape(self, record: ShapeRecord) -> None:
        self.shapes.append(record)

    def _may(self, claim: Claim) -> bool:
        known, wanted = self.records.get(_key(claim.record)), claim.record
        if known is None or known.owner == wanted.owner or known == claim.seen:
            return True
        return known.boot_id == wanted.boot_id and known.free_at <= claim.at


def _key(record: PermitRecord) -> tuple[str, str, int, int]:
    return record.platform, record.client_id, record.window_ms, record.number


def a_quota(requests: int, per_s: float = WINDOW, *also: tuple[int, float], **more: Any) -> Quota:  # noqa: ANN401
    windows = tuple(Window(number, timedelta(seconds=length_s)) for number, length_s in also)
    return Quota(requests, timedelta(seconds=per_s), also=windows, **more)


def a_client(
    quota: Quota,
    platform_quota: Quota | None = None,
    *,
    client_id: str = "acme",
    weight: int = 1,
    timeout_s: float = 10,
    costs: tuple[int, int] = (1, 1),
) -> ClientQuota:
    return ClientQuota("mixo", client_id, quota, platform_quota, weight, timedelta(seconds=timeout_s), costs)


def a_gate(
    quota: Quota,
    clock: Clock,
    ledger: MemoryLedger | None = None,
    records: Iterable[PermitRecord] = (),
    owner: str = "this process",
) -> Gate:
    return Gate(
        Account("mixo", "acme", quota, records, clock, owner, timedelta(seconds=10)), clock, ledger or MemoryLedger()
    )


def a_governor(clock: Clock | None = None, ledger: MemoryLedger | None = None, owner: str = "this process") -> Governor:
    ledger = ledger or MemoryLedger()
    return Governor(clock or VirtualClock(), ledger, owner, ledger.records.values(), ledger.shapes)


def rebooted() -> VirtualClock:
    """Return a clock after a reboot; another machine's looks the same."""
    clock = VirtualClock()
    clock.reboot()
    return clock


async def at_once(count: int, call: Callable[..., Coroutine[None, None, object]], *args: Any) -> None:  # noqa: ANN401 - the call's
    """Make so many calls at the same time, and wait for all."""
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(call, *args)


async def recorded(gate: Gate, timeout_s: float = 5.0, cost: int = 1) -> Permit:
    """Return a permit that is on record, as a request needs it."""
    permit = await gate.acquire(cost=cost)
    while not await permit.put_on_record(timeout_s):
        await anyio.sleep(0.01)  # as the store takes its time
        permit = await gate.acquire(cost=cost, again=True)
    return permit


class Server:
    """Counts each request at an instant between its sending and its answer, as an exact sliding log.

    A request counts as often as it costs: one of `costs`, by chance.
    """

    def __init__(self, seed: int, costs: Sequence[int] = (1,)) -> None:
        self.random = Random(seed)
        self.costs = costs
        self.counted: list[float] = []

    async def request(self, through: Gate) -> None:
        cost = self.random.choice(self.costs)
        permit = await through.acquire(cost=cost)
        kind = self.random.choice(["answered", "answered", "answered", "never left", "timed out", "cancelled"])
        if kind == "never left":
            try:
                await anyio.sleep(self.random.uniform(0, 2))
            finally:
                permit.refund()
            return
        try:
            with anyio.move_on_after(self.random.uniform(0, 5) if kind == "cancelled" else None):
                await self._count(cost)
        finally:
            permit.cool()

    async def recorded_request(self, through: Gate) -> None:
        """Be killed at any instant: what a process does after that, this does not do."""
        cost = self.random.choice(self.costs)
        permit = await recorded(through, cost=cost)
        await self._count(cost)
        permit.cool()

    async def _count(self, cost: int) -> None:
        round_trip = self.random.uniform(0, 5)
        arrival = self.random.uniform(0, round_trip)
        await anyio.sleep(arrival)
        self.counted += [anyio.current_time()] * cost
        await anyio.sleep(round_trip - arrival)

    def most_in_a_window(self) -> int:
        counted = sorted(self.counted)
        return max((sum(1 for other in counted if at - WINDOW < other <= at) for at in counted), default=0)
