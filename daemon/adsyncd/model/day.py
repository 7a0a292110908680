"""One day of a tenant's history: its runs, summed up."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import UTC, date
from typing import Any

from adsyncd.model.run import Run


@dataclass(frozen=True, slots=True)
class Day:
    """The ended runs of a tenant whose fire times are on one day in UTC.

    `runs_*`: the runs by outcome. `longest_s`: the duration of the longest run. `error`: that of the last run with one.
    All else are sums: see Run.
    """

    tenant: str
    day: date
    runs_succeeded: int = 0
    runs_partial: int = 0
    runs_failed: int = 0
    runs_abandoned: int = 0
    listed: int = 0
    pushed: int = 0
    skipped: int = 0
    stored: int = 0
    dead_lettered: int = 0
    failed: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0
    skipped_ticks: int = 0
    waited_s: float = 0.0
    longest_s: float = 0.0
    error: str | None = None

    @property
    def runs(self) -> int:
        """All runs."""
        return self.runs_succeeded + self.runs_partial + self.runs_failed + self.runs_abandoned

    def __add__(self, later: "Day") -> "Day":
        """Return the same day with later runs of it."""
        sums = {name: getattr(self, name) + getattr(later, name) for name in SUMS}
        return replace(self, **sums, longest_s=max(self.longest_s, later.longest_s), error=later.error or self.error)


SUMS = tuple(field.name for field in fields(Day) if field.name not in {"tenant", "day", "longest_s", "error"})
_OF_RUN = tuple(name for name in SUMS if name in Run.__slots__)


def by_day(days: Iterable[Day], runs: Iterable[Run]) -> list[Day]:
    """Return `days` together with ended `runs`, the oldest day of each tenant first."""
    found = {(day.tenant, day.day): day for day in days}
    for run in sorted(runs, key=lambda run: run.fire_time):
        this = _of(run)
        before = found.get((this.tenant, this.day))
        found[this.tenant, this.day] = before + this if before else this
    return [found[key] for key in sorted(found)]


def _of(run: Run) -> Day:
    counts: dict[str, Any] = {name: getattr(run, name) for name in _OF_RUN}
    if run.outcome:
        counts[f"runs_{run.outcome}"] = 1
    if run.ended_at:
        counts["longest_s"] = (run.ended_at - run.started_at).total_seconds()
    return Day(run.tenant, run.fire_time.astimezone(UTC).date(), **counts, error=run.error)
