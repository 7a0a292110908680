"""`adsyncd runs show`: one run in words and as JSON, with the campaigns that it did not push."""

from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.table import Table

from adsyncd.cli.output import new_table, run_as_json, seconds, styled
from adsyncd.cli.times import column, full
from adsyncd.model.failure import RunDetails, Unpushed
from adsyncd.model.run import Run
from adsyncd.model.status import counted

_KEYS = ("campaign_id", "name", "state", "reason", "attempts", "since")


def details_as_json(details: RunDetails) -> dict[str, object]:
    """Return a run as `runs show --json` prints it: as in `runs --json`, and the campaigns that it did not push."""
    lost = [asdict(one) | {"since": one.since.isoformat()} for one in details.unpushed]
    return {
        "run": run_as_json(details.run) | {"untried": details.run.untried},
        "unpushed": [{key: one[key] for key in _KEYS} for one in lost],
        "more": details.more,
    }


def run_view(details: RunDetails) -> RenderableType:
    """Return a run in words, and a table of the campaigns that it did not push."""
    run = details.run
    facts = [f"{name:<10} {value}" for name, value in _facts(run)]
    parts: list[RenderableType] = [styled(_headline(run), "bold"), *facts]
    if details.unpushed:
        parts += ["", "not pushed, the latest first:", _unpushed(details)]
    if details.more:
        shown = "more" if details.unpushed else "campaigns were not pushed; their reasons are not kept"
        parts.append(f"{details.more} {shown}")
    return Group(*parts)


def _headline(run: Run) -> str:
    done = f"{run.pushed} of {counted(run.listed, 'campaign')} pushed"
    return f"{run.run_id}: {run.outcome or 'open'}, {done}"


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    yield "tenant", run.tenant
    late = f", {seconds(run.late_s)} late" if run.late_s >= 1 else ""
    yield "started", f"{full(run.started_at)}{late}"
    if run.skipped_ticks:
        yield "skipped", f"{counted(run.skipped_ticks, 'tick')} of its tenant while it was in progress"
    if run.ended_at:
        yield "took", _took(run, (run.ended_at - run.started_at).total_seconds())
    yield "campaigns", _campaigns(run)
    if run.outcome:  # known at the end
        yield "requests", f"{run.requests}, {run.retries} of them retries, {run.refused} answered 429"
    if run.error:
        yield "error", run.error
    if run.note:
        yield "note", run.note
    yield "trace", run.trace_id


def _took(run: Run, took_s: float) -> str:
    """Return how long a run took, and for what it waited, the longest first."""
    waits = sorted(run.waits.items(), key=lambda wait: -wait[1])
    parts = [f"{seconds(waited_s)} {reason}" for reason, waited_s in waits if waited_s >= 1]
    if not parts:
        return seconds(took_s)
    rest = f", {seconds(took_s - sum(run.waits.values()))} without a wait"
    return f"{seconds(took_s)}; waited: {', '.join(parts)}{rest}"


def _campaigns(run: Run) -> str:
    counts = {"pushed": run.pushed, "skipped": run.skipped, "stored": run.stored}
    lost = {"failed": run.failed - run.untried, "dead": run.dead_lettered, "never tried": run.untried}
    told = [f"{number} {what}" for what, number in (counts | lost).items() if number]
    return ", ".join([f"{run.listed} listed", *told])


def _unpushed(details: RunDetails) -> Table:
    table = new_table()
    for name in ("campaign", "name", "state"):
        table.add_column(name, overflow="fold")
    table.add_column("attempts", justify="right", no_wrap=True)
    heading, times = column("since", (one.since for one in details.unpushed))
    table.add_column(heading, no_wrap=True)
    table.add_column("reason", overflow="fold")
    for one, since in zip(details.unpushed, times, strict=True):
        table.add_row(
            one.campaign_id,
            one.name or "",
            _state(one),
            str(one.attempts),
            since,
            one.reason or "",
        )
    return table


def _state(one: Unpushed) -> str:
    return one.state.value.replace("_", " ")
