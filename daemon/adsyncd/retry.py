"""Whether a failed request goes again, and after how long: exponential backoff with full jitter.

Full jitter (a uniform draw from zero to the exponential bound) spreads the retries of many clients best for the work
they cost; source: AWS Architecture Blog, "Exponential Backoff And Jitter".
"""

from dataclasses import dataclass
from random import Random

from adsyncd.errors import AdsyncdError, Retry, Unavailable

_MAX_ASKED_S = 300.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How often a request may be sent in all, and how its waits grow: bounds of `base_s` times 2, 4, 8, … seconds."""

    max_attempts: int
    base_s: float = 0.25
    max_s: float = 20.0


def wait_before_next(error: AdsyncdError, attempt: int, policy: Policy, random: Random) -> float | None:
    """Return how many seconds to wait before the next attempt, or None if there should be none.

    `attempt` counts from 1 and is the one that failed. A platform's own `Retry-After` on a 5xx is the least wait;
    one of more than five minutes is cut to that, as it can't be meant for this run.
    """
    if error.retry not in (Retry.AGAIN, Retry.SIGN_IN) or attempt >= policy.max_attempts:
        return None
    asked_s = (isinstance(error, Unavailable) and error.after_s) or 0.0
    return min(asked_s, _MAX_ASKED_S) + backoff(attempt, policy, random)


def backoff(attempt: int, policy: Policy, random: Random) -> float:
    """Return a uniform draw from zero to the exponential bound of the attempt, in seconds."""
    return random.uniform(0.0, min(policy.max_s, policy.base_s * 2.0**attempt))
