"""All tenants on one screen: how many fail, what is wrong, and the worst of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.segment import SegmentLines
from rich.text import Text

from adsyncd.cli.output import WIDE, new_table, styled
from adsyncd.cli.status_view import STYLES, ended, is_late, remaining, settled, since
from adsyncd.control.overview import Cause
from adsyncd.model.selection import Selection, Show
from adsyncd.model.status import DaemonStatus, TenantStatus, listed
from adsyncd.model.verdict import Severity

_NAMED = 3  # tenants of a cause
_LEAST_CAUSES = 3
_LEAST_ROWS = 3
_COUNTED = (
    Show.FAILING, Show.REFUSED, Show.LATE, Show.PARTIAL, Show.NEAR_QUOTA, Show.PAUSED, Show.WAITING, Show.RUNNING,
)  # fmt: skip
_WORDS = {Show.NEAR_QUOTA: "near their quota"}
_COLOURS = {Severity.CRITICAL: "red", Severity.WARNING: "yellow"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the daemon said. `tenants`: the worst of the selected ones, of which there are `total`."""

    daemon: DaemonStatus
    causes: Sequence[Cause]
    tenants: Sequence[TenantStatus]
    total: int
    selection: Selection
    now: datetime


def tenants_view(seen: Seen, console: Console, *, fits: bool) -> RenderableType:
    """Return a summary, what is wrong by cause, the daemon's own troubles, and a table of the worst tenants.

    With `fits`, causes and tenants are cut to the terminal's height. Permits are shown if it is wide, dead letters if
    there are any.
    """
    height = console.height if fits else None
    head: list[RenderableType] = [*_summary(seen)]
    wrong = [*_daemon_s(seen.daemon, seen.now), *_unexplained(seen)]
    causes = [_cause(cause) for cause in seen.causes]
    if height is not None:
        kept = _fitting(console, causes, max(height // 3, _LEAST_CAUSES))
        left = len(causes) - kept
        causes = [*causes[:kept], *([styled(f"and {left:,} more causes: adsyncd status --all", "")] if left else [])]
    parts = [*head, *causes, *wrong]
    if not seen.tenants:
        return Group(*parts)
    rows = len(seen.tenants)
    if height is not None:
        used = sum(len(console.render_lines(part, pad=False)) for part in parts)
        rows = _rows_fitting(console, seen, max(height - used - 3, _LEAST_ROWS))  # 3: heads, "and more", the prompt
    more = seen.total - rows
    return Group(
        *parts,
        _table(seen.tenants[:rows], seen.now, wide=console.width >= WIDE),
        *([f"and {more:,} more: --limit N, --all, or a selection such as --failing"] if more > 0 else []),
    )


def scrolled(seen: Seen, console: Console, offset: int, height: int) -> tuple[RenderableType, int, int]:
    """Return what `tenants_view` shows in at most `height` lines, with the table's rows from `offset` on.

    Also return how many tenants come before these rows, and how many rows there are. Beyond the end, the last ones are
    shown. What is wrong has half of the height at most.
    """
    parts: list[RenderableType] = [*_summary(seen)]
    for wrong in ([_cause(cause) for cause in seen.causes], [*_daemon_s(seen.daemon, seen.now), *_unexplained(seen)]):
        kept = _fitting(console, wrong, max(height // 4, 1))
        left = len(wrong) - kept
        parts += [*wrong[:kept], *([f"and {left:,} more: adsyncd status --all"] if left else [])]
    used = [line for part in parts for line in console.render_lines(part, pad=False)]
    used = used[: max(height - 1 - _LEAST_ROWS, 0)]
    lines = max(height - len(used) - 1, 1)
    from_end = replace(seen, tenants=seen.tenants[: -lines - 1 : -1])
    first = min(offset, len(seen.tenants) - (_rows_fitting(console, from_end, lines) if seen.tenants else 0))
    shown = replace(seen, tenants=seen.tenants[first : first + lines])
    if not shown.tenants:
        return SegmentLines(used, new_lines=True), 0, 0
    rows = _rows_fitting(console, shown, lines)
    table = console.render_lines(_table(shown.tenants[:rows], seen.now, wide=console.width >= WIDE), pad=False)
    return SegmentLines([*used, *table[: lines + 1]], new_lines=True), first, rows


def _fitting(console: Console, parts: Sequence[Text], lines: int) -> int:
    """Return how many of the first parts have at most so many lines, one at least."""
    for number, part in enumerate(parts):
        lines -= len(console.render_lines(part, pad=False))
        if lines < 0:
            return max(number, 1)
    return len(parts)


def _rows_fitting(console: Console, seen: Seen, lines: int) -> int:
    """Return how many of the first tenants fit into so many lines below the heads of the table."""
    rows = min(len(seen.tenants), lines)
    while rows > 1:
        table = _table(seen.tenants[:rows], seen.now, wide=console.width >= WIDE)
        drawn = len(console.render_lines(table, pad=False)) - 1
        if drawn <= lines:
            break
        rows = min(rows - 1, rows * lines // drawn)  # cells that do not fit go over several lines
    return max(rows, 1)


def _summary(seen: Seen) -> Iterator[str]:
    daemon = seen.daemon
    counts = ", ".join(
        f"{daemon.counts[show]:,} {_WORDS.get(show, show)}" for show in _COUNTED if daemon.counts.get(show)
    )
    number = daemon.counts.get(Show.ALL, sum(daemon.tenants.values()))
    everyone = f"{number:,} tenant{'s' * (number != 1)}" if number else "no tenants"
    yield f"{everyone}: {counts or 'nothing is wrong'}" if number else everyone
    states = ", ".join(f"{count:,} {state}" for state, count in daemon.tenants.items())
    stopping = ", stopping" if daemon.stopping else ""
    yield f"adsyncd {daemon.version} {since(daemon.since, seen.now)}{stopping}" + (f": {states}" if states else "")
    if not seen.selection.everything:
        yield f"{seen.total:,} of them {'is' if seen.total == 1 else 'are'} selected"


def _cause(cause: Cause) -> Text:
    names = listed(cause.tenants[:_NAMED], most=_NAMED)
    more = cause.number - min(len(cause.tenants), _NAMED)
    named = f"{names} and {more:,} more" if more > 0 else names
    fix = f"; {cause.fix}" if cause.fix else ""
    return styled(f"{cause.number:,} {cause.trouble}: {named}: {cause.reason}{fix}", _COLOURS.get(cause.severity, ""))


def _daemon_s(daemon: DaemonStatus, now: datetime) -> Iterator[Text]:
    """Yield the daemon's own troubles."""
    for problem in daemon.refused:
        yield styled(str(problem), "red")
    for breaker in daemon.breakers:
        yield styled(f"circuit breaker open: {breaker}", "red")
    if (vault := daemon.vault) and vault.error:
        yield styled(f"Vault: {vault.state} {since(vault.since, now)}: {vault.error}", "red")
    if daemon.store:
        yield styled(f"database: {daemon.store}", "red")
    for signal, export in daemon.telemetry.items():
        if export.cause is not None:
            yield styled(f"telemetry: {signal} are being lost: {export.cause}", "yellow")


def _unexplained(seen: Seen) -> Iterator[Text]:
    """Yield each error of a tenant without a verdict once, with its tenants."""
    by_error: dict[str, list[str]] = {}
    for tenant in seen.tenants:
        if tenant.error and tenant.verdict is None:
            by_error.setdefault(tenant.error, []).append(tenant.id)
    for error, ids in by_error.items():
        yield styled(f"{listed(ids, most=_NAMED)}: {error}", "red")


def _table(tenants: Sequence[TenantStatus], now: datetime, *, wide: bool) -> RenderableType:
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
            styled(tenant.state, STYLES[tenant.state]),
            _waits(tenant, now),
            f"{settled(tenant.run)}/{tenant.run.announced}" if tenant.run else "",
            remaining(tenant.run.done_at if tenant.run else None, now),
            remaining(tenant.next_fire_time, now),
            ended(tenant.last_run, now) + (", late" if is_late(tenant) else ""),
            *(f"{max(tenant.permits_free, 0)}/{tenant.permits}" if tenant.permits else "",) * wide,
            *(str(tenant.dead_letters or ""),) * deadly,
        )
    return table


def _waits(tenant: TenantStatus, now: datetime) -> str:
    if tenant.turn is not None:
        return "turn to begin"
    if tenant.wait is None:
        return ""
    return f"{tenant.wait.reason} {remaining(tenant.wait.until, now)}".strip()
