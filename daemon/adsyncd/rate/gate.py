"""The gate that every metered request passes: it awaits what `limits` decides.

A gate belongs to one client id of one platform. Whoever waits in front of it stands in line: listings before pushes,
replays last, and within each first come, first served. Gates share nothing but the platform's own quota, where there is
one: a blocked one delays no other.

A permit is put on record before its request leaves, as out until the last instant at which it could be, and again when
it is known when it will be free. So a process that is killed leaves its permits cooling, the next one starts with what
is left, and several processes never have the same one.
"""

from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum

import anyio
import structlog

from adsyncd.clock import Clock
from adsyncd.errors import Stopping
from adsyncd.rate.account import Account
from adsyncd.rate.bucket import Numbers
from adsyncd.rate.feedback import Limit
from adsyncd.rate.learned import Learned
from adsyncd.rate.ledger import Ledger
from adsyncd.rate.permit import Claim, ShapeRecord
from adsyncd.rate.platform_pool import Pool
from adsyncd.rate.quota import Quota, Shape
from adsyncd.rate.timer import Alarm
from adsyncd.rate.wait import WaitReason

_log = structlog.stdlib.get_logger(__name__)

_QUIET_WINDOWS = 3  # without a refusal, until refusals are over
_STOPPING = "stopping: nothing is sent any more"

# Told what stands in the way and until which monotonic instant, None when that takes an answer first; it may raise.
OnWait = Callable[[WaitReason, float | None], None]


class Priority(IntEnum):
    """Who goes first of those who wait in front of one gate."""

    LISTING = 0
    PUSH = 1
    REPLAY = 2


class Permit:
    """A permit that was granted for one request. One of `cool`, `refund` and a `put_on_record` in vain ends it."""

    __slots__ = ("_claims", "_gate", "_granted_at", "_numbers", "_pool", "_shared")

    def __init__(self, gate: "Gate", granted_at: float, numbers: Numbers, pool: Pool | None, shared: Numbers) -> None:
        self._gate = gate
        self._granted_at = granted_at
        self._numbers = numbers
        self._pool = pool
        self._shared = shared
        self._claims: tuple[list[Claim], list[Claim]] | None = None
        gate.out.add(self)

    async def put_on_record(self, timeout_s: float) -> bool:
        """Record that it is out, with a request that ends within `timeout_s`.

        Where another process has it, or the recording fails, it is given back; say whether it may be used.
        """
        gate = self._gate
        try:
            while True:
                pool = self._pool
                if gate.account.is_quiet() or (pool and pool.account.is_quiet()):
                    self.refund()  # it was granted before the quota was changed
                    return False
                own = gate.account.claims(self._numbers, timeout_s)
                shared = pool.account.claims(self._shared, timeout_s) if pool else []
                more = gate.account.unrecorded()
                more_shared = pool.account.unrecorded() if pool else []
                taken = await gate.ledger.claim_permits([*more, *own, *more_shared, *shared])
                if taken:
                    break
                gate.account.recorded([*more, *own])
                if pool:
                    pool.account.recorded([*more_shared, *shared])
                if gate.account.holds(own):
                    self._claims = own, shared
                    self._forget_the_past()
                    return True
        except BaseException:
            self.refund()
            raise
        gate.account.learn(taken)
        if pool:
            pool.account.learn(taken)
        self.refund()  # who is next in line knows then what is taken
        return False

    def cool(self, written_at: float | None = None, *, answered: bool = True) -> None:
        """Let it cool: the request was answered, or given up after it may have left.

        `written_at`: the monotonic instant at which it was fully written, if it was.
        """
        gate = self._gate
        since = gate.counted_by(written_at)
        if answered and gate.limits.space_s:
            gate.limits.arrived_within(since - self._granted_at)
        gate.limits.cool(self._numbers, since)
        if self._pool is not None:
            if answered:
                self._pool.limits.arrived_within(since - self._granted_at)
            self._pool.limits.cool(self._shared, since)
        self._is_back(since)

    def join(self, pool: Pool | None) -> None:
        """Count in a platform's quota that is another now, or new."""
        if pool is not self._pool:
            self._pool, self._shared = pool, pool.limits.adopt() if pool else []

    def refund(self) -> None:
        """Give it back at once: the request provably never left."""
        self._gate.limits.refund(self._numbers)
        if self._pool is not None:
            self._pool.limits.refund(self._shared)
        self._is_back(None)

    def _forget_the_past(self) -> None:
        past = self._gate.account.past()
        if self._pool is not None:
            past += self._pool.account.past()
        if past:
            self._gate.ledger.forget_permits(past)

    def _is_back(self, cools_since: float | None) -> None:
        gate, pool = self._gate, self._pool
        gate.out.discard(self)
        if self._claims is not None:
            own, shared = self._claims
            notes = gate.account.notes(self._numbers, own, cools_since)
            if pool is not None:
                notes += pool.account.notes(self._shared, shared, cools_since)
            gate.ledger.note_permits(notes)
        if gate.waiting:
            gate.serve()
        if pool is not None:
            pool.serve()


class _Waiter:
    __slots__ = ("permit", "turn")

    def __init__(self) -> None:
        self.turn = anyio.Event()
        self.permit: Permit | None = None


class Gate:
    """The way to one client id's quota. `known`: what was found out before of how its requests are counted."""

    def __init__(self, account: Account, clock: Clock, ledger: Ledger, known: ShapeRecord | None = None) -> None:
        self.account = account
        self.limits = account.limits
        self.ledger = ledger
        self.weight = 1
        self.in_round = False
        self._clock = clock
        self.pool: Pool | None = None
        self.out = set[Permit]()
        self._lines: tuple[deque[_Waiter], ...] = tuple(deque() for _ in Priority)
        self.waiting = 0  # requests, in all lines
        self._foretold: tuple[_Waiter, WaitReason, float | None] | None = None
        self._refused_at: float | None = None  # last, until that is over
        self._alarm = Alarm(self.serve)
        self._stopped = anyio.Event()
        self._learned = Learned(account, ledger, clock, known)

    def change(self, quota: Quota, pool: Pool | None, weight: int) -> None:
        """Take over another quota, and share a platform's with other gates, for `weight` grants a turn.

        Nobody is let through by the old of one and the new of the other. What was found out about an old quota is
        forgotten.
        """
        if quota != self.account.quota:
            self.account.change(quota)
            self._learned = Learned(self.account, self.ledger, self._clock)
        self.weight = weight
        self.join(pool)
        self.serve()

    def join(self, pool: Pool | None) -> None:
        """Take what is out, and all that goes out from now on, out of a platform's quota."""
        if self.pool is not None and self.pool is not pool:
            self.pool.leave(self)
        self.pool = pool
        for permit in self.out:
            permit.join(pool)

    def acquire_nowait(self) -> Permit | None:
        """Return a permit if there is a free one and nobody stands in line for it. Raises `Stopping`."""
        if self._stopped.is_set():
            raise Stopping(_STOPPING)
        if self.waiting:
            return None
        now, pool = self._clock.monotonic(), self.pool
        if pool is None:
            numbers = self.limits.take(now)
            return None if numbers is None else Permit(self, now, numbers, None, [])
        if not self.limits.can_grant(now) or (shared := pool.take(now)) is None:
            return None
        return Permit(self, now, self._taken(now), pool, shared)

    async def acquire(
        self, priority: Priority = Priority.PUSH, on_wait: OnWait | None = None, *, again: bool = False
    ) -> Permit:
        """Wait for a permit. Of the same priority who came first is served first, but for one who comes `again`.

        Who is cancelled leaves the line and takes nothing. `on_wait` is told what the caller waits for and, while he
        stands at the head of the line, each time that this changes; what it raises, this raises.

        Raises `Stopping` once the gate is stopped.
        """
        if permit := self.acquire_nowait():
            return permit
        waiter, line = _Waiter(), self._lines[priority]
        if again:
            line.appendleft(waiter)
        else:
            line.append(waiter)
        self.waiting += 1
        self.serve()
        try:
            await self._turn(waiter, on_wait)
        except BaseException:
            if waiter.permit is None:
                line.remove(waiter)
                self.waiting -= 1
                self.serve()
            else:
                waiter.permit.refund()
            raise
        assert waiter.permit is not None  # noqa: S101 - its turn has come
        return waiter.permit

    async def pause(self, wait_s: float) -> None:
        """Wait for `wait_s` seconds before another request. Raises `Stopping` as soon as the gate is stopped."""
        with anyio.move_on_after(wait_s):
            await self._stopped.wait()
        if self._stopped.is_set():
            raise Stopping(_STOPPING)

    def close(self, wait_s: float) -> None:
        """Let nobody through for `wait_s` seconds from now, as the platform asked."""
        self.limits.close(self._clock.monotonic() + wait_s)
        self.serve()

    def heed(self, limits: Sequence[Limit], *, refused: bool) -> None:
        """Take note of an answer: whether it was a refusal, and what it says of limits, which may only tighten ours."""
        now, own = self._clock.monotonic(), self.limits
        for limit in limits:
            remaining = limit.remaining
            if remaining is None and limit.used is not None:
                remaining = int((1 - limit.used) * self.account.quota.requests)
            if remaining is not None:
                own.tighten(remaining, now + (own.longest_s if limit.reset_s is None else limit.reset_s), now)
        self._tell_of_refusals(now, refused=refused)
        self._learned.answered(now, refused=refused, waiting=bool(self.waiting))
        if limits:
            self.serve()

    def stop(self) -> None:
        """Let nobody through any more: who waits is turned away at once."""
        self._stopped.set()
        for line in self._lines:
            for waiter in line:
                waiter.turn.set()

    @property
    def free(self) -> int:
        """How many permits are free now."""
        return self.limits.free(self._clock.monotonic())

    @property
    def shape(self) -> Shape:
        """How permits are let out now."""
        return Shape.PACED if self.limits.paced else Shape.BURST

    def silence_s(self) -> float | None:
        """Return for how many seconds nothing is let through from now on; None if that takes an answer first."""
        now = self._clock.monotonic()
        found = [limits.opens_at(now) for limits in (self.limits, *([self.pool.limits] if self.pool else []))]
        return None if None in found else max(at for at in found if at is not None) - now

    def foresee(self, requests: int) -> float:
        """Return in how many seconds so many more requests can have been sent, if all is well.

        Of a platform's quota it has its share beside those who wait for it, too.
        """
        if requests <= 0:
            return 0.0
        now = self._clock.monotonic()
        ours = self.limits.nth_at(requests, now)
        shared = self.pool.nth_at(self, requests, now) if self.pool else now
        return max(ours, shared) - now

    def counted_by(self, written_at: float | None) -> float:
        """Return the monotonic instant by which a request, over now, was counted: now, or what the bound says."""
        now = self._clock.monotonic()
        if written_at is None or self._learned.strict or (bound := self.account.quota.arrival_bound) is None:
            return now
        return min(now, written_at + bound.total_seconds())

    def could_go(self, now: float) -> bool:
        """Say whether somebody waits who has only the platform's quota before him."""
        return bool(self.waiting) and self.limits.can_grant(now)

    def grant(self, now: float, shared: Numbers) -> None:
        """Let the first of those who wait go, with these permits of the platform's."""
        line = next(line for line in self._lines if line)
        waiter = line.popleft()
        self.waiting -= 1
        waiter.permit = Permit(self, now, self._taken(now), self.pool, shared)
        waiter.turn.set()

    def rest(self, now: float) -> None:
        """Wake up when there is a permit again, and tell the first of those who wait what he waits for."""
        self._alarm.set(self.limits.opens_at(now) if self.waiting and not self.in_round else None)
        self._foretell(now)

    def serve(self) -> None:
        """Let go who can go now."""
        if not self.waiting:
            return
        now = self._clock.monotonic()
        if self.pool is None:
            while self.could_go(now):
                self.grant(now, [])
        elif self.could_go(now):
            self.pool.join(self)
        self.rest(now)

    async def _turn(self, waiter: _Waiter, on_wait: OnWait | None) -> None:
        told = None
        while waiter.permit is None:
            if self._stopped.is_set():
                raise Stopping(_STOPPING)
            if on_wait is not None and (told is None or self._first() is waiter):
                before, told = told, self._in_the_way(self._clock.monotonic())
                if told != before:
                    on_wait(*told)
            await waiter.turn.wait()
            if waiter.permit is None:
                waiter.turn = anyio.Event()

    def _first(self) -> _Waiter | None:
        return next((line[0] for line in self._lines if line), None)

    def _foretell(self, now: float) -> None:
        """Wake the first of those who wait, if what he waits for has changed."""
        first = self._first()
        if first is None:
            return
        foretold = first, *self._in_the_way(now)
        if foretold != self._foretold:
            self._foretold = foretold
            first.turn.set()

    def _in_the_way(self, now: float) -> tuple[WaitReason, float | None]:
        limits, pool = self.limits, self.pool
        if pool is None or not limits.can_grant(now):
            return limits.blocks(now)
        reason, until = pool.limits.blocks(now)
        return (WaitReason.PLATFORM_QUOTA if reason is WaitReason.QUOTA else reason), until

    def _taken(self, now: float) -> Numbers:
        numbers = self.limits.take(now)
        assert numbers is not None  # noqa: S101 - who calls has seen that there is a grant to be made
        return numbers

    def _tell_of_refusals(self, now: float, *, refused: bool) -> None:
        """Log the first refusal, and that they are over once a few windows have passed without one."""
        account = self.account
        if refused:
            if self._refused_at is None:
                fix = "the quota may be too large, or somebody else uses the client id"
                _log.warning(
                    "refused within the quota", platform=account.platform, client_id=account.client_id, fix=fix
                )
            self._refused_at = now
        elif self._refused_at is not None and now >= self._refused_at + _QUIET_WINDOWS * self.limits.longest_s:
            self._refused_at = None
            _log.info("no longer refused", platform=account.platform, client_id=account.client_id)
