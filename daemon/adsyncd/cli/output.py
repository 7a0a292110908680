"""The output of commands: lines, JSON (its keys are a contract), and tables of runs, dead letters and plans.

Every command writes through this module, which escapes control characters in texts from outside.
"""

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adsyncd.cli.table import Rows
from adsyncd.cli.times import TO_THE_SECOND, column, full
from adsyncd.duration import format_duration
from adsyncd.errors import AdsyncdError, ConfigError, Problem
from adsyncd.escaping import escaped, escaped_lines
from adsyncd.model.campaign import DeadLetter
from adsyncd.model.day import Day
from adsyncd.model.run import Outcome, Run
from adsyncd.model.status import listed

RUN_KEYS = (
    "tenant", "run_id", "fire_time", "started_at", "ended_at", "outcome", "listed", "pushed", "skipped",
    "stored", "dead_lettered", "failed", "requests", "retries", "refused", "waited_s", "waits", "late_s",
    "skipped_ticks", "trace_id", "error", "note",
)  # fmt: skip

_SECONDS_OF_DAY = ("waited_s", "longest_s")

WIDE = 120  # columns of a terminal that fits all, such as trace ids
_NAMED = 3  # tenants or runs of which the same is said
_UNBOUND = 160  # without a terminal everything fits

_STYLES = {
    Outcome.SUCCEEDED: "green",
    Outcome.PARTIAL: "yellow",
    Outcome.FAILED: "red",
    Outcome.ABANDONED: "red",
    None: "cyan",
}


class Terminal(Console):
    """A console that shows texts literally: no markup, and characters that do not print are escaped."""

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - rich's own
        """Return a string as an escaped text; strings in tables come through here, too."""
        return super().render_str(escaped(text), **options)


def styled(text: str, style: str) -> Text:
    """Return a text in a style."""
    return Text(escaped(text), style)


def print_line(text: str, *, err: bool = False) -> None:
    """Print a line, on standard error if `err`."""
    _write(escaped(text), err=err)


def print_error(error: AdsyncdError) -> None:
    """Print an error to standard error, each problem on a line of its own. A closed standard error is no failure."""
    try:
        for line in error.problems if isinstance(error, ConfigError) else [error]:
            print_line(f"error: {line}", err=True)
    except OSError:
        give_up(sys.stderr)


def give_up(stream: TextIO) -> None:
    """Redirect a broken stream to /dev/null, or Python would exit with 120 when it flushes the buffer."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_json(value: object) -> None:
    """Print a value as indented JSON, in printable ASCII only."""
    _write(json.dumps(value, indent=2))


class JsonList:
    """A list that may be long: each item is printed at once, on a line of its own, in printable ASCII only."""

    def __init__(self) -> None:
        self._is_empty = True

    def add(self, value: object) -> None:
        """Print an item."""
        sys.stdout.write(f"{'[' if self._is_empty else ','}\n{json.dumps(value)}")
        self._is_empty = False

    def close(self) -> None:
        """End the list."""
        _write("[]" if self._is_empty else "\n]")


def print_csv(rows: Iterable[Sequence[str | float | None]]) -> None:
    """Print lines of CSV (RFC 4180). An absent value is empty.

    A text that a spreadsheet would take for a formula gets an apostrophe before it (OWASP, CSV injection).
    """
    lines = csv.writer(sys.stdout, lineterminator="\r\n")
    for row in rows:
        lines.writerow([_as_text(value) if isinstance(value, str) else value for value in row])
    sys.stdout.flush()


def _as_text(value: str) -> str:
    return f"'{escaped(value)}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else escaped(value)


def _write(text: str, *, err: bool = False) -> None:
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


def problem_as_json(problem: Problem) -> dict[str, object]:
    """Return a problem of a file as `check --json` prints it."""
    return asdict(problem) | {"path": None if problem.path is None else str(problem.path)}


def run_as_json(run: Run) -> dict[str, object]:
    """Return a run as `runs --json` and `sync --json` print it; instants as ISO 8601 in UTC."""
    values = {key: getattr(run, key) for key in RUN_KEYS}
    values |= {"waited_s": round(run.waited_s, 3), "late_s": round(run.late_s, 3)}
    values["waits"] = {reason: round(waited_s, 3) for reason, waited_s in run.waits.items()}
    return _with_iso_instants(values)


def print_runs(runs: Sequence[Run]) -> None:
    """Print runs as a table that fits the terminal, and their errors and notes below it."""
    console = new_console()
    wide = console.width >= WIDE
    late = any(map(_is_late, runs))
    table = new_table()
    table.add_column("tenant", overflow="fold")
    heading, due = column("due", (run.fire_time for run in runs), TO_THE_SECOND if wide else "%m-%d %H:%M:%S")
    table.add_column(heading, no_wrap=True)
    for name in ("late",) * late + ("took",):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("pushed", justify="right", no_wrap=True)
    table.add_column("not pushed")
    for name in ("requests", "retries", "429s"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        table.add_column("trace id", no_wrap=True)
    for run, fire_time in zip(runs, due, strict=True):
        style = _STYLES[run.outcome]
        table.add_row(
            run.tenant,
            fire_time,
            *(_late(run),) * late,
            format_duration(_whole_seconds(run.ended_at - run.started_at)) if run.ended_at else "",
            styled(run.outcome or "open", style),
            f"{run.pushed}/{run.listed}",
            _not_pushed(run),
            *(str(n) if run.outcome else "" for n in (run.requests, run.retries, run.refused)),  # known at the end
            *([run.trace_id] if wide else []),
        )
    console.print(table)
    for runs_alike, text, style in _remarks(runs):
        console.print(f"{_of_runs(runs_alike)}: {text}", style=style, soft_wrap=True)
    if not wide:
        console.print("trace ids: --json", style="dim")


def _remarks(runs: Iterable[Run]) -> Iterator[tuple[Sequence[Run], str, str]]:
    """Yield each error and each note once, with the runs that have it and a style."""
    found = dict[tuple[str, str], list[Run]]()
    for run in runs:
        if run.error:
            found.setdefault((run.error, _STYLES[run.outcome]), []).append(run)
        if run.note:
            found.setdefault((run.note, "dim"), []).append(run)
    for (text, style), alike in found.items():
        yield alike, text, style


def _of_runs(runs: Sequence[Run]) -> str:
    """Return the one run's id, or the number of runs and their tenants."""
    if len(runs) == 1:
        return runs[0].run_id
    tenants = list(dict.fromkeys(run.tenant for run in runs))
    return f"{len(runs)} runs of {listed(tenants, most=_NAMED)}"


def _is_late(run: Run) -> bool:
    return run.late_s >= 1 or run.skipped_ticks > 0


def _late(run: Run) -> str:
    """Return how late a run began, and how many ticks it skipped."""
    began = seconds(run.late_s) if run.late_s >= 1 else ""
    return ", ".join(filter(None, (began, f"skipped {run.skipped_ticks}" if run.skipped_ticks else "")))


def day_as_json(day: Day) -> dict[str, object]:
    """Return a day of a tenant as `runs --daily --json` prints it."""
    return asdict(day) | {"day": day.day.isoformat(), **{key: round(getattr(day, key), 3) for key in _SECONDS_OF_DAY}}


def print_days(days: Sequence[Day]) -> None:
    """Print days of a tenant as a table that fits the terminal, and the last error of each below it."""
    console, table = new_console(), new_table()
    wide = console.width >= WIDE
    table.add_column("day (UTC)", no_wrap=True)
    for name in ("runs", "not succeeded", "pushed", "not pushed"):
        counts = name in {"runs", "pushed"}
        table.add_column(name, justify="right" if counts else "left", no_wrap=counts, overflow="fold")
    late = any(day.skipped_ticks for day in days)
    for name in ("requests", *("retries", "429s") * wide, "waited"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("longest run", *("skipped ticks",) * late):  # headings of two lines if narrow
        table.add_column(name, justify="right", min_width=7)
    for day in days:
        ends = {"partial": day.runs_partial, "failed": day.runs_failed, "abandoned": day.runs_abandoned}
        table.add_row(
            str(day.day),
            str(day.runs),
            _counted(ends),
            f"{day.pushed}/{day.listed}",
            _not_pushed(day),
            str(day.requests),
            *(str(day.retries), str(day.refused)) * wide,
            *(format_duration(_whole_seconds(timedelta(seconds=each))) for each in (day.waited_s, day.longest_s)),
            *(str(day.skipped_ticks),) * late,
        )
    console.print(table)
    if not wide:
        console.print("retries, 429s: --json", style="dim")
    for day in days:
        if day.error:
            console.print(f"{day.day}: {day.error}", style=_STYLES[Outcome.PARTIAL], soft_wrap=True)


def letter_as_json(letter: DeadLetter) -> dict[str, object]:
    """Return a dead letter as `dead-letters list --json` and `show --json` print it, with the campaign as an object."""
    return _with_iso_instants(asdict(letter) | {"payload": json.loads(letter.payload)})


def print_letters(letters: Sequence[DeadLetter]) -> None:
    """Print dead letters as a table."""
    table = new_table()
    heading, times = column("died", (letter.dead_at for letter in letters))
    for name in ("tenant", "campaign", heading):
        table.add_column(name, overflow="fold")
    table.add_column("attempts", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for letter, died in zip(letters, times, strict=True):
        table.add_row(letter.tenant, letter.campaign_id, died, str(letter.attempts), letter.reason)
    new_console().print(table)


def print_letter(letter: DeadLetter) -> None:
    """Print a dead letter in detail."""
    instants = {key: full(value) for key, value in asdict(letter).items() if isinstance(value, datetime)}
    for key, value in (letter_as_json(letter) | instants).items():
        if key == "payload":
            _write(f"payload: {escaped_lines(json.dumps(value, indent=2, ensure_ascii=False))}")
        else:
            print_line(f"{key.replace('_', ' ')}: {'-' if value is None else value}")


def together(said: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield `name: text` for names and texts, a line for all names with the same text, in the order of the first."""
    names = dict[str, list[str]]()
    for name, text in said:
        names.setdefault(text, []).append(name)
    for text, alike in names.items():
        yield f"{listed(alike, most=_NAMED)}: {text}"


def seconds(time: float | None) -> str:
    """Return a time as text, to the second; empty if it is None."""
    if time is None:
        return ""
    try:
        return format_duration(timedelta(seconds=round(time)))
    except OverflowError:
        return f"{time:.1e}s"


def new_console() -> Terminal:
    """Return a console on standard output, as wide as the terminal, or as any table without one."""
    return Terminal(width=None if sys.stdout.isatty() else _UNBOUND)


def new_table() -> Table:
    """Return an empty table in the style of all commands."""
    return Rows()


def _with_iso_instants(values: dict[str, object]) -> dict[str, object]:
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in values.items()}


def _not_pushed(of: Run | Day) -> str:
    return _counted({"skipped": of.skipped, "stored": of.stored, "failed": of.failed, "dead": of.dead_lettered})


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _whole_seconds(duration: timedelta) -> timedelta:
    return timedelta(seconds=round(duration.total_seconds()))
