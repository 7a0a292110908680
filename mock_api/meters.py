"""The four ways in which platforms count requests against a quota: pure, on the caller's time line.

All of them leave a refused request uncounted. They differ in which bursts they let through, which is what a client
cannot see and has to be safe against.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter said to one request.

    `remaining` requests would still be accepted at this instant; `reset_s` seconds from now it is at least one more,
    if nobody else comes. For a refused request that is how long to wait.
    """

    accepted: bool
    remaining: int
    reset_s: float


class Meter(Protocol):
    """Counts the requests of one client id against its quota."""

    def take(self, now: float) -> Reading:
        """Accept and count a request that arrives at `now` (seconds, never less than before), or refuse it."""


class SlidingLog:
    """At most `requests` accepted in any trailing `window_s`, (t - window, t], to the instant."""

    def __init__(self, requests: int, window_s: float) -> None:
        self._requests = requests
        self._window_s = window_s
        self._log: deque[float] = deque()

    def take(self, now: float) -> Reading:
        """Accept if fewer than `requests` were accepted within the last `window_s`."""
        log = self._log
        while log and log[0] + self._window_s <= now:
            log.popleft()
        accepted = len(log) < self._requests
        if accepted:
            log.append(now)
        return Reading(accepted, self._requests - len(log), log[0] + self._window_s - now)


class FixedWindow:
    """At most `requests` in each window; windows start at the multiples of `window_s`."""

    def __init__(self, requests: int, window_s: float) -> None:
        self._requests = requests
        self._window_s = window_s
        self._index = 0
        self._count = 0

    def take(self, now: float) -> Reading:
        """Accept if this window's count is below `requests`."""
        index = math.floor(now / self._window_s)
        if index != self._index:
            self._index, self._count = index, 0
        accepted = self._count < self._requests
        self._count += accepted
        return Reading(accepted, self._requests - self._count, (index + 1) * self._window_s - now)


class TokenBucket:
    """A burst of `requests`, refilled continuously at `requests` per `window_s`; it starts full."""

    def __init__(self, requests: int, window_s: float) -> None:
        self._requests = requests
        self._rate = requests / window_s
        self._level = float(requests)
        self._at = 0.0

    def take(self, now: float) -> Reading:
        """Accept if the bucket holds a whole request."""
        self._level = min(self._requests, self._level + (now - self._at) * self._rate)
        self._at = now
        accepted = self._level >= 1
        self._level -= accepted
        whole = math.floor(self._level)
        return Reading(accepted, whole, (whole + 1 - self._level) / self._rate)


class WindowCounter:
    """Two fixed windows: the previous one's count, weighted by the share of it that still trails, plus this one's."""

    def __init__(self, requests: int, window_s: float) -> None:
        self._requests = requests
        self._window_s = window_s
        self._index = 0
        self._previous = 0
        self._current = 0

    def take(self, now: float) -> Reading:
        """Accept if the weighted count and this request together stay within `requests`."""
        index = math.floor(now / self._window_s)
        if index != self._index:
            self._previous = self._current if index == self._index + 1 else 0
            self._index, self._current = index, 0
        elapsed = now / self._window_s - index
        used = self._previous * (1 - elapsed) + self._current
        accepted = used + 1 <= self._requests
        self._current += accepted
        remaining = math.floor(self._requests - used - accepted)
        return Reading(accepted, remaining, (self._frees_at(remaining + 1) - elapsed) * self._window_s)

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


_METERS: dict[Algorithm, Callable[[int, float], Meter]] = {
    Algorithm.SLIDING_LOG: SlidingLog,
    Algorithm.FIXED_WINDOW: FixedWindow,
    Algorithm.TOKEN_BUCKET: TokenBucket,
    Algorithm.WINDOW_COUNTER: WindowCounter,
}


def meter(algorithm: Algorithm, requests: int, window_s: float) -> Meter:
    """Return a fresh meter that allows `requests` (at least 1) per `window_s`."""
    return _METERS[algorithm](requests, window_s)
