"""A platform's own quota, shared by its tenants: by deficit round robin over those that could go now.

Each request costs one permit, so a turn is as many grants as the weight of a gate. A gate whose own quota is used up,
or at which nobody waits, is not in the round: what it leaves over is the others'. (M. Shreedhar, G. Varghese,
"Efficient Fair Queuing Using Deficit Round Robin", 1996.)
"""

import math
from collections import deque
from typing import Protocol

from adsyncd.clock import Clock
from adsyncd.rate.account import Account
from adsyncd.rate.bucket import Limits, Numbers
from adsyncd.rate.timer import Alarm


class Member(Protocol):
    """A gate, as the round sees it."""

    weight: int
    in_round: bool

    def could_go(self, now: float) -> bool:
        """Say whether somebody waits who has only the platform's quota before him."""

    def grant(self, now: float, shared: Numbers) -> None:
        """Let the first of those who wait go, with these permits of the platform's."""

    def rest(self, now: float) -> None:
        """Take note that the round goes on without this gate."""


class Pool:
    """The quota of one platform."""

    def __init__(self, account: Account, clock: Clock) -> None:
        self.account = account
        self._clock = clock
        self._round: deque[Member] = deque()
        self._grants_left = 0  # in the turn of the first
        self._alarm = Alarm(self.serve)

    @property
    def limits(self) -> Limits:
        """What bounds all tenants together."""
        return self.account.limits

    def take(self, now: float) -> Numbers | None:
        """Take permits out of turn, which can be while nobody waits for his."""
        return None if self._round else self.limits.take(now)

    def join(self, member: Member) -> None:
        """Let a gate take its turns for as long as it could go."""
        if not member.in_round:
            member.in_round = True
            self._round.append(member)
            if len(self._round) == 1:
                self._grants_left = member.weight
        self.serve()

    def leave(self, member: Member) -> None:
        """Let a gate go its own way, which has no part in this quota any more."""
        if member.in_round:
            self._round.rotate(-self._round.index(member))
            self._next_turn(leaves=True)

    def nth_at(self, member: Member, count: int, now: float) -> float:
        """Return when a gate can have its grant after `count` - 1 others, beside those that wait now."""
        others = sum(other.weight for other in self._round if other is not member)
        return self.limits.nth_at(math.ceil(count * (member.weight + others) / member.weight), now)

    def serve(self) -> None:
        """Grant what can be granted now, in turn, and wake up for the next."""
        now = self._clock.monotonic()
        while self._round:
            first = self._round[0]
            if not first.could_go(now):
                self._next_turn(leaves=True)
                first.rest(now)
                continue
            shared = self.limits.take(now)
            if shared is None:
                break
            first.grant(now, shared)
            self._grants_left -= 1
            if not self._grants_left:
                self._next_turn(leaves=False)
        self._alarm.set(self.limits.opens_at(now) if self._round else None)

    def _next_turn(self, *, leaves: bool) -> None:
        first = self._round.popleft()
        if leaves:
            first.in_round = False
        else:
            self._round.append(first)
        self._grants_left = self._round[0].weight if self._round else 0
