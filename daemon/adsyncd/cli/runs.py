"""`adsyncd runs`: the history of runs."""

import os
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import anyio
import typer

from adsyncd.cli.arguments import CONFIG, Config, Json, find_tenant
from adsyncd.cli.output import day_as_json, print_days, print_json, print_line, print_runs, run_as_json
from adsyncd.clock import SystemClock
from adsyncd.config import Settings, load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.model.day import Day
from adsyncd.model.run import Run
from adsyncd.store import open_reader

Shown = TypeVar("Shown", Run, Day)


def runs(
    tenant: Annotated[str | None, typer.Argument(metavar="TENANT", help="Only this tenant's.")] = None,
    config: Config = CONFIG,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Maximum number of runs or days.")] = 20,
    daily: Annotated[bool, typer.Option("--daily", help="The tenant's ended runs summed up by day.")] = False,
    json: Json = False,
) -> None:
    """Show the latest runs, newest first, with their errors and trace ids.

    The daemon need not run. A run is open while it is in progress, or interrupted and not yet resumed. Requests in
    flight when a run was interrupted are not counted.

    Runs are kept for store.keep_runs, and the sum of each day for store.keep_history: --daily shows both together.

    Exits 0; 1 if the tenant does not exist and has no runs, or if there is no database of this version.
    """
    settings = load_settings(config, os.environ)
    if daily:
        if tenant is None:
            raise typer.BadParameter("name the TENANT whose days to show", param_hint="--daily")
        days = anyio.run(_days, settings, tenant, limit)
        _show(days, day_as_json, print_days, settings, tenant, json=json)
    else:
        _show(anyio.run(_runs, settings, tenant, limit), run_as_json, print_runs, settings, tenant, json=json)


def _show(
    found: Sequence[Shown],
    as_json: Callable[[Shown], dict[str, object]],
    show: Callable[[Sequence[Shown]], None],
    settings: Settings,
    tenant: str | None,
    *,
    json: bool,
) -> None:
    if tenant is not None and not found:
        find_tenant(settings, read_tenants(settings), tenant)
    if json:
        print_json([as_json(one) for one in found])
    elif found:
        show(found)
    else:
        print_line(f"no runs{f' of {tenant}' if tenant else ''} yet")


async def _runs(settings: Settings, tenant: str | None, limit: int) -> list[Run]:
    async with open_reader(settings.store.url, clock=SystemClock()) as reader:
        return await reader.runs(tenant, limit)


async def _days(settings: Settings, tenant: str, limit: int) -> list[Day]:
    async with open_reader(settings.store.url, clock=SystemClock()) as reader:
        return (await reader.days(tenant))[: -limit - 1 : -1]
