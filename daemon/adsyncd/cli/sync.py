"""`adsyncd sync`: one run of one tenant, now."""

import difflib
import os
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from adsyncd import daemon
from adsyncd.cli import event_loop
from adsyncd.cli.options import CONFIG, Config, Json, LogLevel
from adsyncd.cli.output import print_json, print_runs, run_as_json
from adsyncd.config import Settings, load_settings
from adsyncd.dropins import read_tenants
from adsyncd.errors import ConfigError, Problem
from adsyncd.run import Outcome, Run, Tally
from adsyncd.tenant import Tenant

_REDRAW_S = 0.1
_EXIT = {Outcome.SUCCEEDED: 0, Outcome.PARTIAL: 3}


def sync(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id: the name of its drop-in.")],
    config: Config = CONFIG,
    json: Json = False,
    log_level: LogLevel = "warning",
) -> None:
    """Run one tenant now, without a daemon.

    Exits 0 when all campaigns were pushed, 3 when some were not, 1 when the run failed. Ctrl-C lets what is on its way
    come back; the next run of the tenant goes on where this one stopped.
    """
    settings = load_settings(config, os.environ)
    run = event_loop.run(_sync, settings, _tenant(settings, tenant), log_level, Console(stderr=True))
    if json:
        print_json(run_as_json(run))
    else:
        print_runs([run])
    raise typer.Exit(_EXIT.get(run.outcome, 1) if run.outcome else 1)


def _tenant(settings: Settings, tenant_id: str) -> Tenant:
    tenants = read_tenants(settings)
    if tenant_id in tenants.good:
        return tenants.good[tenant_id]
    if tenant_id in tenants.bad:
        raise ConfigError(tenants.bad[tenant_id])
    if tenants.directories:
        raise ConfigError(tenants.directories)
    places = " or ".join(str(folder / f"{tenant_id}.toml") for folder in settings.tenants_dirs)
    near = difflib.get_close_matches(tenant_id, tenants.good, n=1)
    mend = f'did you mean "{near[0]}"?' if near else f"create {places}"
    raise ConfigError([Problem(None, None, None, f'there is no tenant "{tenant_id}"', mend)])


async def _sync(settings: Settings, tenant: Tenant, log_level: str, console: Console) -> Run:
    tally = Tally()
    async with (
        daemon.open_parts(settings, os.environ, log_level) as parts,
        daemon.beside(_show, tenant.id, tally, console),
    ):
        return await daemon.sync_once(parts, tenant, tally)


async def _show(tenant_id: str, tally: Tally, console: Console) -> None:
    """Draw the run's progress on a terminal until cancelled. It is known late how many campaigns there are."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    more = (TimeElapsedColumn(), TextColumn("{task.fields[doing]}"))
    with Progress(*columns, *more, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(tenant_id, total=None, doing="")

        def draw() -> None:
            progress.update(bar, total=tally.listed or None, completed=tally.settled, doing=_doing(tally))

        try:
            while True:
                draw()
                await anyio.sleep(_REDRAW_S)
        finally:
            draw()


def _doing(tally: Tally) -> str:
    retries = f"{tally.retries} retries" if tally.retries else ""
    waits = f"waiting for quota until {tally.waits_until.astimezone():%H:%M:%S}" if tally.waits_until else ""
    return ", ".join(part for part in (retries, waits) if part)
