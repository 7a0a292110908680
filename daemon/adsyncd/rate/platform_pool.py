"""A platform's own quota, shared by its client ids: deficit round robin over the gates that are ready.

A turn is as many permits as the weight of a gate. A request that costs more than is left of a turn saves that for the
next one, so it comes to its turn, and nobody overtakes it while its permits return. A gate whose own quota is spent, or
at which no request waits, is not in the round: its share goes to the others, and it saves nothing. (M. Shreedhar, G.
Varghese, "Efficient Fair Queuing Using Deficit Round Robin", 1996.)
"""

import math
from collections import deque
from typing import Protocol

from adsyncd.clock import Clock
from adsyncd.rate.account import Account
from adsyncd.rate.limiter import Limiter, Numbers
from adsyncd.rate.timer import Timer


class Member(Protocol):
    """A gate, as the round sees it."""

    weight: int
    in_round: bool

    @property
    def cost(self) -> int:
        """What the first waiting request costs; 0 if none waits."""

    def is_ready(self, now: float) -> bool:
        """Return whether a request waits that only the platform's quota can keep back."""

    def grant(self, now: float, shared: Numbers) -> None:
        """Grant to the first waiting request, with these permits of the platform's."""

    def sleep(self, now: float) -> None:
        """Wait outside of the round until a grant is possible again."""


class PlatformPool:
    """The quota of one platform."""

    def __init__(self, account: Account, clock: Clock) -> None:
        self.account = account
        self._clock = clock
        self._round: deque[Member] = deque()
        self._left = 0  # permits, in the turn of the first
        self._saved: dict[Member, int] = {}  # of earlier turns
        self._timer = Timer(self.serve)

    @property
    def limiter(self) -> Limiter:
        """The limiter of all client ids together."""
        return self.account.limiter

    def take(self, now: float, cost: int = 1) -> Numbers | None:
        """Take permits out of turn, if no gate waits for its turn."""
        return None if self._round else self.limiter.take(now, cost)

    def join(self, member: Member) -> None:
        """Let a gate take turns for as long as it is ready."""
        if not member.in_round:
            member.in_round = True
            self._round.append(member)
            if len(self._round) == 1:
                self._left = member.weight
        self.serve()

    def leave(self, member: Member) -> None:
        """Take a gate out of the round: it no longer shares this quota."""
        if member.in_round:
            if member is self._round[0]:
                self._next_turn(leaves=True)
            else:
                self._round.remove(member)
                self._saved.pop(member, None)
                member.in_round = False

    def nth_at(self, member: Member, count: int, now: float, cost: int = 1) -> float:
        """Return when a gate can get the last of `count` grants of `cost`, beside the gates that wait now."""
        others = sum(other.weight for other in self._round if other is not member)
        return self.limiter.nth_at(math.ceil(count * (member.weight + others) / member.weight), now, cost)

    def serve(self) -> None:
        """Grant all that can be granted now, in turn, and wake up for the next grant."""
        now = self._clock.monotonic()
        while self._round:
            first = self._round[0]
            cost = first.cost
            if cost > self._left and len(self._round) > 1:
                self._next_turn(leaves=False)
                continue
            if not first.is_ready(now):
                self._next_turn(leaves=True)
                first.sleep(now)
                continue
            shared = self.limiter.take(now, cost)
            if shared is None:
                break
            first.grant(now, shared)
            self._left -= cost
            if self._left <= 0:  # less than 0 only if nobody else was in the round
                self._next_turn(leaves=False)
        self._timer.set(self.limiter.opens_at(now, self._round[0].cost) if self._round else None)

    def _next_turn(self, *, leaves: bool) -> None:
        first = self._round.popleft()
        if leaves:
            first.in_round = False
        else:
            self._round.append(first)
            if self._left > 0:
                self._saved[first] = self._left
        self._left = self._round[0].weight + self._saved.pop(self._round[0], 0) if self._round else 0
