"""One run of one tenant: its name, its counts while it goes, and its record when it is over."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class Outcome(StrEnum):
    """How a run ended.

    `SUCCEEDED`: the listing was complete and every campaign was pushed or skipped. `PARTIAL`: some campaigns were
    not, or the listing missed some. `FAILED`: it could not list them. `ABANDONED`: it ran out of time.
    """

    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    ABANDONED = "abandoned"


@dataclass(slots=True)
class Tally:
    """A run's counts, added to while it goes: distinct campaigns, and the requests that they took.

    `requests` are all metered requests sent, `retries` those of them that repeat one that failed, `refused` the
    429s among the answers; `waited_s` is the time in which at least one request waited for quota, in seconds, and
    `waits_until` the instant at which the one that waits now will go on, if that is known.
    """

    listed: int = 0
    pushed: int = 0
    skipped: int = 0
    dead_lettered: int = 0
    failed: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0
    waited_s: float = 0.0
    waits_until: datetime | None = None

    @property
    def settled(self) -> int:
        """Campaigns whose outcome is known."""
        return self.pushed + self.skipped + self.dead_lettered + self.failed


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is recorded. While it goes, `ended_at` and `outcome` are None."""

    tenant: str
    run_id: str
    fire_time: datetime
    started_at: datetime
    trace_id: str
    ended_at: datetime | None = None
    outcome: Outcome | None = None
    listed: int = 0
    pushed: int = 0
    skipped: int = 0
    dead_lettered: int = 0
    failed: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0
    waited_s: float = 0.0
    error: str | None = None


def run_id(tenant_id: str, fire_time: datetime) -> str:
    """Return the name of a tenant's run for a fire time: `acme-20261125T101500.000Z`, one for one."""
    stamp = fire_time.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    return f"{tenant_id}-{stamp}Z"
