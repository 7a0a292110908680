"""`adsyncd plan`: compute whether the quotas are enough for the schedules, and what the store knows for that."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import anyio
import typer

from adsyncd.cli.arguments import CONFIG, Config, Json, find_tenant
from adsyncd.cli.output import plan_as_json, print_json, print_line, print_plan
from adsyncd.clock import SystemClock
from adsyncd.config import Settings, load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.errors import StoreError
from adsyncd.model.tenant import Tenant
from adsyncd.runs.plan import ASSUMED_CAMPAIGNS
from adsyncd.runs.plan import plan as make_plan
from adsyncd.store import open_reader


@dataclass(frozen=True, slots=True)
class History:
    """By tenant id, where it is known: how many campaigns it has, and the requests of the last good runs."""

    campaigns: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, Sequence[int]] = field(default_factory=dict)


def read_history(settings: Settings, tenants: Sequence[Tenant]) -> History:
    """Return what the store knows. If it can't be read, that is nothing, and standard error says why."""
    try:
        return anyio.run(_read, settings.store.url, [tenant.id for tenant in tenants])
    except StoreError as error:
        print_line(f"note: nothing is known of what the tenants have: {error}", err=True)
        return History()


async def _read(url: str, tenants: Sequence[str]) -> History:
    async with open_reader(url, clock=SystemClock()) as reader:
        return History(await reader.campaign_counts(tenants), await reader.recent_requests(tenants))


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
