"""The four ways in which platforms count requests against a quota: pure, on the caller's time line.

A request counts against all of its quotas or, if it is refused, against none. The ways differ in which bursts they let
through, which is what a client cannot see and has to be safe against.
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

    `remaining` requests would still be accepted; `reset_s` seconds from now it is at least one more, if nobody else
    comes. After a refusal by this meter `remaining` is 0, and that is how long to wait.
    """

    quota: MeteredQuota
    remaining: int
    reset_s: float


class Meter(ABC):
    """Counts requests against one quota. Times are seconds, and never less than before."""

    def __init__(self, quota: MeteredQuota) -> None:
        self._quota = quota
        self._requests = quota.requests
        self._window_s = quota.window_s
        self._now = 0.0

    def has_room(self, now: float) -> bool:
        """Return whether a request that arrives at `now` would be accepted."""
        self._now = now
        self._advance()
        return self._remaining() > 0

    @abstractmethod
    def count(self) -> None:
        """Count an accepted request."""

    def read(self) -> Reading:
        """Return the quota's state at the instant of the last request."""
        remaining = self._remaining()
        return Reading(self._quota, remaining, self._more_in_s(remaining) if remaining < self._requests else 0.0)

    @abstractmethod
    def _advance(self) -> None:
        """Forget requests that no longer count."""

    @abstractmethod
    def _remaining(self) -> int:
        """Return how many more requests would be accepted now."""

    @abstractmethod
    def _more_in_s(self, remaining: int) -> float:
        """Return the seconds until more than `remaining` would be accepted."""


class SlidingLog(Meter):
    """At most `requests` accepted in any trailing `window_s`, (t - window, t], to the instant."""

    def __init__(self, quota: MeteredQuota) -> None:
        super().__init__(quota)
        self._log: deque[float] = deque()

    def count(self) -> None:
        """Log the request."""
        self._log.append(self._now)

    def _advance(self) -> None:
        while self._log and self._log[0] + self._window_s <= self._now:
            self._log.popleft()

    def _remaining(self) -> int:
        return self._requests - len(self._log)

    def _more_in_s(self, remaining: int) -> float:  # noqa: ARG002 - it is the oldest that leaves
        return self._log[0] + self._window_s - self._now


class FixedWindow(Meter):
    """At most `requests` in each window; windows start at the multiples of `window_s`."""

    def __init__(self, quota: MeteredQuota) -> None:
        super().__init__(quota)
        self._index = 0
        self._count = 0

    def count(self) -> None:
        """Count the request in this window."""
        self._count += 1

    def _advance(self) -> None:
        index = math.floor(self._now / self._window_s)
        if index != self._index:
            self._index, self._count = index, 0

    def _remaining(self) -> int:
        return self._requests - self._count

    def _more_in_s(self, remaining: int) -> float:  # noqa: ARG002 - all come back at the window's end
        return (self._index + 1) * self._window_s - self._now


class TokenBucket(Meter):
    """A burst of `requests`, refilled continuously at `requests` per `window_s`; it starts full."""

    def __init__(self, quota: MeteredQuota) -> None:
        super().__init__(quota)
        self._rate = quota.requests / quota.window_s
        self._level = float(quota.requests)
        self._at = 0.0

    def count(self) -> None:
        """Take a request out of the bucket."""
        self._level -= 1

    def _advance(self) -> None:
        self._level = min(self._requests, self._level + (self._now - self._at) * self._rate)
        self._at = self._now

    def _remaining(self) -> int:
        return math.floor(self._level)

    def _more_in_s(self, remaining: int) -> float:
        return (remaining + 1 - self._level) / self._rate


class WindowCounter(Meter):
    """Two fixed windows: the previous one's count, weighted by the share of it that still trails, plus this one's."""

    def __init__(self, quota: MeteredQuota) -> None:
        super().__init__(quota)
        self._index = 0
        self._previous = 0
        self._current = 0

    def count(self) -> None:
        """Count the request in this window."""
        self._current += 1

    def _advance(self) -> None:
        index = math.floor(self._now / self._window_s)
        if index != self._index:
            self._previous = self._current if index == self._index + 1 else 0
            self._index, self._current = index, 0

    def _remaining(self) -> int:
        return math.floor(self._requests - self._previous * (1 - self._elapsed()) - self._current)

    def _more_in_s(self, remaining: int) -> float:
        return (self._frees_at(remaining + 1) - self._elapsed()) * self._window_s

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


def take(meters: Iterable[Meter], now: float) -> bool:
    """Accept a request and count it on all `meters`, if all have room for it; else it counts on none."""
    meters = [*meters]
    accepted = all([each.has_room(now) for each in meters])  # noqa: C419 - each of them is to learn what time it is
    if accepted:
        for each in meters:
            each.count()
    return accepted
