"""`adsyncd runs`: what happened."""

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
    tenant: Annotated[str | None, typer.Argument(metavar="TENANT", help="Of this tenant alone.")] = None,
    config: Config = CONFIG,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many runs.")] = 20,
    json: Json = False,
) -> None:
    """Show the latest runs, newest first, with what went wrong and the id of each one's trace.

    The daemon need not run. A run that still goes on, or was cut off and will be resumed, is open. Of one that was cut
    off, requests that had no answer yet are not counted.

    Exits 0, or 1 if there is neither a run of the tenant nor the tenant itself, or no database of this version.
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
