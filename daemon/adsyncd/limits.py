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

from bisect import bisect_right
from collections import deque

from adsyncd.tenant import Quota

GUARD_SHARE = 0.001
GUARD_S = 0.005


class Bucket:
    """The permits of one client id."""

    __slots__ = ("_closed_until", "_cooling", "_held", "permits", "window_s")

    def __init__(self, quota: Quota) -> None:
        self.permits = quota.requests
        self.window_s = quota.per.total_seconds()
        self._held = 0
        self._cooling: deque[float] = deque()  # instants at which permits become free, earliest first
        self._closed_until = 0.0

    def take(self, now: float) -> bool:
        """Grant a permit, if there is a free one and the server has not asked for silence."""
        cooling = self._cooling
        while cooling and cooling[0] <= now:
            cooling.popleft()
        if self._held + len(cooling) >= self.permits or now < self._closed_until:
            return False
        self._held += 1
        return True

    def cool(self, now: float) -> None:
        """Let a held permit cool: its request was answered, or can no longer be told from one that was."""
        self._held -= 1
        self._cooling.append(now + self.window_s * (1 + GUARD_SHARE) + GUARD_S)

    def refund(self) -> None:
        """Free a held permit at once: its request never left this machine."""
        self._held -= 1

    def close(self, until: float) -> None:
        """Grant nothing before `until`, which the server asked for. An earlier instant changes nothing."""
        self._closed_until = max(self._closed_until, until)

    def opens_at(self, now: float) -> float | None:
        """Return the earliest instant at which a permit can be granted, or None if that takes an answer first."""
        free = self.free(now)
        if free > 0:
            return max(now, self._closed_until)
        if self._cooling:
            return max(self._cooling[0], self._closed_until)
        return None

    def free(self, now: float) -> int:
        """Return how many permits are free, whether or not the server has asked for silence. Any thread may ask."""
        cooling = list(self._cooling)
        return self.permits - self._held - (len(cooling) - bisect_right(cooling, now))

    @property
    def held(self) -> int:
        """How many permits are out with a request."""
        return self._held
