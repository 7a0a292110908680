"""The four ways in which platforms count requests against a quota: pure, on the caller's time line.

A request counts against all of its quotas or, if it is refused, against none. Where a platform meters by operation, a
request counts as several: its cost. The ways differ in which bursts they let through, which is what a client cannot see
and has to be safe against.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class MeteredQuota:
    """A platform's quota: `requests` per `window_s`."""

    requests: int
    window_s: float


@dataclass(frozen=True, slots=True)
class Reading:
    """A meter's state at the instant of a request, including it.

    `remaining` requests of cost 1 would still be accepted; `reset_s` seconds from now it is at least one more, if
    nobody else comes. If this meter `lacks` what the request costs, that is how long to wait.
    """

    quota: MeteredQuota
    remaining: int
    reset_s: float
    lacks: bool = False


class Meter(ABC):
    """Counts requests against one quota. Times are seconds, and never less than before."""

    def __init__(self, quota: MeteredQuota) -> None:
        self._quota = quota
        self._requests = quota.requests
        self._window_s = quota.window_s
        self._now = 0.0
        self._cost = 1  # of the last request
        self._lacks = False

    def has_room(self, now: float, cost: int = 1) -> bool:
        """Return whether a request that arrives at `now` and counts as `cost` would be accepted."""
        self._now = now
        self._cost = cost
        self._advance()
        self._lacks = self._remaining() < cost
        return not self._lacks

    @abstractmethod
    def count(self) -> None:
        """Count the last request: it is accepted."""

    def read(self) -> Reading:
        """Return the quota's state at the instant of the last request."""
        remaining = self._remaining()
        wanted = min(self._cost if self._lacks else remaining + 1, self._requests)
        reset_s = self._fits_in_s(wanted) if remaining < wanted else 0.0
        return Reading(self._quota, remaining, reset_s, self._lacks)

    @abstractmethod
    def _advance(self) -> None:
        """Forget requests that no longer count."""

    @abstractmethod
    def _remaining(self) -> int:
        """Return how many more requests would be accepted now."""

    @abstractmethod
    def _fits_in_s(self, wanted: int) -> float:
        """Return the seconds until `wanted` would be accepted, more than now and no more than the quota."""


class SlidingLog(Meter):
    """At most `requests` accepted in any trailing `window_s`, (t - window, t], to the instant."""

    def __init__(self, quota: MeteredQuota) -> None:
        super().__init__(quota)
        self._log: deque[float] = deque()

    def count(self) -> None:
        """Log the request, as often as it counts."""
        self._log.extend([self._now] * self._cost)

    def _advance(self) -> None:
        while self._log and self._log[0] + self._window_s <= self._now:
            self._log.popleft()

    def _remaining(self) -> int:
        return self._requests - len(self._log)

    def _fits_in_s(self, wanted: int) -> float:
        return self._log[wanted - self._remaining() - 1] + self._window_s - self._now


class FixedWindow(Meter):
    """At most `requests` in each window; windows start at the multiples of `window_s`."""

    def __init__(self, quota: MeteredQuota) -> None:
        super().__init__(quota)
        self._index = 0
        self._count = 0

    def count(self) -> None:
        """Count the request in this window."""
        self._count += self._cost

    def _advance(self) -> None:
        index = math.floor(self._now / self._window_s)
        if index != self._index:
            self._index, self._count = index, 0

    def _remaining(self) -> int:
        return self._requests - self._count

    def _fits_in_s(self, wanted: int) -> float:  # noqa: ARG002 - all come back at the window's end
        return (self._index + 1) * self._window_s - self._now


class TokenBucket(Meter):
    """A burst of `requests`, refilled continuously at `requests` per `window_s`; it starts full."""

    def __init__(self, quota: MeteredQuota) -> None:
        super().__init__(quota)
        self._rate = quota.requests / quota.window_s
        self._level = float(quota.requests)
        self._at = 0.0

    def count(self) -> None:
        """Take what the request counts as out of the bucket."""
        self._level -= self._cost

    def _advance(self) -> None:
        self._level = min(self._requests, self._level + (self._now - self._at) * self._rate)
        self._at = self._now

    def _remaining(self) -> int:
        return math.floor(self._level)

    def _fits_in_s(self, wanted: int) -> float:
        return (wanted - self._level) / self._rate


class WindowCounter(Meter):
    """Two fixed windows: the previous one's count, weighted by the share of it that still trails, plus this one's."""

    def __init__(self, quota: MeteredQuota) -> None:
        super().__init__(quota)
        self._index = 0
        self._previous = 0
        self._current = 0

    def count(self) -> None:
        """Count the request in this window."""
        self._current += self._cost

    def _advance(self) -> None:
        index = math.floor(self._now / self._window_s)
        if index != self._index:
            self._previous = self._current if index == self._index + 1 else 0
            self._index, self._current = index, 0

    def _remaining(self) -> int:
        return math.floor(self._requests - self._previous * (1 - self._elapsed()) - self._current)

    def _fits_in_s(self, wanted: int) -> float:
        return (self._frees_at(wanted) - self._elapsed()) * self._window_s

    def _elapsed(self) -> float:
        return self._now / self._window_s - self._index

    def _frees_at(self, wanted: int) -> float:
        """Return when `wanted` more requests fit, in windows since this one's start: in this one or in the next."""
        spare = self._requests - wanted - self._current
        if spare >= 0 and self._previous:
            return 1 - spare / self._previous
        return 2 - (self._requests - wanted) / max(self._current, self._requests - wanted)


class Algorithm(StrEnum):
    """The names that settings give to the meters."""

    SLIDING_LOG = "sliding-log"
    FIXED_WINDOW = "fixed-window"
    TOKEN_BUCKET = "token-bucket"  # noqa: S105 - a way of counting
    WINDOW_COUNTER = "window-counter"


_METERS: dict[Algorithm, type[Meter]] = {
    Algorithm.SLIDING_LOG: SlidingLog,
    Algorithm.FIXED_WINDOW: FixedWindow,
    Algorithm.TOKEN_BUCKET: TokenBucket,
    Algorithm.WINDOW_COUNTER: WindowCounter,
}


def meter(algorithm: Algorithm, quota: MeteredQuota) -> Meter:
    """Return a fresh meter for `quota`, which allows at least 1 request."""
    return _METERS[algorithm](quota)


def take(meters: Iterable[Meter], now: float, cost: int = 1) -> bool:
    """Accept a request and count it as `cost` on all `meters`, if all have room for it; else it counts on none."""
    meters = [*meters]
    accepted = all([each.has_room(now, cost) for each in meters])  # noqa: C419 - each of them is to learn what time it is
    if accepted:
        for each in meters:
            each.count()
    return accepted
