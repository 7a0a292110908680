"""The bucket of returning permits: what may be sent when, decided from plain numbers.

A bucket holds N permits. A permit is *held* from its grant until the answer's headers, then it *cools* for the window
and a guard, then it is *free*. The server counted the request somewhere between its sending and its answer, so a
permit that comes back a whole window after the answer can't ever make N + 1 in the server's window, wherever its
instant was. Held + cooling + free = N, always.

    free ──grant──► held ──answer, or given up──► cooling ──window + guard──► free
      ▲               │
      └───refund──────┘   only when the request provably never left

All times are seconds on one monotonic line, handed in by the caller.
"""

from collections.abc import Mapping
from heapq import heapify, heappop, heappush

from adsyncd.tenant import Quota

GUARD_SHARE = 0.001
GUARD_S = 0.005


def cools_for(quota: Quota) -> float:
    """Return for how many seconds a permit cools: the window, and a guard for what two clocks differ by."""
    return quota.per.total_seconds() * (1 + GUARD_SHARE) + GUARD_S


class Bucket:
    """The permits of one client id, each with a number. `cooling`: by number, the instants at which some are free."""

    __slots__ = ("_closed_until", "_cooling", "_cools_for", "_held", "_permits", "_returned", "_unused")

    def __init__(self, quota: Quota, cooling: Mapping[int, float] | None = None) -> None:
        self._permits = quota.requests
        self._cools_for = cools_for(quota)
        self._held = 0
        self._cooling = [(free_at, number) for number, free_at in (cooling or {}).items()]
        heapify(self._cooling)
        taken = frozenset(cooling or ())
        self._unused = (number for number in range(self._permits) if number not in taken)  # a quota may be huge
        self._returned: list[int] = []
        self._closed_until = 0.0

    def take(self, now: float) -> int | None:
        """Grant a permit and return its number, or None if none is free or the server has asked for silence."""
        cooling = self._cooling
        while cooling and cooling[0][0] <= now:
            self._return(heappop(cooling)[1])
        if self._held + len(cooling) >= self._permits or self.closed(now):
            return None
        self._held += 1
        return self._returned.pop() if self._returned else next(self._unused)

    def cool(self, number: int, now: float) -> None:
        """Let a held permit cool: its request was answered, or can no longer be told from one that was."""
        self._held -= 1
        heappush(self._cooling, (now + self._cools_for, number))

    def refund(self, number: int) -> None:
        """Free a held permit at once: its request never left this machine."""
        self._held -= 1
        self._return(number)

    def close(self, until: float) -> None:
        """Grant nothing before `until`, which the server asked for. An earlier instant changes nothing."""
        self._closed_until = max(self._closed_until, until)

    def closed(self, now: float) -> bool:
        """Whether the server has asked for silence."""
        return now < self._closed_until

    def opens_at(self, now: float) -> float | None:
        """Return the earliest instant at which a permit can be granted, or None if that takes an answer first."""
        missing = 1 - self.free(now)
        if missing <= 0:
            return max(now, self._closed_until)
        returning = sorted(free_at for free_at, _ in self._cooling if free_at > now)
        return max(returning[missing - 1], self._closed_until) if missing <= len(returning) else None

    def free(self, now: float) -> int:
        """Return how many permits are free, whether or not the server has asked for silence. Any thread may ask.

        It is below zero while more are out than the quota has by now.
        """
        return self._permits - self._held - sum(free_at > now for free_at, _ in list(self._cooling))

    @property
    def held(self) -> int:
        """How many permits are out with a request."""
        return self._held

    def _return(self, number: int) -> None:
        if number < self._permits:  # a number beyond dates from a larger quota
            self._returned.append(number)
