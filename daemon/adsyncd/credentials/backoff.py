"""Exponential backoff with jitter. During a wait every caller gets the last error at once, so a thousand cost one."""

from collections.abc import Callable
from random import Random

from adsyncd.clock import Clock
from adsyncd.errors import CredentialsError

_FIRST_S, _LONGEST_S = 1.0, 30.0


class Backoff:
    """Holds the last failure, if the last attempt failed. `changed` is called after each outcome."""

    def __init__(self, clock: Clock, random: Random, changed: Callable[[], None] = lambda: None) -> None:
        self._clock = clock
        self._random = random
        self._changed = changed
        self._failure: CredentialsError | None = None
        self._failures = 0
        self._until = 0.0

    @property
    def failure(self) -> CredentialsError | None:
        """The error of the last attempt, or None if it succeeded."""
        return self._failure

    @property
    def wait_s(self) -> float:
        """Seconds until the next attempt is allowed."""
        return max(0.0, self._until - self._clock.monotonic()) if self._failure else 0.0

    def check(self) -> None:
        """Raise the last failure if the next attempt is not allowed yet."""
        if self._failure and self.wait_s:
            raise self._failure.with_traceback(None)

    def fail(self, error: CredentialsError) -> None:
        """Record a failed attempt. Attempts that were in flight together lengthen the wait once."""
        if not self.wait_s:
            bound_s = min(_LONGEST_S, _FIRST_S * 2.0**self._failures)
            self._failures = min(self._failures + 1, 10)
            self._until = self._clock.monotonic() + bound_s * self._random.uniform(0.5, 1.0)
        self._failure = error
        self._changed()

    def succeed(self) -> None:
        """Record a successful attempt."""
        self._failure, self._failures = None, 0
        self._changed()
