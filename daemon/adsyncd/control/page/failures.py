"""The view of failures: whether they have one cause or many. Dead letters and failed runs by reason, across tenants."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adsyncd.control.overview import Failed, Reason
from adsyncd.control.page.frame import Notice, notices
from adsyncd.control.page.words import Chips, Foreign, When, capital, chips, for_, foreign, number, several
from adsyncd.model.status import DaemonStatus

_LONGEST_REASON = 200  # that a filter of dead letters accepts


@dataclass(frozen=True, slots=True)
class ReasonItem:
    """A row of the table. `do`: the command that helps, or empty."""

    reason: Foreign
    failed: str
    campaigns: str
    number: str
    tenants: Chips
    lasts: When | None
    then: str
    do: str


@dataclass(frozen=True, slots=True)
class FailuresView:
    """The values of the template."""

    sentence: str
    notices: Sequence[Notice]
    rows: Sequence[ReasonItem]


def failures_view(daemon: DaemonStatus, reasons: Sequence[Reason], now: datetime) -> FailuresView:
    """Return the values of the page of failures."""
    return FailuresView(_sentence(reasons), notices(daemon, now), [_row(one, now) for one in reasons])


def _sentence(reasons: Sequence[Reason]) -> str:
    pushes = [one for one in reasons if one.failed is not Failed.RUNS]
    runs = [one for one in reasons if one.failed is Failed.RUNS]
    said = []
    if pushes:
        campaigns = sum(one.campaigns or 0 for one in pushes)
        were = "was" if campaigns == 1 else "were"
        reason = "one reason" if len(pushes) == 1 else several(len(pushes), "reason")
        said.append(f"{several(campaigns, 'campaign')} {were} not pushed, for {reason}")
    if runs:
        said.append(f"the last run of {several(sum(one.number for one in runs), 'tenant')} failed")
    return f"{capital('; '.join(said))}." if said else "Nothing fails: every campaign is pushed."


def _row(one: Reason, now: datetime) -> ReasonItem:
    return ReasonItem(
        reason=foreign(one.reason, 200),
        failed=str(one.failed),
        campaigns="all" if one.campaigns is None else number(one.campaigns),
        number=number(one.number),
        tenants=chips(one.tenants, one.number),
        lasts=for_(one.since, now) if one.since else None,
        then=one.then,
        do=_replay(one) if one.failed is Failed.DEAD_LETTERS else "",
    )


def _replay(one: Reason) -> str:
    """Return the command that replays the dead letters of a reason."""
    if one.reason and one.reason.isprintable():
        return f"adsyncd dead-letters replay --reason {shlex.quote(one.reason[:_LONGEST_REASON])}"
    return f"adsyncd dead-letters replay --tenant {one.tenants[0]}" if one.tenants else ""
