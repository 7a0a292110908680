"""Whether a failed request goes again, and after how long: exponential backoff with full jitter, within a budget.

Full jitter (a uniform draw from zero to the exponential bound) spreads the retries of many clients best for the work
they cost; source: AWS Architecture Blog, "Exponential Backoff And Jitter". The budget is botocore's retry quota, save
that retries wait, and do not fail, when it is used up.
"""

from dataclasses import dataclass
from random import Random

from adsyncd.errors import AdsyncdError, Retry, Unavailable

LONGEST_ASKED_S = 300.0  # a longer wait that a platform states is cut to this

_BUDGET = 20.0  # retries
_SUCCESS_ADDS = 0.2
_ONE_COMES_IN_S = 10.0
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Policy:
    """The most attempts of a request, and the bounds of the waits between them: `base_s` times 2, 4, 8, … seconds."""

    max_attempts: int
    base_s: float = 0.25
    max_s: float = 20.0


def wait_before_next(error: AdsyncdError, attempt: int, policy: Policy, random: Random) -> float | None:
    """Return how many seconds to wait before the next attempt, or None if there should be none.

    `attempt`: the one that failed, from 1. A wait that the platform states is the minimum; more than five minutes are
    cut to that.
    """
    if error.retry is not Retry.AGAIN or attempt >= policy.max_attempts:
        return None
    asked_s = (isinstance(error, Unavailable) and error.after_s) or 0.0
    return min(asked_s, LONGEST_ASKED_S) + backoff(attempt, policy, random)


def backoff(attempt: int, policy: Policy, random: Random) -> float:
    """Return a uniform draw from zero to the exponential bound of the attempt, in seconds."""
    return random.uniform(0.0, min(policy.max_s, policy.base_s * 2.0**attempt))


class RetryBudget:
    """The number of retries left, so that retries do not hammer a sick platform.

    A retry takes one. A request that succeeds gives back what its retries took, or a little if it had none. One returns
    every ten seconds, so a retry without budget waits and does not fail.
    """

    __slots__ = ("_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = _BUDGET
        self._at = now  # when `_left` was counted; monotonic, as each `now`

    def take(self, now: float) -> float:
        """Take a retry and return 0, or return in how many seconds one returns even if no request succeeds."""
        self._left = min(_BUDGET, self._left + (now - self._at) / _ONE_COMES_IN_S)
        self._at = now
        if self._left < 1 - _ROUNDING:
            return (1 - self._left) * _ONE_COMES_IN_S
        self._left = max(0.0, self._left - 1)  # never in debt for a rounding
        return 0.0

    def succeeded(self, attempt: int) -> None:
        """Count a request that succeeded in this attempt, from 1."""
        self._left = min(_BUDGET, self._left + (attempt - 1 or _SUCCESS_ADDS))
