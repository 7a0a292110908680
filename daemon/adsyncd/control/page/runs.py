"""Runs in a table: when, how they ended, how late they were, and what took their time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote

from adsyncd.control.page.drawing import Svg, times
from adsyncd.control.page.words import When, at, number, percent, several, took
from adsyncd.model.run import Outcome, Run
from adsyncd.model.status import RunProgress
from adsyncd.rate.wait import WaitReason

_SIGNS = {
    Outcome.SUCCEEDED: "idle",
    Outcome.PARTIAL: "partial",
    Outcome.FAILED: "failing",
    Outcome.ABANDONED: "failing",
}
_QUOTAS = {WaitReason.QUOTA, WaitReason.PLATFORM_QUOTA}
_WORTH_SAYING = 0.1  # the share of a run's time from which a wait is named
_LATE_S = 1.0


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace of a run: its id, and where it is shown, if that is configured."""

    id: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class RunItem:
    """A row of the table. `sign`: the class of its sign; `mostly`: the wait that took the most time."""

    path: str
    id: str
    due: When
    outcome: str
    sign: str
    late: str
    skipped: str
    took: str
    times: Svg
    mostly: str
    pushed: str
    not_pushed: int
    requests: str
    refused: int
    trace: Trace


def run_item(run: Run, now: datetime, trace_url: str | None = None) -> RunItem:
    """Return the row of a run."""
    spent_s = duration_s(run, now)
    return RunItem(
        path=run_path(run.tenant, run.run_id),
        id=run.run_id,
        due=at(run.fire_time, now),
        outcome=str(run.outcome or "running"),
        sign=_SIGNS[run.outcome] if run.outcome else "running",
        late=took(run.late_s) if run.late_s >= _LATE_S else "",
        skipped=several(run.skipped_ticks, "tick") if run.skipped_ticks else "",
        took=took(spent_s),
        times=_times(run.waits, spent_s),
        mostly=_mostly(run.waits, spent_s),
        pushed=f"{number(run.pushed + run.stored)}/{number(run.listed)}",
        not_pushed=run.failed + run.dead_lettered,
        requests=number(run.requests),
        refused=run.refused,
        trace=trace(run, trace_url),
    )


def in_progress(run: Run, progress: RunProgress | None) -> Run:
    """Return a run with the counts that it has in this process: the database knows those of its last page."""
    if progress is None or progress.run_id != run.run_id:
        return run
    known = {name: getattr(progress, name) for name in RunProgress.__slots__ if name in Run.__slots__}
    return replace(run, **{**known, "listed": max(progress.listed, progress.announced)})


def trace(run: Run, trace_url: str | None) -> Trace:
    """Return the trace of a run, with its address if `trace_url` has a place for the id."""
    return Trace(run.trace_id, trace_url.replace("{trace_id}", quote(run.trace_id, safe="")) if trace_url else "")


def run_path(tenant_id: str, run_id: str) -> str:
    """Return the path of a run's page."""
    return f"/tenants/{quote(tenant_id, safe='')}/runs/{quote(run_id, safe='')}"


def duration_s(run: Run, now: datetime) -> float:
    """Return how long a run took, or takes so far."""
    return max(0.0, ((run.ended_at or now) - run.started_at).total_seconds())


def waited_share(run: Run, now: datetime) -> float:
    """Return the share of a run's time in which it waited."""
    spent_s = duration_s(run, now)
    return min(1.0, sum(run.waits.values()) / spent_s) if spent_s else 0.0


def waits_in_words(waits: Mapping[WaitReason, float]) -> str:
    """Return the waits of a run, the longest first: `1m 59s for quota, 3 s for backoff`."""
    longest = sorted(waits.items(), key=lambda one: -one[1])
    return ", ".join(f"{took(seconds)} for {reason}" for reason, seconds in longest if seconds >= 0.05)  # noqa: PLR2004 - the digit that is shown


def _times(waits: Mapping[WaitReason, float], spent_s: float) -> Svg:
    quotas = sum(seconds for reason, seconds in waits.items() if reason in _QUOTAS)
    others = sum(seconds for reason, seconds in waits.items() if reason not in _QUOTAS)
    whole = max(spent_s, quotas + others, 0.001)
    parts = {"work": (whole - quotas - others) / whole, "wait": quotas / whole, "w-other": others / whole}
    said = waits_in_words(waits)
    return times(parts, f"took {took(spent_s)}; waited {said}" if said else f"took {took(spent_s)}, without waits")


def _mostly(waits: Mapping[WaitReason, float], spent_s: float) -> str:
    if not waits or not spent_s:
        return ""
    reason, seconds = max(waits.items(), key=lambda one: one[1])
    share = min(1.0, seconds / spent_s)
    return f"{percent(share)} {reason}" if share >= _WORTH_SAYING else ""
