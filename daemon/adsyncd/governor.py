"""The gate that every metered request passes: it awaits what `limits` decides, first come, first served.

A gate belongs to one client id of one platform. Whoever waits in front of it stands in line; the head of the line
alone has a timer, so that a thousand waiters cost one. Gates share nothing: a blocked one delays no other.
"""

from collections import deque
from collections.abc import Callable

import anyio

from adsyncd.clock import Clock
from adsyncd.errors import Stopping
from adsyncd.limits import Bucket
from adsyncd.tenant import Quota, Tenant


class Permit:
    """A permit that was granted for one request. Exactly one of its two methods is called, once."""

    __slots__ = ("_gate",)

    def __init__(self, gate: "Gate") -> None:
        self._gate = gate

    def cool(self) -> None:
        """Let it cool: the request was answered, or given up after it may have left."""
        self._gate._cool()  # noqa: SLF001 - the two are one mechanism

    def refund(self) -> None:
        """Give it back at once: the request provably never left."""
        self._gate._refund()  # noqa: SLF001


class Gate:
    """The way to one client id's quota."""

    def __init__(self, quota: Quota, clock: Clock) -> None:
        self.quota = quota
        self._bucket = Bucket(quota)
        self._clock = clock
        self._line: deque[anyio.Event] = deque()
        self._stopped = False

    def acquire_nowait(self) -> Permit | None:
        """Return a permit if there is a free one and nobody stands in line for it. Raises `Stopping`."""
        if self._stopped:
            raise Stopping("stopping: nothing is sent any more")
        return Permit(self) if not self._line and self._bucket.take(self._clock.monotonic()) else None

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
            while self._stopped or not self._bucket.take(now := self._clock.monotonic()):
                if self._stopped:
                    raise Stopping("stopping: nothing is sent any more")
                opens_at = self._bucket.opens_at(now)
                if on_wait is not None:
                    on_wait(opens_at)
                turn = self._line[0] = anyio.Event()
                with anyio.move_on_after(None if opens_at is None else opens_at - now):
                    await turn.wait()
        finally:
            self._line.remove(turn)
            self._wake()
        return Permit(self)

    def close(self, wait_s: float) -> None:
        """Let nobody through for `wait_s` seconds from now, as the platform asked."""
        self._bucket.close(self._clock.monotonic() + wait_s)

    def stop(self) -> None:
        """Let nobody through any more: who waits is turned away at once."""
        self._stopped = True
        self._wake()

    @property
    def free(self) -> int:
        """How many permits are free now."""
        return self._bucket.free(self._clock.monotonic())

    def _cool(self) -> None:
        self._bucket.cool(self._clock.monotonic())
        self._wake()

    def _refund(self) -> None:
        self._bucket.refund()
        self._wake()

    def _wake(self) -> None:
        if self._line:
            self._line[0].set()


class Governor:
    """All gates: one for each client id of each platform, for as long as the process lives.

    A gate outlives the runs and even the drop-in of its tenant, so that nothing which happens to a tenant
    makes its client id's quota come back sooner.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gates: dict[tuple[str, str], Gate] = {}

    def gate(self, tenant: Tenant) -> Gate:
        """Return the gate of a tenant's client id. Tenants with the same client id pass through the same one."""
        key = (tenant.platform.name, tenant.client_id)
        if key not in self._gates:
            self._gates[key] = Gate(tenant.quota, self._clock)
        return self._gates[key]

    def stop(self) -> None:
        """Stop all gates: requests that are on their way finish, no other is sent."""
        for gate in self._gates.values():
            gate.stop()
