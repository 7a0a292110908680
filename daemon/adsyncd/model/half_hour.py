"""Half hours of UTC, in which the last day of all tenants is shown."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HALF_HOUR = timedelta(minutes=30)
HALF_HOURS = 48  # of a day
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class HalfHour:
    """A tenant's runs whose fire times are in one half hour, summed up: see Run. `runs_*`: by outcome, `open`: without.

    `not_pushed`: campaigns that failed or are dead letters.
    """

    tenant: str
    runs_succeeded: int = 0
    runs_partial: int = 0
    runs_failed: int = 0
    runs_abandoned: int = 0
    open: int = 0
    listed: int = 0
    pushed: int = 0
    not_pushed: int = 0
    requests: int = 0
    refused: int = 0
    skipped_ticks: int = 0
    waited_s: float = 0.0


def half_hour_of(instant: datetime) -> int:
    """Return the number of the half hour of an instant, counted from 1970."""
    return (instant - _EPOCH) // HALF_HOUR


def start_of(half_hour: int) -> datetime:
    """Return when a half hour begins."""
    return _EPOCH + half_hour * HALF_HOUR
