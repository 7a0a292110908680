"""The status of the daemon and its tenants as sentences and tables."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.text import Text

from adsyncd.cli.output import listed, new_table, seconds, styled
from adsyncd.cli.times import aware, brief
from adsyncd.duration import format_duration
from adsyncd.model.run import Run
from adsyncd.model.status import DaemonStatus, RunProgress, State, TenantStatus, counted
from adsyncd.model.verdict import Trouble

_STYLES = {
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
            does = f"is paused {_since(tenant.paused_since, now)}; resume it with: adsyncd resume {tenant.id}"
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
    return Group(styled(sentence(tenant, now), _STYLES[tenant.state]), table)


def daemon_view(
    daemon: DaemonStatus, tenants: Sequence[TenantStatus], now: datetime, *, wide: bool = True, cut: bool = False
) -> RenderableType:
    """Return a table of the tenants, their errors, the daemon's errors and its summary.

    The daemon comes first if the end may be `cut` off. Permits are shown if the terminal is `wide`, dead letters if
    there are any.
    """
    deadly = any(tenant.dead_letters for tenant in tenants)
    table = new_table()
    table.add_column("tenant", overflow="fold")
    for name in ("state", "waits for"):
        table.add_column(name)
    for name in ("campaigns", "done in", "next in"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last run")
    for name in ("permits",) * wide + ("dead letters",) * deadly:
        table.add_column(name, justify="right", no_wrap=True)
    for tenant in tenants:
        table.add_row(
            tenant.id,
            styled(tenant.state, _STYLES[tenant.state]),
            _waits(tenant, now),
            f"{_settled(tenant.run)}/{tenant.run.announced}" if tenant.run else "",
            _in(tenant.run.done_at if tenant.run else None, now),
            _in(tenant.next_fire_time, now),
            _ended(tenant.last_run, now) + (", late" if _is_late(tenant) else ""),
            *(f"{tenant.permits_free}/{tenant.permits}" if tenant.permits else "",) * wide,
            *(str(tenant.dead_letters or ""),) * deadly,
        )
    about_tenants = Group(table, *_errors(tenants), *_reasons(tenants))
    about_daemon = Group(*_wrong(daemon, now), _summary(daemon, now))
    return Group(about_daemon, about_tenants) if cut else Group(about_tenants, about_daemon)


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
        known = run.done_at or _settled(run) < run.announced  # how many there are
        most = run.announced if known else _settled(run)
        done = f"{_settled(run)} of " * bool(known) + counted(most, "campaign")
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
        yield "permits", f"{tenant.permits_free} of {tenant.permits} are free, shape {tenant.shape}"
    if run := tenant.run:
        counts = _counts(run)
        sent = f"{counted(run.requests, 'request')}, {counted(run.retries, 'retry')}, {run.refused} answered 429"
        spent = f"{sent}, waited {run.waited_s:.0f} s"
        yield "run", f"{run.run_id}, {_since(run.since, now)}: {counts}; {spent}{_lateness(run)}"
    if last := tenant.last_run:
        yield (
            "last run",
            f"{_ended(last, now)} ({last.run_id}): {_done(last)}{_lateness(last)}, trace {last.trace_id}",
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
    if verdict := tenant.verdict:
        yield "verdict", " ".join((verdict.sentence, *verdict.causes))
        for number, fix in enumerate(verdict.fixes):
            yield "or" if number else "fix", fix


def _is_late(tenant: TenantStatus) -> bool:
    return tenant.verdict is not None and tenant.verdict.trouble is Trouble.LATE


def _reasons(tenants: Sequence[TenantStatus]) -> Iterator[Text]:
    """Yield why tenants have troubles that are no error, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for tenant in tenants:
        if (verdict := tenant.verdict) and verdict.trouble in {Trouble.LATE, Trouble.THROTTLED}:
            by_reason.setdefault(verdict.reason, []).append(tenant.id)
    for reason, ids in by_reason.items():
        yield styled(f"{listed(ids, most=3)}: {reason}; see adsyncd status {ids[0]}", "yellow")


def _errors(tenants: Sequence[TenantStatus]) -> Iterator[Text]:
    """Yield each error once, with its tenants: an error of every tenant would fill the screen."""
    by_error: dict[str, list[str]] = {}
    for tenant in tenants:
        if tenant.error:
            by_error.setdefault(tenant.error, []).append(tenant.id)
    for error, ids in by_error.items():
        yield styled(f"{listed(ids, most=3)}: {error}", "red")


def _wrong(daemon: DaemonStatus, now: datetime) -> Iterator[Text]:
    for problem in daemon.refused:
        yield styled(str(problem), "red")
    for breaker in daemon.breakers:
        yield styled(f"circuit breaker open: {breaker}", "red")
    if (vault := daemon.vault) and vault.error:
        yield styled(f"Vault: {vault.state} {_since(vault.since, now)}: {vault.error}", "red")
    if daemon.store:
        yield styled(f"database: {daemon.store}", "red")
    for signal, export in daemon.telemetry.items():
        if export.cause is not None:
            yield styled(f"telemetry: {signal} are being lost: {export.cause}", "yellow")


def _summary(daemon: DaemonStatus, now: datetime) -> str:
    states = ", ".join(f"{count} {state}" for state, count in daemon.tenants.items()) or "no tenants"
    stopping = ", stopping" if daemon.stopping else ""
    return f"adsyncd {daemon.version} {_since(daemon.since, now)}{stopping}: {states}"


def _waits(tenant: TenantStatus, now: datetime) -> str:
    if tenant.turn is not None:
        return "turn to begin"
    if tenant.wait is None:
        return ""
    return f"{tenant.wait.reason} {_in(tenant.wait.until, now)}".strip()


def _ended(run: Run | None, now: datetime) -> str:
    if run is None or run.ended_at is None:
        return ""
    return f"{run.outcome} {_in(now, run.ended_at)} ago"


def _settled(run: RunProgress) -> int:
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
    return f"{brief(instant, now)}, in {_in(instant, now)}"


def _since(instant: datetime | None, now: datetime) -> str:
    return f"since {brief(instant, now)}" if instant else ""


def silence(tenant: str, until: datetime, now: datetime) -> str:
    """Return a line that says until when a changed quota keeps a tenant from sending."""
    return f"{tenant}: quota changed; no request before {brief(until, now)} ({_in(until, now)})"


def _in(instant: datetime | None, now: datetime) -> str:
    """Return the time left until an instant: in seconds up to ten minutes, then in minutes."""
    if instant is None:
        return ""
    left = max(aware(instant) - aware(now), timedelta(0))
    unit = timedelta(seconds=1) if left < 10 * _MINUTE else _MINUTE
    return format_duration(-(-left // unit) * unit)
