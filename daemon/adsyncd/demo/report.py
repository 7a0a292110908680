"""The demo's output: its parts, the results of the tenants, the trace of one run, and what to try next."""

from collections.abc import Sequence
from shlex import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adsyncd.demo.collector import ExportedSpan
from adsyncd.demo.evidence import TenantEvidence
from adsyncd.demo.folder import Folder
from adsyncd.demo.scene import FAULTS, ORBIT_FAULTS, Scene
from adsyncd.demo.trace_tree import trace_tree
from adsyncd.duration import format_duration
from adsyncd.model.run import Run
from adsyncd.model.status import counted

_ALIKE = 2  # spans of a kind that are drawn, so that a trace fits the screen
_LOG_LINES = 15


def print_parts(
    console: Console, scene: Scene, folder: Folder, *, vault: str, platform: str, collector: str, page: str
) -> None:
    """Print the parts and where they run; the last four arguments are addresses."""
    per = f"per {format_duration(scene.quota.per)} (in production: per minute)"
    quota = f"{counted(scene.quota.requests, 'request')} {per}"
    each = f"each tenant has {counted(scene.campaigns, 'campaign')} and a quota of {quota}"
    parts = Table.grid(padding=(0, 2))
    parts.add_column(no_wrap=True)
    parts.add_column(overflow="fold")
    orbit = f"has another API, with cursors and no pushes: {', '.join(scene.pulling)} only pulls; {ORBIT_FAULTS}"
    parts.add_row("OpenBao", vault, f"holds the credentials of {', '.join(scene.everybody)}")
    parts.add_row("platform", platform, f"{each}; {FAULTS}")
    parts.add_row("platform", f"{platform}/orbit", orbit)
    parts.add_row("collector", collector, "receives traces, metrics and logs")
    parts.add_row("daemon", str(folder.path), "its settings, the second platform's profile, drop-ins, database and log")
    parts.add_row("page", page, "what the daemon does, for a browser: served while the demo lasts")
    console.print(parts, highlight=False)
    console.print()


def print_evidence(console: Console, scene: Scene, evidence: Sequence[TenantEvidence]) -> None:
    """Print a line for each tenant."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("tenant", no_wrap=True)
    for name in ("campaigns", "requests", "retries", "429s", "quota used", "took"):
        table.add_column(name, justify="right", no_wrap=True)
    for found in evidence:
        table.add_row(
            found.run.tenant,
            _judged(f"{found.done}/{scene.campaigns}", good=found.done == scene.campaigns),
            str(found.run.requests),
            str(found.run.retries),
            _judged(str(found.refused), good=not found.refused),
            f"{found.quota_used(scene.quota):.0%}",
            f"{found.took.total_seconds():.1f} s",
        )
    console.print()
    console.print(table)


def print_trace(console: Console, run: Run, spans: Sequence[ExportedSpan]) -> None:
    """Print the trace of a run."""
    console.print()
    console.print(f"Each run is one trace. This is {run.tenant}'s, as the collector received it:")
    console.print(trace_tree(spans, run.trace_id, _ALIKE))


def print_places(console: Console, folder: Folder, command: str) -> None:
    """Print where the database is, how to look at it and what to do next; `command` is what calls adsyncd."""
    _print_lines(
        console,
        "",
        f"Database {folder.database}",
        "         next to it are the settings, the drop-ins and the daemon's log",
        f"Runs     {command} runs --config {quote(str(folder.config))}",
        f"Remove   rm -r {quote(str(folder.path))}",
        f"Next     write settings and drop-ins like these, then `{command} check` and `{command} run`",
    )


def print_page(console: Console, address: str) -> None:
    """Print that the daemon's page stays."""
    _print_lines(console, "", f"Page     {address}", "         served to your user until Ctrl-C")


def print_log(console: Console, folder: Folder) -> None:
    """Print the end of the daemon's log."""
    lines = folder.log.read_text().splitlines() if folder.log.exists() else []
    _print_lines(console, "", f"The daemon's log, {folder.log}, ends with:", *lines[-_LOG_LINES:])


def _judged(text: str, *, good: bool) -> Text:
    return Text(text, "green" if good else "red")


def _print_lines(console: Console, *lines: str) -> None:
    """Print lines unwrapped, so that they can be copied."""
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
