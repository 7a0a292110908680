"""What failed is left alone for a while: longer and longer, and in no step with others that failed beside it.

Meanwhile whoever wants it hears the same error at once, so that a thousand who want it are no more load than one.
"""

from collections.abc import Callable
from random import Random

from adsyncd.clock import Clock
from adsyncd.errors import CredentialsError

_FIRST_S, _LONGEST_S = 1.0, 30.0


class Backoff:
    """Remembers the last failure, or that there was none. `changed` is called whenever something came of an attempt."""

    def __init__(self, clock: Clock, random: Random, changed: Callable[[], None] = lambda: None) -> None:
        self._clock = clock
        self._random = random
        self._changed = changed
        self._failure: CredentialsError | None = None
        self._failures = 0
        self._until = 0.0

    @property
    def failure(self) -> CredentialsError | None:
        """How the last attempt failed, or None if it did not."""
        return self._failure

    @property
    def wait_s(self) -> float:
        """How many seconds are left until the next attempt."""
        return max(0.0, self._until - self._clock.monotonic()) if self._failure else 0.0

    def check(self) -> None:
        """Raise the last failure if it is too early for another attempt."""
        if self._failure and self.wait_s:
            raise self._failure.with_traceback(None)

    def fail(self, error: CredentialsError) -> None:
        """Take note of a failed attempt; one that was under way when another failed doesn't lengthen the wait."""
        if not self.wait_s:
            bound_s = min(_LONGEST_S, _FIRST_S * 2.0**self._failures)
            self._failures = min(self._failures + 1, 10)
            self._until = self._clock.monotonic() + bound_s * self._random.uniform(0.5, 1.0)
        self._failure = error
        self._changed()

    def succeed(self) -> None:
        """Take note that an attempt went well."""
        self._failure, self._failures = None, 0
        self._changed()
