"""`adsyncd plan`: whether the quotas are enough for the schedules, by arithmetic."""

import os
from typing import Annotated

import typer

from adsyncd.cli.history import read_history
from adsyncd.cli.options import CONFIG, Config, Json
from adsyncd.cli.output import plan_as_json, print_json, print_line, print_plan
from adsyncd.cli.tenants import find_tenant
from adsyncd.clock import SystemClock
from adsyncd.config import load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.runs.plan import ASSUMED_CAMPAIGNS
from adsyncd.runs.plan import plan as make_plan


def plan(
    tenant: Annotated[
        str | None, typer.Argument(metavar="TENANT", help="Of this tenant and its platform alone.")
    ] = None,
    config: Config = CONFIG,
    json: Json = False,
) -> None:
    """Compute what the schedules need of the quotas, and say what would help those that need too much.

    It knows the drop-ins, and from the store how many campaigns each tenant has and what its last runs took. The daemon
    need not run, and nothing is sent. Exits 0 if the quotas are enough for every schedule, 1 if they are not.
    """
    settings = load_settings(config, os.environ)
    read = read_tenants(settings)
    if tenant is not None:
        find_tenant(settings, read, tenant)
    for problem in read.problems:
        print_line(f"warning: left out: {problem}", err=True)
    tenants = list(read.good.values())
    history = read_history(settings, tenants)
    found = make_plan(tenants, history.campaigns, history.requests, SystemClock().now())
    if tenant is not None:
        found = found.of(tenant)
    if unknown := sum(not one.known for one in found.tenants):
        assumed = f"each is taken to have {ASSUMED_CAMPAIGNS} campaigns"
        print_line(f"note: nobody has listed {unknown} of {len(found.tenants)} tenants yet: {assumed}", err=True)
    if json:
        print_json(plan_as_json(found))
    else:
        print_plan(found)
    raise typer.Exit(1 if found.fixes else 0)
