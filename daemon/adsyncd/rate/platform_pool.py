"""A platform's own quota, shared by its client ids: deficit round robin over the gates that are ready.

Each request costs one permit, so a turn is as many grants as the weight of a gate. A gate whose own quota is spent, or
at which no request waits, is not in the round: its share goes to the others. (M. Shreedhar, G. Varghese, "Efficient
Fair Queuing Using Deficit Round Robin", 1996.)
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
        self._grants_left = 0  # in the turn of the first
        self._timer = Timer(self.serve)

    @property
    def limiter(self) -> Limiter:
        """The limiter of all client ids together."""
        return self.account.limiter

    def take(self, now: float) -> Numbers | None:
        """Take permits out of turn, if no gate waits for its turn."""
        return None if self._round else self.limiter.take(now)

    def join(self, member: Member) -> None:
        """Let a gate take turns for as long as it is ready."""
        if not member.in_round:
            member.in_round = True
            self._round.append(member)
            if len(self._round) == 1:
                self._grants_left = member.weight
        self.serve()

    def leave(self, member: Member) -> None:
        """Take a gate out of the round: it no longer shares this quota."""
        if member.in_round:
            self._round.rotate(-self._round.index(member))
            self._next_turn(leaves=True)

    def nth_at(self, member: Member, count: int, now: float) -> float:
        """Return when a gate can get its grant after `count` - 1 others, beside the gates that wait now."""
        others = sum(other.weight for other in self._round if other is not member)
        return self.limiter.nth_at(math.ceil(count * (member.weight + others) / member.weight), now)

    def serve(self) -> None:
        """Grant all that can be granted now, in turn, and wake up for the next grant."""
        now = self._clock.monotonic()
        while self._round:
            first = self._round[0]
            if not first.is_ready(now):
                self._next_turn(leaves=True)
                first.sleep(now)
                continue
            shared = self.limiter.take(now)
            if shared is None:
                break
            first.grant(now, shared)
            self._grants_left -= 1
            if not self._grants_left:
                self._next_turn(leaves=False)
        self._timer.set(self.limiter.opens_at(now) if self._round else None)

    def _next_turn(self, *, leaves: bool) -> None:
        first = self._round.popleft()
        if leaves:
            first.in_round = False
        else:
            self._round.append(first)
        self._grants_left = self._round[0].weight if self._round else 0
