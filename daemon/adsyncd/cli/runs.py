"""`adsyncd runs`: the history of runs."""

import os
from typing import Annotated

import anyio
import typer

from adsyncd.cli.arguments import CONFIG, Config, Json, find_tenant
from adsyncd.cli.output import print_json, print_line, print_runs, run_as_json
from adsyncd.clock import SystemClock
from adsyncd.config import Settings, load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.model.run import Run
from adsyncd.store import open_reader


def runs(
    tenant: Annotated[str | None, typer.Argument(metavar="TENANT", help="Only this tenant's.")] = None,
    config: Config = CONFIG,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Maximum number of runs.")] = 20,
    json: Json = False,
) -> None:
    """Show the latest runs, newest first, with their errors and trace ids.

    The daemon need not run. A run is open while it is in progress, or interrupted and not yet resumed. Requests in
    flight when a run was interrupted are not counted.

    Exits 0; 1 if the tenant does not exist and has no runs, or if there is no database of this version.
    """
    settings = load_settings(config, os.environ)
    found = anyio.run(_runs, settings, tenant, limit)
    if tenant is not None and not found:
        find_tenant(settings, read_tenants(settings), tenant)
    if json:
        print_json([run_as_json(run) for run in found])
    elif found:
        print_runs(found)
    else:
        print_line(f"no runs{f' of {tenant}' if tenant else ''} yet")


async def _runs(settings: Settings, tenant: str | None, limit: int) -> list[Run]:
    async with open_reader(settings.store.url, clock=SystemClock()) as reader:
        return await reader.runs(tenant, limit)
