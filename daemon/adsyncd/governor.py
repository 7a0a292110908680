"""The gate that every metered request passes: it awaits what `limits` decides, first come, first served.

A gate belongs to one client id of one platform. Whoever waits in front of it stands in line; the head of the line
alone has a timer, so that a thousand waiters cost one. Gates share nothing: a blocked one delays no other.

A permit is put on record before its request leaves, as out until the last instant at which it could be. So a process
that is killed leaves its permits cooling, and the next one starts with what is left.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import anyio

from adsyncd.clock import Clock
from adsyncd.errors import Stopping
from adsyncd.limits import Bucket, cools_for
from adsyncd.permit import PermitRecord
from adsyncd.tenant import Quota, Tenant

_RECORDED_WITHIN_S = 5.0
_STOPPING = "stopping: nothing is sent any more"


class Ledger(Protocol):
    """Where permits are put on record."""

    async def hold_permit(self, record: PermitRecord) -> None:
        """Commit that a permit is out, in the place of what was on record of it."""


class Permit:
    """A permit that was granted for one request. Exactly one of `cool` and `refund` ends it."""

    __slots__ = ("_gate", "_number")

    def __init__(self, gate: "Gate", number: int) -> None:
        self._gate = gate
        self._number = number

    async def put_on_record(self, timeout_s: float) -> None:
        """Record that it is out, with a request that ends within `timeout_s`; on failure it is given back."""
        try:
            await self._gate._record(self._number, timeout_s)  # noqa: SLF001 - the two are one mechanism
        except BaseException:
            self.refund()
            raise

    def cool(self) -> None:
        """Let it cool: the request was answered, or given up after it may have left."""
        self._gate._cool(self._number)  # noqa: SLF001

    def refund(self) -> None:
        """Give it back at once: the request provably never left."""
        self._gate._refund(self._number)  # noqa: SLF001


class Gate:
    """The way to one client id's quota. `cooling`: by number, for how many seconds some permits are not free yet."""

    def __init__(
        self,
        platform: str,
        client_id: str,
        quota: Quota,
        clock: Clock,
        ledger: Ledger,
        cooling: Mapping[int, float] | None = None,
    ) -> None:
        self._platform = platform
        self._client_id = client_id
        self._window_s = quota.per.total_seconds()
        self._cools_for = cools_for(quota)
        self._clock = clock
        self._ledger = ledger
        now = clock.monotonic()
        self._bucket = Bucket(quota, {number: now + wait_s for number, wait_s in (cooling or {}).items()})
        self._line: deque[anyio.Event] = deque()
        self._stopped = anyio.Event()

    def acquire_nowait(self) -> Permit | None:
        """Return a permit if there is a free one and nobody stands in line for it. Raises `Stopping`."""
        if self._stopped.is_set():
            raise Stopping(_STOPPING)
        if self._line or (number := self._bucket.take(self._clock.monotonic())) is None:
            return None
        return Permit(self, number)

    async def acquire(self, on_wait: Callable[[float | None], None] | None = None) -> Permit:
        """Wait for a permit. Who came first is served first; who is cancelled leaves the line and takes nothing.

        `on_wait` is told, each time the caller has to wait at the head of the line, the monotonic instant at which
        a permit will be free, or None when that takes an answer first; what it raises, this raises.

        Raises `Stopping` once the gate is stopped.
        """
        if permit := self.acquire_nowait():
            return permit
        turn = anyio.Event()
        self._line.append(turn)
        try:
            while self._line[0] is not turn:
                await turn.wait()
            while True:
                if self._stopped.is_set():
                    raise Stopping(_STOPPING)
                now = self._clock.monotonic()
                if (number := self._bucket.take(now)) is not None:
                    return Permit(self, number)
                opens_at = self._bucket.opens_at(now)
                if on_wait is not None:
                    on_wait(opens_at)
                turn = self._line[0] = anyio.Event()
                with anyio.move_on_after(None if opens_at is None else opens_at - now):
                    await turn.wait()
        finally:
            self._line.remove(turn)
            self._wake()

    async def pause(self, wait_s: float) -> None:
        """Wait for `wait_s` seconds before another request. Raises `Stopping` as soon as the gate is stopped."""
        with anyio.move_on_after(wait_s):
            await self._stopped.wait()
            raise Stopping(_STOPPING)

    def close(self, wait_s: float) -> None:
        """Let nobody through for `wait_s` seconds from now, as the platform asked."""
        self._bucket.close(self._clock.monotonic() + wait_s)

    def stop(self) -> None:
        """Let nobody through any more: who waits is turned away at once."""
        self._stopped.set()
        self._wake()

    @property
    def free(self) -> int:
        """How many permits are free now."""
        return self._bucket.free(self._clock.monotonic())

    @property
    def closed(self) -> bool:
        """Whether the platform has asked for silence."""
        return self._bucket.closed(self._clock.monotonic())

    async def _record(self, number: int, timeout_s: float) -> None:
        while True:
            asked_at = self._clock.since_boot()
            free_at = asked_at + _RECORDED_WITHIN_S + timeout_s + self._cools_for
            await self._ledger.hold_permit(
                PermitRecord(self._platform, self._client_id, number, free_at, self._clock.boot_id, self._window_s)
            )
            if self._clock.since_boot() <= asked_at + _RECORDED_WITHIN_S:
                return

    def _cool(self, number: int) -> None:
        self._bucket.cool(number, self._clock.monotonic())
        self._wake()

    def _refund(self, number: int) -> None:
        self._bucket.refund(number)
        self._wake()

    def _wake(self) -> None:
        if self._line:
            self._line[0].set()


class Governor:
    """All gates: one for each client id of each platform, for as long as the process lives.

    A gate outlives the runs and even the drop-in of its tenant, so that nothing which happens to a tenant
    makes its client id's quota come back sooner. `records` are what earlier processes had out.
    """

    def __init__(self, clock: Clock, ledger: Ledger, records: Iterable[PermitRecord]) -> None:
        self._clock = clock
        self._ledger = ledger
        self._records: dict[tuple[str, str], list[PermitRecord]] = {}
        for record in records:
            self._records.setdefault((record.platform, record.client_id), []).append(record)
        self._gates: dict[tuple[str, str], Gate] = {}

    def gate(self, tenant: Tenant) -> Gate:
        """Return the gate of a tenant's client id. Tenants with the same client id pass through the same one."""
        platform, client_id = key = (tenant.platform.name, tenant.client_id)
        if key not in self._gates:
            cooling = self._cooling(self._records.pop(key, []), tenant.quota)
            self._gates[key] = Gate(platform, client_id, tenant.quota, self._clock, self._ledger, cooling)
        return self._gates[key]

    def stop(self) -> None:
        """Stop all gates: requests that are on their way finish, no other is sent."""
        for gate in self._gates.values():
            gate.stop()

    def _cooling(self, records: Sequence[PermitRecord], quota: Quota) -> dict[int, float]:
        """Return by number for how many seconds permits are not free yet.

        If the quota's window was shorter before, there may have been more requests within today's than are on record:
        then no permit is free before the last of them is out of it.
        """
        cooling = {record.number: self._cools_on(record, quota) for record in records}
        if any(record.window_s < quota.per.total_seconds() for record in records):
            return dict.fromkeys(range(quota.requests), max(cooling.values()))
        return cooling

    def _cools_on(self, record: PermitRecord, quota: Quota) -> float:
        """Return for how many seconds a permit on record is not free yet.

        What happened before a reboot can't be told from the wall clock, which may have been set since: such a permit
        cools a whole window from now. Of today's window and that of the record the longer one counts.
        """
        window = timedelta(seconds=record.window_s)
        if record.boot_id != self._clock.boot_id:
            return cools_for(replace(quota, per=max(quota.per, window)))
        longer_s = max(0.0, (quota.per - window).total_seconds())
        return max(0.0, record.free_at + longer_s - self._clock.since_boot())
