"""The view of all tenants: whether all is well, what is wrong by cause, the last day, and the tenants, worst first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from adsyncd.control.overview import CLOSE, Bucket, Cause, Load, Mark, TenantRow, TenantsPage
from adsyncd.control.page.drawing import Svg, bar, spark, strip
from adsyncd.control.page.frame import Link, Notice, notices
from adsyncd.control.page.trail import FIRST, Pager, Trail, address
from adsyncd.control.page.words import (
    NONE,
    Chips,
    Foreign,
    When,
    ago,
    capital,
    chips,
    for_,
    foreign,
    iso,
    number,
    percent,
    several,
    took,
    until,
)
from adsyncd.model.run import Outcome
from adsyncd.model.selection import Show
from adsyncd.model.status import DaemonStatus, State, TenantStatus
from adsyncd.model.verdict import Severity, Trouble, Verdict

FILTERS = {
    Show.ALL: "All",
    Show.FAILING: "Failing",
    Show.LATE: "Late",
    Show.PARTIAL: "Partial",
    Show.WAITING: "Waiting",
    Show.RUNNING: "Running",
    Show.NEAR_QUOTA: "Near quota",
    Show.PAUSED: "Paused",
    Show.REFUSED: "Refused files",
}
_DAY = timedelta(days=1)
_HALF_HOUR = timedelta(minutes=30)
_SUCCEEDED = {Mark.SUCCEEDED, Mark.LATE}
_STATES = {
    State.IDLE: "idle",
    State.RUNNING: "running",
    State.WAITING: "waiting",
    State.PAUSED: "paused",
    State.ELSEWHERE: "running",
    State.DISABLED: "off",
    State.REFUSED: "failing",
    State.DRAINING: "running",
    State.UNKNOWN: "failing",
}
_SEE = {
    Show.LATE: Link("see the quotas", "/quotas"),
    Show.NEAR_QUOTA: Link("see the quotas", "/quotas"),
    Show.PARTIAL: Link("see the failures", "/failures"),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """A number of the last 24 h, with its course."""

    label: str
    value: str
    small: str
    course: Svg


@dataclass(frozen=True, slots=True)
class CauseItem:
    """A cause and the tenants that have it."""

    severity: str
    reason: str
    extent: str
    fix: str
    see: Link | None
    tenants: Chips
    since: When | None


@dataclass(frozen=True, slots=True)
class Does:
    """What a tenant does: its words, and the class of its sign."""

    words: str
    sign: str


@dataclass(frozen=True, slots=True)
class Quota:
    """The load of a quota: the drawing, its share in words, and the class of these."""

    drawing: Svg
    words: str
    kind: str


@dataclass(frozen=True, slots=True)
class TenantItem:
    """A row of the table."""

    id: str
    does: Does
    day: Svg
    success: When | None
    overdue: bool
    next: When | None
    pushed: str
    quota: Quota | None
    wrong: Foreign


@dataclass(frozen=True, slots=True)
class TenantsView:
    """The values of the template. `lede`: pieces of a text, each with whether it stands out."""

    sentence: str
    lede: Sequence[tuple[str, bool]]
    notices: Sequence[Notice]
    facts: Sequence[Fact]
    causes: Sequence[CauseItem]
    filters: Sequence[Link]
    rows: Sequence[TenantItem]
    pager: Pager | None
    empty: str


def tenants_view(
    daemon: DaemonStatus,
    page: TenantsPage,
    causes: Sequence[Cause],
    history: Sequence[Bucket],
    now: datetime,
    *,
    show: Show = Show.ALL,
    trail: Trail = FIRST,
    alerts: int = 0,
) -> TenantsView:
    """Return the values of the page of all tenants. `history`: of the last 24 h; `alerts`: how many fire."""
    all_of_them = page.counts.get(Show.ALL, page.total)
    query = {"show": "" if show is Show.ALL else show}
    return TenantsView(
        sentence=_sentence(all_of_them, causes),
        lede=_lede(all_of_them, page, causes, daemon, alerts),
        notices=notices(daemon, now),
        facts=_facts(history),
        causes=[_cause(cause, now) for cause in causes],
        filters=[_filter(one, page, show) for one in FILTERS],
        rows=[_row(row, now) for row in page.rows],
        pager=trail.pager("/", query, shown=len(page.rows), total=page.total, following=page.next),
        empty=_empty(all_of_them, show),
    )


def does(status: TenantStatus, verdict: Verdict | None) -> Does:
    """Return what a tenant does, in a few words. One that is idle and fails is shown as failing."""
    if status.turn is not None and status.state is State.WAITING:
        return Does("waits for its turn to begin", "waiting")
    if status.wait and status.state is State.WAITING:
        return Does(f"waits for {status.wait.reason}", "waiting")
    if status.state is State.IDLE and verdict and verdict.trouble in {Trouble.FAILING, Trouble.REFUSED}:
        return Does("failing", "failing")
    return Does(str(status.state), _STATES[status.state])


def quota(load: Load | None, width: int = 92) -> Quota | None:
    """Return the drawing of a load and its share in words."""
    if load is None:
        return None
    needed = load.needed
    kind = "" if needed is None or needed <= CLOSE else "badt" if needed > 1 else "warnt"
    return Quota(bar(load, width), NONE if needed is None else percent(needed), kind)


def tenant_path(tenant_id: str) -> str:
    """Return the path of a tenant's page."""
    return f"/tenants/{quote(tenant_id, safe='')}"


def _sentence(total: int, causes: Sequence[Cause]) -> str:
    wrong = _number_of(causes, noted=False)
    if not total:
        return "There are no tenants."
    if not wrong:
        return "The tenant is well." if total == 1 else f"All {number(total)} tenants are well."
    verb = "needs" if wrong == 1 else "need"
    return f"{number(wrong)} of {several(total, 'tenant')} {verb} attention."


def _number_of(causes: Sequence[Cause], *, noted: bool) -> int:
    return sum(cause.number for cause in causes if (cause.severity is Severity.NOTE) is noted)


def _lede(
    total: int, page: TenantsPage, causes: Sequence[Cause], daemon: DaemonStatus, alerts: int
) -> list[tuple[str, bool]]:
    wrong, noted = _number_of(causes, noted=False), _number_of(causes, noted=True)
    off = daemon.tenants.get(State.DISABLED, 0)
    well = max(0, total - wrong - noted - off)
    waiting = page.counts.get(Show.WAITING, 0)
    running = page.counts.get(Show.RUNNING, 0)
    said = []
    if total:
        said += [(number(well), True), (" keep their schedule. " if well != 1 else " keeps its schedule. ", False)]
        said += [(number(running), True), (" run now, " if running != 1 else " runs now, ", False)]
        said += [(number(waiting), True), (" wait. " if waiting != 1 else " waits. ", False)]
    if alerts:
        said += [(number(alerts), True), (" alerts fire. " if alerts != 1 else " alert fires. ", False)]
    vault = daemon.vault
    up = [f"Vault is {vault.state}"] if vault and not vault.error else []
    up += [] if daemon.store else ["the database is up"]
    exported = [export.works for export in daemon.telemetry.values()]
    up += ["telemetry is exported"] if exported and all(exported) else []
    return [*said, (f"{capital(', '.join(up))}.", False)] if up else said


def _filter(one: Show, page: TenantsPage, show: Show) -> Link:
    href = address("/", {"show": "" if one is Show.ALL else one})
    return Link(FILTERS[one], href, number(page.counts.get(one, 0)), one is show)


def _facts(history: Sequence[Bucket]) -> list[Fact]:
    def of(values: Sequence[float]) -> tuple[float, Svg]:
        return sum(values), spark(values)

    pushed, pushes = of([one.pushed for one in history])
    failed, failures = of([one.not_pushed for one in history])
    skipped, skips = of([one.skipped_ticks for one in history])
    refused, refusals = of([one.refused for one in history])
    waited, waits = of([one.waited_s for one in history])
    requests = sum(one.requests for one in history)
    runs = sum(one.runs_succeeded + one.runs_partial + one.runs_failed + one.runs_abandoned for one in history)
    share = percent(failed / (pushed + failed)) if failed else ""
    return [
        Fact("Pushed in 24 h", number(pushed), "", pushes),
        Fact("Not pushed", number(failed), share, failures),
        Fact("Ticks skipped", number(skipped), f"of {number(runs + skipped)}", skips),
        Fact("Answered 429", number(refused), f"of {number(requests)}", refusals),
        Fact("Waited for quota", took(waited), "", waits),
    ]


def _cause(cause: Cause, now: datetime) -> CauseItem:
    return CauseItem(
        severity=cause.severity,
        reason=capital(cause.reason),
        extent=several(cause.number, "tenant"),
        fix=cause.fix,
        see=_see(cause),
        tenants=chips(cause.tenants, cause.number, address("/", {"show": cause.trouble})),
        since=for_(cause.since, now) if cause.since else None,
    )


def _see(cause: Cause) -> Link | None:
    late_otherwise = cause.trouble is Show.LATE and "quota" not in cause.reason
    return None if late_otherwise else _SEE.get(cause.trouble)


def _row(row: TenantRow, now: datetime) -> TenantItem:
    status = row.status
    success, overdue = _success(row, now)
    return TenantItem(
        id=status.id,
        does=does(status, row.verdict),
        day=strip(row.day),
        success=success,
        overdue=overdue,
        next=until(status.next_fire_time, now) if status.next_fire_time else None,
        pushed=_pushed(status),
        quota=quota(row.load),
        wrong=foreign(_wrong(row), 90),
    )


def _success(row: TenantRow, now: datetime) -> tuple[When | None, bool]:
    """Return when a run of the tenant succeeded last, to half an hour, and whether none did today."""
    last = row.status.last_run
    if last and last.ended_at and last.outcome is Outcome.SUCCEEDED:
        return ago(last.ended_at, now), False
    for age, mark in enumerate(reversed(row.day)):
        if mark in _SUCCEEDED:
            return ago(now - age * _HALF_HOUR, now), False
    return (When(iso(now - _DAY), "none in 24 h"), True) if any(row.day) else (None, False)


def _pushed(status: TenantStatus) -> str:
    if run := status.run:
        return f"{number(run.pushed + run.stored)}/{number(max(run.announced, run.listed))}"
    if last := status.last_run:
        return f"{number(last.pushed + last.stored)}/{number(last.listed)}"
    return NONE


def _wrong(row: TenantRow) -> str:
    if row.verdict:
        return row.verdict.reason
    if row.status.refused:
        return f"files refused: {row.status.refused[0]}"
    return row.status.error or ""


def _empty(total: int, show: Show) -> str:
    if not total:
        return "Add a drop-in to the directory of tenants: its first run begins at once. See docs/configuration.md."
    return f"No tenant is in the list \N{LEFT DOUBLE QUOTATION MARK}{FILTERS[show]}\N{RIGHT DOUBLE QUOTATION MARK}."
