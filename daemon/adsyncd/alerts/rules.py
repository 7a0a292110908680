"""Decides which alerts of a tenant fire, from its latest runs, its sign-in and its dead letters.

A rule without evidence leaves its alert unchanged: a run that listed nothing says nothing about the success rate. So
alerts begin and end only on evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise, takewhile

from adsyncd.model.alert import AlertName
from adsyncd.model.run import Listing, Outcome, Run
from adsyncd.model.schedule import next_fire, trigger
from adsyncd.model.tenant import AlertSettings, Every, Tenant
from adsyncd.runs import lateness
from adsyncd.runs.facts import Facts as TenantFacts
from adsyncd.runs.success import got_through, met, through

SAMPLE = 10  # campaigns that a run must list for its success rate to count
LATE_RUNS = 3  # in a row, each of which skipped a tick
LATE_TICKS = 3  # skipped by one run
GROWING_RUNS = 3  # in a row, each with more dead letters than the one before
AGED = timedelta(hours=24)
_HISTORY = 10  # runs to search for those that did not fail

Verdicts = Mapping[AlertName, str | None]


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about a tenant after a run.

    `runs`: the latest ended runs, newest first. `sign_in_error`: why the last sign-in failed, None if it succeeded;
    `sign_in_retried`: a retry may succeed, as when the platform or Vault does not answer.
    `oldest_dead_letter`: since when the oldest open dead letter is one, None without any.
    """

    runs: Sequence[Run]
    sign_in_error: str | None
    oldest_dead_letter: datetime | None
    sign_in_retried: bool = False


def runs_needed(settings: AlertSettings) -> int:
    """Return how many runs the rules need."""
    return max(settings.failures, _HISTORY)


def judge(settings: AlertSettings, facts: Facts, now: datetime) -> Verdicts:
    """Return what is wrong, by alert; None if nothing is. An alert that is absent from the result stays unchanged."""
    latest = facts.runs[0]
    verdicts = {
        AlertName.RUNS_FAILING: _failing(settings, facts.runs),
        AlertName.DEAD_LETTERS_GROWING: _growing(facts.runs),
        AlertName.DEAD_LETTERS_AGEING: _ageing(facts.oldest_dead_letter, now),
    }
    if met(settings, latest):
        verdicts[AlertName.LOW_SUCCESS_RATE] = None
    elif latest.listed >= SAMPLE:
        verdicts[AlertName.LOW_SUCCESS_RATE] = (
            f"{through(latest)} of {latest.listed} campaigns succeeded, "
            f"and alerts.min_success_rate is {settings.min_success_rate:g}"
        )
    if latest.listing is Listing.COLLAPSED:
        verdicts[AlertName.LISTING_COLLAPSED] = f"the listing has lost more than half: {latest.error}"
    elif latest.listing is Listing.COMPLETE:
        verdicts[AlertName.LISTING_COLLAPSED] = None
    if facts.sign_in_error is None:
        verdicts[AlertName.SIGN_IN_FAILING] = None
    elif latest.outcome is Outcome.FAILED and (
        not facts.sign_in_retried or _failed_in_a_row(facts.runs) >= settings.failures
    ):
        verdicts[AlertName.SIGN_IN_FAILING] = f"the run failed without a sign-in: {facts.sign_in_error}"
    if got_through(settings, latest):
        verdicts[AlertName.NO_SUCCESS] = None
    return verdicts


def late(facts: TenantFacts) -> Verdicts:
    """Return whether a tenant is late, by its latest runs and the one in progress, if that is known."""
    runs_skipped = [run.skipped_ticks for run in facts.runs]
    in_progress = facts.progress.skipped_ticks if facts.progress else 0
    in_a_row = len(runs_skipped) >= LATE_RUNS and all(runs_skipped[:LATE_RUNS])
    if in_a_row or max([in_progress, *runs_skipped[:1]]) >= LATE_TICKS:
        found = lateness.late(facts)
        return {AlertName.LATE: f"{found.sentence} {found.causes[0]}"} if found else {}
    return {} if in_progress or any(runs_skipped[:1]) else {AlertName.LATE: None}


def overdue_at(tenant: Tenant, since: datetime, took: timedelta) -> datetime | None:
    """Return when a tenant is overdue, if its last success ended at `since` and took `took`; None if never.

    That is one interval of its schedule more than runs may fail in a row. The run's length is added, so that a tenant
    whose runs outlast its intervals, and skip some, raises no alert while they succeed.
    """
    if isinstance(tenant.schedule, Every):
        return since + _intervals(tenant) * tenant.schedule.interval + took
    times = trigger(tenant.schedule, tenant.id)
    due: datetime | None = since
    for _ in range(_intervals(tenant)):
        due = due and next_fire(times, due)
    return due and due + took


def no_success(tenant: Tenant, since: datetime) -> str:
    """Return the summary of the alert that no run succeeded since then."""
    lasted = f"since {since:%Y-%m-%d %H:%M} UTC, for {_intervals(tenant)} intervals"
    return f"no run has met alerts.min_success_rate {lasted}"


def _intervals(tenant: Tenant) -> int:
    return tenant.alerts.failures + 1


def _failing(settings: AlertSettings, runs: Sequence[Run]) -> str | None:
    failed = _failed_in_a_row(runs)
    if failed < settings.failures:
        return None
    which = "the last run failed" if failed == 1 else f"{failed} runs in a row failed, the last"
    return f"{which} because {runs[0].error}"


def _failed_in_a_row(runs: Sequence[Run]) -> int:
    return len(list(takewhile(lambda run: run.outcome in (Outcome.FAILED, Outcome.ABANDONED), runs)))


def _growing(runs: Sequence[Run]) -> str | None:
    """Compare only runs that listed the campaigns: a failed run counts too few dead letters."""
    counts = [run.dead_lettered for run in runs if run.outcome in (Outcome.SUCCEEDED, Outcome.PARTIAL)]
    latest = counts[: GROWING_RUNS + 1]
    if len(latest) <= GROWING_RUNS or not all(newer > older for newer, older in pairwise(latest)):
        return None
    return f"{latest[0]} campaigns are dead letters, {latest[0] - latest[-1]} more than {GROWING_RUNS} runs ago"


def _ageing(oldest: datetime | None, now: datetime) -> str | None:
    if oldest is None or now - oldest < AGED:
        return None
    return f"a campaign is a dead letter since {oldest:%Y-%m-%d %H:%M} UTC; replay or discard it"
