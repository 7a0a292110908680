"""The gate that every metered request passes: it awaits what the limiter decides.

A gate belongs to one client id of one platform. Requests wait in front of it in three lines: listings before pushes,
replays last; each line is first come, first served. The first of all waits for as many permits as it costs, and nobody
behind it overtakes it with a smaller cost. Gates share nothing but the platform's own quota, if it has one, so a
blocked gate delays no other.

A permit is recorded before its request leaves, as out until the last instant at which it could be, and again once it is
known when it will be free. So a killed process leaves its permits cooling, the next process starts with what is left,
and two processes never hold the same permit.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from enum import IntEnum

import anyio
import structlog

from adsyncd.clock import Clock
from adsyncd.errors import Stopping, WaitTooLong
from adsyncd.rate.account import Account
from adsyncd.rate.feedback import Limit
from adsyncd.rate.learned import Learned
from adsyncd.rate.ledger import PermitLedger, ShapeRecord
from adsyncd.rate.limiter import Numbers, Usage
from adsyncd.rate.permit import Permit
from adsyncd.rate.platform_pool import PlatformPool
from adsyncd.rate.quota import Quota, Shape
from adsyncd.rate.timer import Timer
from adsyncd.rate.wait import Block, WaitReason, last_to_end

_log = structlog.stdlib.get_logger(__name__)

_QUIET_WINDOWS = 3  # without a refusal, until refusals are over
_STOPPING = "stopping: nothing is sent any more"

# Called with the reason for a wait and its end (a monotonic instant; None if a response must arrive first). May raise.
OnWait = Callable[[WaitReason, float | None], None]


class Priority(IntEnum):
    """The lines in front of one gate, in the order in which they are served."""

    LISTING = 0
    PUSH = 1
    REPLAY = 2


class _Waiter:
    __slots__ = ("cost", "permit", "turn")

    def __init__(self, cost: int) -> None:
        self.cost = cost
        self.turn = anyio.Event()
        self.permit: Permit | None = None


class Gate:
    """Grants permits of one client id's quota. `known`: how the platform counts, as an earlier process found out."""

    def __init__(self, account: Account, clock: Clock, ledger: PermitLedger, known: ShapeRecord | None = None) -> None:
        self.account = account
        self.limiter = account.limiter
        self.ledger = ledger
        self.weight = 1
        self.least = 1  # what a request costs at least
        self.in_round = False
        self._clock = clock
        self.pool: PlatformPool | None = None
        self.out = set[Permit]()
        self._lines: tuple[deque[_Waiter], ...] = tuple(deque() for _ in Priority)
        self.waiting = 0  # requests, in all lines
        self._announced: tuple[_Waiter, Block] | None = None
        self._refused_at: float | None = None  # the last refusal, until refusals are over
        self._timer = Timer(self.serve)
        self._stopped = anyio.Event()
        self._learned = Learned(account, ledger, clock, known)

    def change(self, quota: Quota, pool: PlatformPool | None, weight: int) -> None:
        """Adopt another quota, and share a platform's with other gates, for `weight` permits a turn.

        No request passes by the old quota of one and the new quota of the other. What was learned about the old quota
        is forgotten.
        """
        if quota != self.account.quota:
            self.account.change(quota)
            self._learned = Learned(self.account, self.ledger, self._clock)
        self.weight = weight
        self.join(pool)
        self.serve()

    def join(self, pool: PlatformPool | None) -> None:
        """Take all permits, those that are out too, from this platform's quota."""
        if self.pool is not None and self.pool is not pool:
            self.pool.leave(self)
        self.pool = pool
        for permit in self.out:
            permit.join(pool)

    def acquire_nowait(self, cost: int = 1) -> Permit | None:
        """Return a permit if as much as it costs is free and no request waits for it.

        Raises `Stopping` once the gate is stopped.
        """
        if self._stopped.is_set():
            raise Stopping(_STOPPING)
        if self.waiting:
            return None
        now, pool = self._clock.monotonic(), self.pool
        if pool is None:
            numbers = self.limiter.take(now, cost)
            return None if numbers is None else Permit(self, now, numbers, None, [])
        if self.limiter.blocks(now, cost) or (shared := pool.take(now, cost)) is None:
            return None
        return Permit(self, now, self._taken(now, cost), pool, shared)

    async def acquire(
        self, priority: Priority = Priority.PUSH, on_wait: OnWait | None = None, *, cost: int = 1, again: bool = False
    ) -> Permit:
        """Wait for a permit, at the end of the line of its priority, or at its head if the request comes `again`.

        A cancelled request leaves the line and takes nothing. `on_wait` is called once, and, while the request is the
        first of all, whenever the reason or the end of its wait changes; its errors end the wait.

        Raises `Stopping` once the gate is stopped, and `WaitTooLong` if the quota never allows what the request costs.
        """
        if permit := self.acquire_nowait(cost):
            return permit
        waiter, line = _Waiter(cost), self._lines[priority]
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
        if wait_s > 0:
            with anyio.move_on_after(wait_s):
                await self._stopped.wait()
        else:
            await anyio.lowlevel.checkpoint()
        if self._stopped.is_set():
            raise Stopping(_STOPPING)

    def close(self, wait_s: float) -> None:
        """Grant nothing for `wait_s` seconds from now, as the platform asked."""
        self.limiter.close(self._clock.monotonic() + wait_s)
        self.serve()

    def heed(self, limits: Sequence[Limit], *, refused: bool) -> None:
        """Learn from a response: whether it is a refusal, and the limits it states, which can only tighten ours."""
        now, own = self._clock.monotonic(), self.limiter
        for limit in limits:
            remaining = limit.remaining
            if remaining is None and limit.used is not None:
                remaining = int((1 - limit.used) * self.account.quota.requests)
            if remaining is not None:
                own.tighten(remaining, now + (own.longest_s if limit.reset_s is None else limit.reset_s), now)
        self._log_refusals(now, refused=refused)
        self._learned.answered(now, refused=refused, waiting=bool(self.waiting))
        if limits:
            self.serve()

    def stop(self) -> None:
        """Grant nothing any more, and turn waiting requests away at once."""
        self._stopped.set()
        for account in self._accounts():
            account.hand.give_back()
        for line in self._lines:
            for waiter in line:
                waiter.turn.set()

    @property
    def free(self) -> int:
        """How many permits are free now."""
        return self.limiter.free(self._clock.monotonic())

    def usage(self) -> list[Usage]:
        """Return how much of each window is used. Safe in any thread."""
        return self.limiter.usage(self._clock.monotonic())

    @property
    def shape(self) -> Shape:
        """How permits are granted now: in bursts, or spaced."""
        return Shape.PACED if self.limiter.paced else Shape.BURST

    def silence_s(self) -> float | None:
        """Return for how many seconds nothing can be granted from now on; None if a response must arrive first."""
        now, pool, cost = self._clock.monotonic(), self.pool, self.least
        blocks = [*self.limiter.blocks(now, cost), *(pool.limiter.blocks(now, cost) if pool else [])]
        until = last_to_end(blocks).until if blocks else now
        return None if until is None else until - now

    def forecast_s(self, permits: int, cost: int = 1) -> float:
        """Return in how many seconds requests can take so many more permits, `cost` each, if answered at once.

        Of a platform's quota it counts this gate's share beside the gates that wait now.
        """
        if permits <= 0:
            return 0.0
        now, requests = self._clock.monotonic(), math.ceil(permits / cost)
        own = self.limiter.nth_at(requests, now, cost)
        shared = self.pool.nth_at(self, requests, now, cost) if self.pool else now
        return max(own, shared) - now

    def counted_by(self, written_at: float | None) -> float:
        """Return the monotonic instant by which a request that is over was counted: now, or the arrival bound's."""
        now = self._clock.monotonic()
        if written_at is None or self._learned.strict or (bound := self.account.quota.arrival_bound) is None:
            return now
        return min(now, written_at + bound.total_seconds())

    @property
    def cost(self) -> int:
        """What the first waiting request costs; 0 if none waits."""
        first = self._first()
        return 0 if first is None else first.cost

    def is_ready(self, now: float) -> bool:
        """Return whether a request waits that only the platform's quota can keep back."""
        first = self._first()
        return first is not None and not self._is_impossible(first) and not self.limiter.blocks(now, first.cost)

    def grant(self, now: float, shared: Numbers) -> None:
        """Grant to the first waiting request, with these permits of the platform's."""
        line = next(line for line in self._lines if line)
        waiter = line.popleft()
        self.waiting -= 1
        waiter.permit = Permit(self, now, self._taken(now, waiter.cost), self.pool, shared)
        waiter.turn.set()

    def sleep(self, now: float) -> None:
        """Wake up when a grant is possible again, and announce to the first waiting request what blocks it."""
        first = self._first()
        self._timer.set(self.limiter.opens_at(now, first.cost) if first and not self.in_round else None)
        if first is not None and self._announced != (announced := (first, self._block(now, first.cost))):
            self._announced = announced
            first.turn.set()

    def serve(self) -> None:
        """Grant all that can be granted now."""
        if not self.waiting:
            return
        now = self._clock.monotonic()
        if self.pool is None:
            while self.is_ready(now):
                self.grant(now, [])
        elif self.is_ready(now):
            self.pool.join(self)
        self.sleep(now)

    async def _turn(self, waiter: _Waiter, on_wait: OnWait | None) -> None:
        told = None
        while waiter.permit is None:
            if self._stopped.is_set():
                raise Stopping(_STOPPING)
            if self._is_impossible(waiter):
                raise WaitTooLong(
                    f"a request costs {waiter.cost} permits, and a window of its quota has only {self._most}:"
                    " it can never be sent; have each window allow more"
                )
            if on_wait is not None and (told is None or self._first() is waiter):
                before, told = told, self._block(self._clock.monotonic(), waiter.cost)
                if told != before:
                    on_wait(*told)
            look_at = self._look_at() if self._first() is waiter else None
            with nullcontext() if look_at is None else anyio.CancelScope(deadline=look_at):
                await waiter.turn.wait()
            if waiter.permit is None:
                waiter.turn = anyio.Event()
                if look_at is not None and look_at <= self._clock.monotonic():
                    await self._look_again()

    def _look_at(self) -> float | None:
        """Return when the first waiting request has to look what other processes have by then; None if never."""
        return min((at for account in self._accounts() if (at := account.look_at) is not None), default=None)

    async def _look_again(self) -> None:
        for account in self._accounts():
            await account.look_again(self.ledger)
        self.serve()
        if self.pool is not None:
            self.pool.serve()

    def _accounts(self) -> Sequence[Account]:
        return (self.account,) if self.pool is None else (self.account, self.pool.account)

    def _first(self) -> _Waiter | None:
        for line in self._lines:
            if line:
                return line[0]
        return None

    @property
    def _most(self) -> int:
        return min(account.limiter.most for account in self._accounts())

    def _is_impossible(self, waiter: _Waiter) -> bool:
        """Return whether no window ever has what a request costs, and tell it then."""
        if waiter.cost == 1 or waiter.cost <= self._most:
            return False
        waiter.turn.set()
        return True

    def _block(self, now: float, cost: int) -> Block:
        """Return what keeps a request back that is the first: the platform's quota, once its own does not."""
        blocks, pool = self.limiter.blocks(now, cost), self.pool
        if not blocks and pool is not None:
            blocks = pool.limiter.blocks(now, cost) or [Block(WaitReason.PLATFORM_QUOTA, now)]
        return last_to_end(blocks or [Block(WaitReason.QUOTA, now)])

    def _taken(self, now: float, cost: int) -> Numbers:
        numbers = self.limiter.take(now, cost)
        assert numbers is not None  # noqa: S101 - the caller has seen that nothing blocks
        return numbers

    def _log_refusals(self, now: float, *, refused: bool) -> None:
        """Log the first refusal, and their end after a few windows without one."""
        account = self.account
        if refused:
            if self._refused_at is None:
                fix = "the quota may be too large, or somebody else uses the client id"
                _log.warning(
                    "refused within the quota", platform=account.platform, client_id=account.client_id, fix=fix
                )
            self._refused_at = now
        elif self._refused_at is not None and now >= self._refused_at + _QUIET_WINDOWS * self.limiter.longest_s:
            self._refused_at = None
            _log.info("no longer refused", platform=account.platform, client_id=account.client_id)
