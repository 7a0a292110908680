"""`adsyncd runs`: the history of runs."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import anyio
import typer

from adsyncd.cli.arguments import CONFIG, Config, Json, Socket
from adsyncd.cli.chosen import chosen, refuse_unknown
from adsyncd.cli.instants import Since, Until
from adsyncd.cli.output import (
    day_as_json,
    new_console,
    print_days,
    print_json,
    print_line,
    print_runs,
    run_as_json,
)
from adsyncd.cli.run_view import details_as_json, run_view
from adsyncd.cli.selection import selecting
from adsyncd.clock import SystemClock
from adsyncd.config import store_settings
from adsyncd.errors import AdsyncdError, ConfigError
from adsyncd.model.day import Day
from adsyncd.model.failure import RunDetails, unpushed_of
from adsyncd.model.run import Outcome, Run
from adsyncd.model.selection import EVERYTHING, Selection
from adsyncd.model.status import listed
from adsyncd.store import open_reader
from adsyncd.store.run_selection import EARLIEST, LATEST, RunSelection

_MOST_NAMED = 5

Shown = TypeVar("Shown", Run, Day)


class _End(StrEnum):
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    ABANDONED = "abandoned"
    OPEN = "open"


_Outcomes = Annotated[
    list[_End] | None,
    typer.Option("--outcome", "-o", help="Only runs that ended so, or are open; may be repeated.", show_default=False),
]
_TheTenant = Annotated[
    str | None,
    typer.Argument(metavar="TENANT|show", help="Only this tenant's runs; or show one run,", show_default=False),
]
_TheRun = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="by its id, its trace id, or the beginning of one of them.", show_default=False),
]


@selecting
def runs(
    tenant: _TheTenant = None,
    run: _TheRun = None,
    since: Since = None,
    until: Until = None,
    outcome: _Outcomes = None,
    config: Config = CONFIG,
    socket: Socket = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, help="Maximum number of runs, days, or campaigns of a run.")
    ] = 20,
    daily: Annotated[bool, typer.Option("--daily", help="The tenant's ended runs summed up by day.")] = False,
    json: Json = False,
    selection: Selection = EVERYTHING,
) -> None:
    """Show the latest runs by the time at which they were due, newest first, with their errors and trace ids.

    The daemon need not run, except for --failing, --late, --waiting and --paused. A run is open while it is in
    progress, or interrupted and not yet resumed. Requests in flight when a run was interrupted are not counted.

    An error that several of the runs shown have is printed once, with the number of these runs.

    `adsyncd runs show RUN` shows what a run waited for, and each campaign that it did not push with its reason. At most
    1000 of them are kept of a run, as long as the run.

    Runs are kept for store.keep_runs, and the sum of each day for store.keep_history: --daily shows both together.

    Exits 0; 1 if the tenant does not exist and has no runs, if no tenant has the platform or the pattern, if there is
    no such run, or if there is no database of this version; 4 or 5 if a daemon is needed and does not answer.
    """
    wanted = RunSelection(
        None if tenant is None else [tenant],
        since or EARLIEST,
        until or LATEST,
        frozenset(None if one is _End.OPEN else Outcome(one) for one in outcome or ()),
    )
    if (run or daily) and (wanted.narrowed or not selection.everything):
        raise typer.BadParameter("--daily and show RUN take no other selection of runs")
    if tenant is not None and not selection.everything:
        raise typer.BadParameter("name a TENANT, or select tenants by options")
    url = store_settings(config, os.environ).store.url
    if run is None:
        if daily:
            _show_days(url, config, tenant, limit, json=json)
        else:
            found = anyio.run(_runs, url, config, socket, selection, wanted, limit)
            _show(found, run_as_json, print_runs, url, config, tenant, json=json, none=_none(selection, wanted))
        return
    if tenant != "show" or daily:
        raise typer.BadParameter("to show one run, write: adsyncd runs show RUN")
    details = anyio.run(_details, url, run, limit)
    if json:
        print_json(details_as_json(details))
    else:
        console = new_console()
        console.print(run_view(details), soft_wrap=not console.is_terminal)


def _show_days(url: str, config: Path, tenant: str | None, limit: int, *, json: bool) -> None:
    if tenant is None:
        raise typer.BadParameter("name the TENANT whose days to show", param_hint="--daily")
    days = anyio.run(_days, url, tenant, limit)
    _show(days, day_as_json, print_days, url, config, tenant, json=json, none="no runs of {} yet")


def _none(selection: Selection, wanted: RunSelection) -> str:
    """Return the line for no runs; {} stands for the tenant."""
    narrowed = wanted.narrowed or not selection.everything
    return f"no {'such ' * narrowed}runs{' of {}' * (wanted.tenants is not None)}{'' if narrowed else ' yet'}"


def _show(
    found: Sequence[Shown],
    as_json: Callable[[Shown], dict[str, object]],
    show: Callable[[Sequence[Shown]], None],
    url: str,
    config: Path,
    tenant: str | None,
    *,
    json: bool,
    none: str,
) -> None:
    if tenant is not None and not found and tenant not in anyio.run(_stored, url):
        try:
            refuse_unknown(tenant, config)
        except ConfigError:
            if tenant == "show":
                raise typer.BadParameter("name the RUN: adsyncd runs show RUN") from None
            raise
    if json:
        print_json([as_json(one) for one in found])
    elif found:
        show(found)
    else:
        print_line(none.format(tenant))


async def _runs(
    url: str, config: Path, socket: Path | None, selection: Selection, wanted: RunSelection, limit: int
) -> list[Run]:
    async with open_reader(url, clock=SystemClock()) as reader:
        if not selection.everything:
            wanted = replace(wanted, tenants=await chosen(selection, config, await reader.stored_tenants(), socket))
        return await reader.latest_runs(wanted, limit)


async def _stored(url: str) -> list[str]:
    async with open_reader(url, clock=SystemClock()) as reader:
        return await reader.stored_tenants()


async def _days(url: str, tenant: str, limit: int) -> list[Day]:
    async with open_reader(url, clock=SystemClock()) as reader:
        return (await reader.days(tenant))[: -limit - 1 : -1]


async def _details(url: str, name: str, limit: int) -> RunDetails:
    """Return the run of an id, or the one that begins with `name`. Raises AdsyncdError if there is none, or several."""
    async with open_reader(url, clock=SystemClock()) as reader:
        run = await reader.run(name)
        if run is None:
            found = await reader.find_runs(name, _MOST_NAMED + 1)
            if len(found) != 1:
                raise AdsyncdError(_problem(name, found))
            [run] = found
        lost = await reader.unpushed(run.run_id, limit)
    return RunDetails(run, lost, max(unpushed_of(run) - len(lost), 0))


def _problem(name: str, found: Sequence[Run]) -> str:
    """Return what is wrong with a name that is not that of one run."""
    if not found:
        return (
            f"there is no run {name}; adsyncd runs --json lists the latest with their ids, and older ones are not kept"
        )
    names = listed([run.run_id for run in found], most=_MOST_NAMED)
    return f"several runs begin with {name}: write one of them in full: {names}"
