"""The status of the daemon and its tenants as sentences and tables."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from rich.console import Group, RenderableType

from adsyncd.cli.output import new_table, seconds, styled
from adsyncd.cli.times import aware, brief
from adsyncd.duration import format_duration
from adsyncd.model.run import Run
from adsyncd.model.status import RunProgress, State, TenantStatus, counted, free_in_words
from adsyncd.model.verdict import Trouble

STYLES = {
    State.IDLE: "dim",
    State.RUNNING: "green",
    State.WAITING: "cyan",
    State.PAUSED: "yellow",
    State.ELSEWHERE: "green",
    State.DISABLED: "dim",
    State.REFUSED: "red",
    State.DRAINING: "magenta",
    State.UNKNOWN: "red",
}
_MINUTE = timedelta(minutes=1)


def sentence(tenant: TenantStatus, now: datetime) -> str:
    """Return a tenant's state in one line, with what it waits for and until when."""
    match tenant.state:
        case State.IDLE:
            does = "is idle" + (f" until {_at(tenant.next_fire_time, now)}" if tenant.next_fire_time else "")
        case State.PAUSED:
            does = f"is paused {since(tenant.paused_since, now)}; resume it with: adsyncd resume {tenant.id}"
        case State.ELSEWHERE:
            does = f"runs elsewhere: {tenant.holder or 'another process'} works on it" + (
                f"; the next tick is at {_at(tenant.next_fire_time, now)}" if tenant.next_fire_time else ""
            )
        case State.DISABLED:
            does = "is disabled by its drop-in"
        case State.REFUSED:
            does = "can't run: its files are invalid"
        case State.UNKNOWN:
            does = "can't be shown"
        case State.RUNNING | State.WAITING | State.DRAINING:
            does = "; ".join(_runs(tenant, now))
    return f"{tenant.id} {does}"


def tenant_view(tenant: TenantStatus, now: datetime) -> RenderableType:
    """Return a tenant's status in detail."""
    table = new_table()
    table.show_header = False
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for key, value in _facts(tenant, now):
        table.add_row(key, value)
    return Group(styled(sentence(tenant, now), STYLES[tenant.state]), table)


def _runs(tenant: TenantStatus, now: datetime) -> Iterator[str]:
    if tenant.turn is not None:
        yield f"waits for its turn to begin; at most {counted(tenant.turn, 'run')} come first"
        return
    if wait := tenant.wait:
        until = f" until {_at(wait.until, now)}" if wait.until else ""
        yield f"waits for the {wait.reason}{until}" + (f" ({wait.detail})" if wait.detail else "")
    else:
        yield "runs"
    run = tenant.run
    if run is None or not run.announced:
        yield "its campaigns are not listed yet"
    else:
        known = run.done_at or settled(run) < run.announced  # how many there are
        most = run.announced if known else settled(run)
        done = f"{settled(run)} of " * bool(known) + counted(most, "campaign")
        yield f"{done} {'is' if most == 1 else 'are'} done"
        if run.done_at:
            yield f"at the present quota the rest takes until {_at(run.done_at, now)}"
    if tenant.state is State.DRAINING:
        yield "its drop-in is gone, so this is its last run"
    if tenant.paused_since:
        yield "then it pauses"


def _facts(tenant: TenantStatus, now: datetime) -> Iterator[tuple[str, str]]:
    yield from _verdict(tenant)
    if tenant.client_id is not None:
        then = f"; {tenant.next_client_id} from the next run on" if tenant.next_client_id else ""
        yield "client id", f"{tenant.client_id} at {tenant.platform}{then}"
    if tenant.permits:
        yield "permits", f"{free_in_words(tenant.permits_free, tenant.permits)}, shape {tenant.shape}"
    if run := tenant.run:
        counts = _counts(run)
        sent = f"{counted(run.requests, 'request')}, {counted(run.retries, 'retry')}, {run.refused} answered 429"
        spent = f"{sent}, waited {run.waited_s:.0f} s"
        yield "run", f"{run.run_id}, {since(run.since, now)}: {counts}; {spent}{_lateness(run)}"
    if last := tenant.last_run:
        yield (
            "last run",
            f"{ended(last, now)} ({last.run_id}): {_done(last)}{_lateness(last)}, trace {last.trace_id}",
        )
        if last.note:
            yield "note", last.note
    if tenant.next_fire_time:
        yield "next run", _at(tenant.next_fire_time, now)
    if tenant.dead_letters:
        yield "dead letters", f"{tenant.dead_letters}, see adsyncd dead-letters list --tenant {tenant.id}"
    if tenant.error:
        yield "error", tenant.error
    for problem in tenant.refused:
        yield "refused", str(problem)


def _verdict(tenant: TenantStatus) -> Iterator[tuple[str, str]]:
    if tenant.unread:
        yield "from memory", tenant.unread
    if verdict := tenant.verdict:
        yield "verdict", " ".join((verdict.sentence, *verdict.causes))
        for number, fix in enumerate(verdict.fixes):
            yield "or" if number else "fix", fix


def is_late(tenant: TenantStatus) -> bool:
    """Return whether a tenant is late."""
    return tenant.verdict is not None and tenant.verdict.trouble is Trouble.LATE


def ended(run: Run | None, now: datetime) -> str:
    """Return how a run ended, and how long ago."""
    if run is None or run.ended_at is None:
        return ""
    return f"{run.outcome} {remaining(now, run.ended_at)} ago"


def settled(run: RunProgress) -> int:
    """Return of how many campaigns a run knows what became of them."""
    return run.pushed + run.skipped + run.stored + run.dead_lettered + run.failed


def _only_stores(run: Run | RunProgress) -> bool:
    return bool(run.stored) and not (run.pushed or run.skipped or run.dead_lettered)


def _counts(run: RunProgress) -> str:
    if _only_stores(run):
        return f"{run.stored} stored, {run.failed} failed"
    stored = f", {run.stored} stored" if run.stored else ""
    return f"{run.pushed} pushed, {run.skipped} skipped{stored}, {run.dead_lettered} dead, {run.failed} failed"


def _lateness(run: Run | RunProgress) -> str:
    """Return how late a run began, and how many ticks it skipped."""
    late = f", began {seconds(run.late_s)} late" if run.late_s >= 1 else ""
    return late + (f", skipped {counted(run.skipped_ticks, 'tick')}" if run.skipped_ticks else "")


def _done(run: Run) -> str:
    if _only_stores(run):
        return f"{run.stored} of {run.listed} stored"
    return f"{run.pushed} of {run.listed} pushed" + (f", {run.stored} stored" if run.stored else "")


def _at(instant: datetime, now: datetime) -> str:
    return f"{brief(instant, now)}, in {remaining(instant, now)}"


def since(instant: datetime | None, now: datetime) -> str:
    """Return since when something is so."""
    return f"since {brief(instant, now)}" if instant else ""


def silence(tenant: str, until: datetime, now: datetime) -> str:
    """Return a line that says until when a changed quota keeps a tenant from sending."""
    return f"{tenant}: quota changed; no request before {brief(until, now)} ({remaining(until, now)})"


def remaining(instant: datetime | None, now: datetime) -> str:
    """Return the time left until an instant: in seconds up to ten minutes, then in minutes."""
    if instant is None:
        return ""
    left = max(aware(instant) - aware(now), timedelta(0))
    unit = timedelta(seconds=1) if left < 10 * _MINUTE else _MINUTE
    return format_duration(-(-left // unit) * unit)
