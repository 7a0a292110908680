"""`adsyncd plan`: whether the quotas are enough for the schedules, from the drop-ins and the store."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import anyio
import typer

from adsyncd.cli.arguments import CONFIG, Config, Json, Socket, find_tenant
from adsyncd.cli.chosen import chosen
from adsyncd.cli.output import print_json, print_line
from adsyncd.cli.plan_view import plan_as_json, print_plan
from adsyncd.cli.selection import selecting
from adsyncd.clock import SystemClock
from adsyncd.config import Settings, load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.errors import StoreError
from adsyncd.model.selection import EVERYTHING, Selection
from adsyncd.model.status import counted
from adsyncd.model.tenant import Tenant
from adsyncd.runs.plan import ASSUMED_CAMPAIGNS
from adsyncd.runs.plan import plan as make_plan
from adsyncd.store import open_reader


@dataclass(frozen=True, slots=True)
class History:
    """By tenant id: its number of campaigns, and the requests of its last good runs. Unknown tenants are absent."""

    campaigns: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, Sequence[int]] = field(default_factory=dict)


def read_history(settings: Settings, tenants: Sequence[Tenant]) -> History:
    """Return the history in the store. If the store can't be read, it is empty, and standard error says why."""
    try:
        return anyio.run(_read, settings.store.url, [tenant.id for tenant in tenants])
    except StoreError as error:
        print_line(f"note: the number of campaigns is unknown: {error}", err=True)
        return History()


async def _read(url: str, tenants: Sequence[str]) -> History:
    async with open_reader(url, clock=SystemClock()) as reader:
        return History(await reader.campaign_counts(tenants), await reader.recent_requests(tenants))


@selecting
def plan(
    tenant: Annotated[str | None, typer.Argument(metavar="TENANT", help="Only this tenant and its platform.")] = None,
    config: Config = CONFIG,
    socket: Socket = None,
    json: Json = False,
    selection: Selection = EVERYTHING,
) -> None:
    """Compute how much of the quotas the schedules need, with a fix for those that need too much.

    It reads the drop-ins, and from the store each tenant's number of campaigns and the requests of its last runs. The
    daemon need not run, except for --failing, --late, --waiting and --paused, and nothing is sent. Options select which
    tenants are shown; the quota that a client id or a platform has counts for all that share it.

    Exits 0 if the quotas are enough for the schedules shown, 1 if not, or if there is no such tenant; 4 or 5 if a
    daemon is needed and does not answer.
    """
    if tenant is not None and not selection.everything:
        raise typer.BadParameter("name a TENANT, or select tenants by options")
    settings = load_settings(config, os.environ)
    read = read_tenants(settings)
    if tenant is not None:
        find_tenant(settings, read, tenant)
    for problem in read.problems:
        print_line(f"warning: skipped: {problem}", err=True)
    tenants = list(read.good.values())
    history = read_history(settings, tenants)
    found = make_plan(tenants, history.campaigns, history.requests, SystemClock().now())
    if tenant is not None:
        found = found.of(tenant)
    if (selected := anyio.run(chosen, selection, config, [one.id for one in tenants], socket)) is not None:
        found = found.of(*selected)
    if unknown := sum(not one.known for one in found.tenants):
        have = "has" if len(found.tenants) == 1 else "have"
        never = f"{unknown} of {counted(len(found.tenants), 'tenant')} {have} never been listed"
        print_line(f"note: {never}; assuming {ASSUMED_CAMPAIGNS} campaigns each", err=True)
    if json:
        print_json(plan_as_json(found))
    elif selected is not None and not found.tenants:
        print_line("no tenant is selected")
    else:
        print_plan(found)
    raise typer.Exit(1 if found.fixes else 0)
