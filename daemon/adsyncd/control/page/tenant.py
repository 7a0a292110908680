"""The view of one tenant: what is wrong and why, its last hour, its runs and what took their time, its settings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from adsyncd.control.loads import in_words, schedule_of
from adsyncd.control.overview import TenantRow
from adsyncd.control.page.drawing import Permits, Span, Svg, hour
from adsyncd.control.page.frame import Link, Notice, notices
from adsyncd.control.page.runs import RunItem, duration_s, in_progress, run_item, run_path, waited_share
from adsyncd.control.page.tenants import Does, Quota, does, quota, tenant_path
from adsyncd.control.page.trail import FIRST, Pager, Trail, address
from adsyncd.control.page.words import When, ago, at, capital, free, number, several, until
from adsyncd.duration import format_duration
from adsyncd.model.alert import Alert
from adsyncd.model.run import Outcome, Run
from adsyncd.model.schedule import next_fire, trigger
from adsyncd.model.status import DaemonStatus, State, TenantStatus
from adsyncd.model.tenant import CredentialsRef, EnvRef, PushPolicy, SystemdRef, Tenant

RUNS = 25  # of a page
_HOUR = timedelta(hours=1)
_MOST_TICKS = 400
_IDLE_ONLY = {State.DISABLED, State.REFUSED, State.UNKNOWN, State.DRAINING}
_PUSHES = {
    PushPolicy.ALL: "all campaigns",
    PushPolicy.CHANGED: "campaigns that changed",
    PushPolicy.NONE: "none: it only stores",
}
_DONE = {
    "trigger": "A run starts.",
    "pause": "Paused: no run starts until it is resumed.",
    "resume": "Resumed: it runs at its next tick.",
}


@dataclass(frozen=True, slots=True)
class Button:
    """A command in a form of its own."""

    label: str
    action: str
    id: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of a list of names and values."""

    name: str
    value: str
    code: bool = False
    href: str = ""


@dataclass(frozen=True, slots=True)
class AlertItem:
    """An alert that fires."""

    severity: str
    name: str
    summary: str
    since: When


@dataclass(frozen=True, slots=True)
class TenantView:
    """The values of the template. `severity`: the class of the verdict's box."""

    id: str
    path: str
    place: str
    sentence: str
    severity: str
    does: Does
    causes: Sequence[str]
    now: Sequence[str]
    fixes: Sequence[str]
    since: When | None
    notices: Sequence[Notice]
    buttons: Sequence[Button]
    alerts: Sequence[AlertItem]
    quota: Quota | None
    hour: Svg
    filters: Sequence[Link]
    runs: Sequence[RunItem]
    pager: Pager | None
    campaigns: Sequence[Pair]
    settings: Sequence[Pair]


@dataclass(frozen=True, slots=True)
class Story:
    """A tenant's runs: a `page` of them, of one `outcome` or all, and those of the `hour`. `more`: on later pages.

    `free`: the share of its permits that was free at instants of the last hour, oldest first.
    """

    page: Sequence[Run]
    hour: Sequence[Run]
    more: bool = False
    outcome: Outcome | None = None
    trail: Trail = FIRST
    free: Sequence[tuple[datetime, float]] = ()


def tenant_view(
    daemon: DaemonStatus,
    row: TenantRow,
    story: Story,
    now: datetime,
    *,
    tenant: Tenant | None = None,
    file: Path | None = None,
    alerts: Sequence[Alert] = (),
    trace_url: str | None = None,
    reads_only: bool = False,
    done: str = "",
    refused: Notice | None = None,
) -> TenantView:
    """Return the values of a tenant's page. `done`: the command that it was sent; `refused`: why one was refused."""
    status, verdict = row.status, row.verdict
    path = tenant_path(status.id)
    told = [Notice("good", _DONE[done])] if done in _DONE else []
    return TenantView(
        id=status.id,
        path=path,
        place=" / ".join(filter(None, [status.platform, status.client_id and f"client id {status.client_id}"])),
        sentence=f"{verdict.sentence.removesuffix('.')}." if verdict else _well(status),
        severity=verdict.severity if verdict else "",
        does=does(status, verdict),
        causes=verdict.causes if verdict else (),
        now=list(_now(status, now)),
        fixes=verdict.fixes if verdict else (),
        since=at(verdict.since, now) if verdict and verdict.since else None,
        notices=[*([refused] if refused else told), *notices(daemon, now)],
        buttons=[] if reads_only else list(_buttons(status, path)),
        alerts=[_alert(one, now) for one in alerts if one.tenant == status.id],
        quota=quota(row.load, 150),
        hour=_hour(story, status, tenant, now),
        filters=list(_filters(path, story.outcome)),
        runs=[run_item(in_progress(run, status.run), now, trace_url) for run in story.page],
        pager=story.trail.pager(
            path,
            {"outcome": story.outcome or ""},
            shown=len(story.page),
            total=None,
            following=story.page[-1].fire_time.isoformat() if story.more else None,
            rows=RUNS,
        ),
        campaigns=list(_campaigns(status, now)),
        settings=list(_settings(tenant, status, file)),
    )


def _well(status: TenantStatus) -> str:
    if status.state is State.DISABLED:
        return f"{status.id} is disabled."
    return f"{status.id} is well." if status.last_run else f"{status.id} has not run yet."


def _now(status: TenantStatus, now: datetime) -> Iterator[str]:
    """Yield what a tenant does now, in sentences."""
    if run := status.run:
        done = run.pushed + run.skipped + run.stored + run.dead_lettered + run.failed
        of = f"{number(done)} of {several(run.announced, 'campaign')} are done" if run.announced else "it lists"
        until_ = f"; at this quota the rest takes until {at(run.done_at, now).words}" if run.done_at else ""
        yield f"A run is in progress since {at(run.since, now).words}: {of}{until_}."
    if status.turn is not None:
        yield f"Its run waits for its turn to begin; at most {several(status.turn, 'run')} come first."
    if wait := status.wait:
        end = f" until {at(wait.until, now).words}" if wait.until else ""
        yield f"It waits for the {wait}{end}."
    if status.paused_since:
        yield f"It is paused since {at(status.paused_since, now).words}."
    elif status.next_fire_time and not status.run:
        yield f"Its next run is due at {at(status.next_fire_time, now).words}."
    if status.error:
        yield f"Last error: {status.error}"
    for problem in status.refused:
        yield f"Refused: {problem}"


def _buttons(status: TenantStatus, path: str) -> Iterator[Button]:
    if status.state in _IDLE_ONLY:
        return
    if status.paused_since is None:
        if status.run is None:
            yield Button("Run now", f"{path}/trigger", "trigger")
        yield Button("Pause", f"{path}/pause", "pause")
    else:
        yield Button("Resume", f"{path}/resume", "resume")


def _alert(alert: Alert, now: datetime) -> AlertItem:
    return AlertItem(alert.name.severity, alert.name, alert.summary, at(alert.since, now))


def _filters(path: str, current: Outcome | None) -> Iterator[Link]:
    yield Link("All", path, current=current is None)
    for outcome in Outcome:
        yield Link(capital(outcome), address(path, {"outcome": outcome}), current=current is outcome)


def _hour(story: Story, status: TenantStatus, tenant: Tenant | None, now: datetime) -> Svg:
    known = [in_progress(run, status.run) for run in story.hour]
    spans = [Span(run.started_at, run.ended_at or now, waited_share(run, now)) for run in known]
    missed = [tick for run in known for tick in _skipped(run, tenant, now)]
    shares = [*story.free, (now, max(status.permits_free, 0) / status.permits)] if status.permits else []
    return hour([run.fire_time for run in known], missed, spans, Permits(status.permits, shares), now)


def _skipped(run: Run, tenant: Tenant | None, now: datetime) -> Iterator[datetime]:
    """Yield the ticks that were skipped because of a run: those of the schedule while it went on."""
    number_of = min(run.skipped_ticks, _MOST_TICKS)
    if tenant is None:
        step = timedelta(seconds=duration_s(run, now)) / (number_of + 1)
        yield from (run.started_at + step * (index + 1) for index in range(number_of))
        return
    fires = trigger(tenant.schedule, tenant.id)
    tick = next_fire(fires, max(run.fire_time, run.started_at))
    for _ in range(number_of):
        if tick is None or tick > now:
            return
        yield tick
        tick = next_fire(fires, tick)


def _campaigns(status: TenantStatus, now: datetime) -> Iterator[Pair]:
    last = status.last_run
    if last is None or last.ended_at is None:
        yield Pair("Listed", "not yet")
        return
    failed = last.failed + last.dead_lettered
    yield Pair("Listed", f"{number(last.listed)} by the last run, {ago(last.ended_at, now).words}")
    yield Pair("In step", number(max(0, last.listed - failed)))
    yield Pair(
        "Not pushed", number(failed) if failed else "none", href=run_path(status.id, last.run_id) if failed else ""
    )
    letters = (
        "unknown" if status.dead_letters is None else number(status.dead_letters) if status.dead_letters else "none"
    )
    yield Pair("Dead letters", letters, href="/failures" if status.dead_letters else "")
    if status.next_fire_time:
        yield Pair("Next run", until(status.next_fire_time, now).words)


def _settings(tenant: Tenant | None, status: TenantStatus, file: Path | None) -> Iterator[Pair]:
    """Yield the settings in force: of credentials, their place alone."""
    if file is not None:
        yield Pair("File", str(file), code=True)
    if tenant is None:
        return
    yield Pair("Schedule", schedule_of(tenant))
    yield Pair("Quota", in_words(tenant.quota))
    if status.permits:
        yield Pair("Free now", free(status.permits_free, status.permits))
    yield Pair("Pushes", _PUSHES[tenant.sync.push])
    yield Pair("Deadline", f"a run may take {format_duration(tenant.sync.run_deadline)}")
    yield _credentials(tenant.credentials)


def _credentials(ref: CredentialsRef) -> Pair:
    if isinstance(ref, EnvRef):
        return Pair("Credentials", f"environment, {ref.prefix}_{ref.keys[0].upper()} and so on", code=True)
    if isinstance(ref, SystemdRef):
        return Pair("Credentials", f"systemd credential {ref.name}", code=True)
    role = f", role {ref.role}" if ref.role else ""
    return Pair("Credentials", f"Vault {ref.path}{role}", code=True)
