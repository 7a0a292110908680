"""`adsyncd sync`: one run of a tenant, without the daemon."""

import os

import typer
from rich.console import Console

from adsyncd import daemon
from adsyncd.cli.arguments import CONFIG, Config, Json, LogLevel, TheTenant, find_tenant
from adsyncd.cli.output import Terminal, print_json, print_runs, run_as_json
from adsyncd.cli.progress import show_progress
from adsyncd.clock import SystemClock
from adsyncd.config import Settings, load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.host import event_loop
from adsyncd.model.run import Outcome, Run, Tally
from adsyncd.model.tenant import Tenant
from adsyncd.tasks import beside

_EXIT_CODES = {Outcome.SUCCEEDED: 0, Outcome.PARTIAL: 3}


def sync(
    tenant: TheTenant,
    config: Config = CONFIG,
    json: Json = False,
    log_level: LogLevel = "warning",
) -> None:
    """Run one tenant now, without a daemon.

    Exits 0 when all campaigns were pushed, or stored if the tenant only pulls, 3 when some were not, 1 when the run
    failed, or did not start because another process, such as the daemon, works on the tenant. After Ctrl-C, requests in
    flight may finish; the tenant's next run resumes this one.
    """
    settings = load_settings(config, os.environ)
    found = find_tenant(settings, read_tenants(settings), tenant)
    run = event_loop.run(_sync, settings, found, log_level, Terminal(stderr=True))
    if json:
        print_json(run_as_json(run))
    else:
        print_runs([run])
    raise typer.Exit(_EXIT_CODES.get(run.outcome, 1) if run.outcome else 1)


async def _sync(settings: Settings, tenant: Tenant, log_level: str, console: Console) -> Run:
    tally = Tally(now=SystemClock().monotonic)
    async with (
        daemon.open_parts(settings, os.environ, log_level) as parts,
        beside(show_progress, tenant.id, tally, console),
    ):
        return await daemon.sync_once(parts, tenant, tally)
