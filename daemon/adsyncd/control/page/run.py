"""The view of one run: what was not pushed first, and why; then what took its time, and what was pushed."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from adsyncd.control.page.frame import Notice, notices
from adsyncd.control.page.runs import Trace, duration_s, in_progress, run_path, trace, waits_in_words
from adsyncd.control.page.tenant import Pair
from adsyncd.control.page.tenants import tenant_path
from adsyncd.control.page.trail import FIRST, Pager, Trail
from adsyncd.control.page.words import Foreign, When, at, for_, foreign, number, several, took
from adsyncd.model.campaign import PushState
from adsyncd.model.failure import RunDetails, Unpushed
from adsyncd.model.run import Outcome, Run
from adsyncd.model.status import DaemonStatus, RunProgress

_LATE_S = 1.0
_NOT_PUSHED = re.compile("[0-9]+ of [0-9]+ campaigns? (?:was|were) not pushed(?:, the first because (.*))?", re.DOTALL)
_MOST_REASONS = 5
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class UnpushedItem:
    """A campaign that was not pushed. `kind`: the class of its state."""

    id: Foreign
    name: Foreign | None
    state: str
    kind: str
    reason: Foreign
    attempts: int
    since: When
    lasts: When


@dataclass(frozen=True, slots=True)
class RunFact:
    """A number of the run."""

    label: str
    value: str
    small: str = ""


@dataclass(frozen=True, slots=True)
class RunView:
    """The values of the template. `severity`: the class of the box; `said`: its sentences."""

    id: str
    tenant: str
    tenant_path: str
    due: When
    sentence: str
    severity: str
    said: Sequence[str]
    fix: str
    notices: Sequence[Notice]
    facts: Sequence[RunFact]
    trace: Trace
    unpushed: Sequence[UnpushedItem]
    pager: Pager | None
    untold: str
    counts: Sequence[Pair]


def run_view(
    daemon: DaemonStatus,
    details: RunDetails,
    now: datetime,
    *,
    progress: RunProgress | None = None,
    trace_url: str | None = None,
    trail: Trail = FIRST,
    following: str | None = None,
) -> RunView:
    """Return the values of a run's page.

    `progress`: of the tenant's run in progress. `following`: the cursor of the next page of campaigns.
    """
    run = in_progress(details.run, progress)
    return RunView(
        id=run.run_id,
        tenant=run.tenant,
        tenant_path=tenant_path(run.tenant),
        due=at(run.fire_time, now),
        sentence=_sentence(run),
        severity=_severity(run),
        said=list(_said(run, details.unpushed)),
        fix=f"adsyncd dead-letters replay --tenant {run.tenant}" if run.dead_lettered else "",
        notices=notices(daemon, now),
        facts=list(_facts(run, now)),
        trace=trace(run, trace_url),
        unpushed=[_item(one, now) for one in details.unpushed],
        pager=trail.pager(
            run_path(run.tenant, run.run_id), {}, shown=len(details.unpushed), total=None, following=following
        ),
        untold=_untold(run, details, last=following is None),
        counts=list(_counts(run)),
    )


def _sentence(run: Run) -> str:
    failed, done = run.failed + run.dead_lettered, run.pushed + run.stored
    verb, campaigns = _verb(run), several(run.listed, "campaign")
    if run.outcome is None:
        return f"The run is in progress: {number(done + run.skipped + failed)} of {campaigns} are done."
    if run.was_cancelled:
        return f"An operator cancelled the run: {number(done)} of {campaigns} were {verb}."
    if run.outcome is Outcome.ABANDONED:
        return f"The run passed its deadline: {number(done)} of {campaigns} were {verb}."
    if run.outcome is Outcome.FAILED:
        return f"The run failed: it could not list all campaigns{f'; {number(done)} were {verb}' if done else ''}."
    if failed:
        were = "was" if failed == 1 else "were"
        return f"{number(done)} of {campaigns} were {verb}, {number(failed)} {were} not."
    return _all_well(run, done)


def _all_well(run: Run, done: int) -> str:
    campaigns = several(run.listed, "campaign")
    if not run.listed:
        return "The platform listed no campaigns."
    if run.skipped:
        return f"{number(done)} of {campaigns} were {_verb(run)}; the others had not changed."
    return f"All {campaigns} were {_verb(run)}." if run.listed > 1 else f"The campaign was {_verb(run)}."


def _verb(run: Run) -> str:
    return "stored" if run.stored and not run.pushed else "pushed"


def _severity(run: Run) -> str:
    if run.outcome in {Outcome.FAILED, Outcome.ABANDONED} and not run.was_cancelled:
        return "critical"
    return "warning" if run.failed or run.dead_lettered or run.outcome is Outcome.PARTIAL else ""


def _said(run: Run, unpushed: Sequence[Unpushed]) -> Iterator[str]:
    if run.dead_lettered:
        be = "is a dead letter" if run.dead_lettered == 1 else "are dead letters"
        yield f"{number(run.dead_lettered)} {be}{_reasons(unpushed, PushState.DEAD_LETTERED)}. Runs skip dead letters."
    if tried := run.failed - run.untried:
        again = "The next run tries again."
        yield f"{number(tried)} failed{_reasons(unpushed, PushState.FAILED)}. {again}"
    if run.untried:
        yield f"{number(run.untried)} were not tried: the run was cut short."
    if run.error and not _is_said(run.error, unpushed):
        yield f"Error: {foreign(run.error, _LONGEST_REASON).short}"
    if run.note:
        yield f"Note: {foreign(run.note, _LONGEST_REASON).short}"


def _is_said(error: str, unpushed: Sequence[Unpushed]) -> bool:
    """Return whether an error says no more than that campaigns which are shown were not pushed."""
    found = _NOT_PUSHED.fullmatch(error)
    return found is not None and found[1] in {None, *(one.reason for one in unpushed)} and bool(unpushed)


def _reasons(unpushed: Sequence[Unpushed], state: PushState) -> str:
    """Return the reasons of the campaigns that are shown, in words that follow a number of campaigns."""
    reasons = list(dict.fromkeys(one.reason for one in unpushed if one.state is state and one.reason))
    if not reasons:
        return ""
    if len(reasons) == 1:
        return f", for one reason: {foreign(reasons[0], _LONGEST_REASON).short}"
    first = "; ".join(foreign(one, _LONGEST_REASON).short for one in reasons[:_MOST_REASONS])
    return f", for {len(reasons)} reasons: {first}{'; and others' if len(reasons) > _MOST_REASONS else ''}"


def _facts(run: Run, now: datetime) -> Iterator[RunFact]:
    late = f"began {took(run.late_s)} late" if run.late_s >= _LATE_S else "began on time"
    skipped = f"{late}, {several(run.skipped_ticks, 'tick')} skipped" if run.skipped_ticks else late
    yield RunFact("Took" if run.ended_at else "Takes so far", took(duration_s(run, now)), skipped)
    yield RunFact("Requests", number(run.requests), several(run.retries, "retry").replace("retrys", "retries"))
    yield RunFact("Waited", took(sum(run.waits.values())), waits_in_words(run.waits))
    yield RunFact("Answered 429", number(run.refused))


def _item(one: Unpushed, now: datetime) -> UnpushedItem:
    dead = one.state is PushState.DEAD_LETTERED
    return UnpushedItem(
        id=foreign(one.campaign_id, 40),
        name=None if one.name is None else foreign(one.name),
        state="dead letter" if dead else "failed",
        kind="warnt" if dead else "badt",
        reason=foreign(one.reason or "unknown", 160),
        attempts=one.attempts,
        since=at(one.since, now),
        lasts=for_(one.since, now),
    )


def _untold(run: Run, details: RunDetails, *, last: bool) -> str:
    """Return why the table lacks campaigns that were not pushed; empty if it has all of them."""
    if not details.more or not last:
        return ""
    if run.outcome is None:
        return "They are listed here once the run has ended."
    return f"{several(details.more, 'campaign')} more: a run keeps 1,000, and older versions kept none."


def _counts(run: Run) -> Iterator[Pair]:
    yield Pair("Listed", number(run.listed))
    yield Pair("Pushed", number(run.pushed))
    if run.skipped:
        yield Pair("Unchanged, not pushed again", number(run.skipped))
    if run.stored:
        yield Pair("Stored", number(run.stored))
