"""`adsyncd campaigns`: what is stored of a tenant's campaigns."""

import json as json_
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Annotated

import anyio
import typer
from rich.text import Text

from adsyncd.cli.arguments import CONFIG, Config, Json, not_stored
from adsyncd.cli.instants import parsed
from adsyncd.cli.output import JsonList, new_console, new_table, print_csv, print_line, styled
from adsyncd.cli.times import TO_THE_MINUTE, column
from adsyncd.clock import SystemClock
from adsyncd.config import store_settings
from adsyncd.store import Reader, open_reader
from adsyncd.store.stored_campaigns import CampaignFilter, StoredCampaign

COLUMNS = ("tenant", *(field.name for field in fields(StoredCampaign) if field.name != "payload"))  # of the CSV
_SHOWN = 20
_PAGE = 2000  # campaigns that are held at the same time

_TheId = Annotated[str | None, typer.Option("--id", metavar="ID", help="Only the campaign of this id.")]
_Name = Annotated[str | None, typer.Option("--name", metavar="TEXT", help="Only those whose name contains this text.")]
_Status = Annotated[str | None, typer.Option("--status", metavar="TEXT", help="Only those with this status.")]
_Since = Annotated[
    datetime | None,
    typer.Option(
        "--synced-since",
        parser=parsed,
        metavar="TIME",
        help='Only those that were pushed from then on: "2h" ago, or an instant.',
    ),
]
_Dead = Annotated[bool, typer.Option("--dead", help="Only those that are dead letters.")]
_Deleted = Annotated[bool, typer.Option("--deleted", help="Those that were deleted upstream, instead of the others.")]
_Limit = Annotated[
    int | None,
    typer.Option("--limit", "-n", min=1, help="How many at most (20 as text, else all).", show_default=False),
]
_Csv = Annotated[bool, typer.Option("--csv", help="Print CSV instead of text.")]


def campaigns(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")],
    config: Config = CONFIG,
    campaign_id: _TheId = None,
    name: _Name = None,
    status: _Status = None,
    synced_since: _Since = None,
    dead: _Dead = False,
    deleted: _Deleted = False,
    limit: _Limit = None,
    csv: _Csv = False,
    json: Json = False,
) -> None:
    """Show what is stored of a tenant's campaigns, in the order of their ids, as the last listing had them.

    The daemon need not run. Names and statuses match whatever their case is. --csv and --json print all of them, page
    by page; JSON has the object that the platform lists as well. In CSV, a text that a spreadsheet would take for a
    formula has an apostrophe before it, and control characters are escaped.

    Exits 0; 1 if nothing is stored of such a tenant, or if there is no database of this version.
    """
    if csv and json:
        raise typer.BadParameter("choose one of --csv and --json")
    wanted = CampaignFilter(campaign_id, name, status, synced_since, deleted, dead)
    url = store_settings(config, os.environ).store.url
    if csv:
        anyio.run(_print_csv, url, tenant, wanted, limit)
    elif json:
        anyio.run(_print_json, url, tenant, wanted, limit)
    else:
        anyio.run(_print_text, url, tenant, wanted, limit or _SHOWN)


async def _print_text(url: str, tenant: str, wanted: CampaignFilter, limit: int) -> None:
    found = list[StoredCampaign]()
    async with open_reader(url, clock=SystemClock()) as reader:
        async for page in _pages(reader, tenant, wanted, limit):
            found += page
        more = await reader.campaign_count(tenant, wanted) - len(found)
    if found:
        _print_table(found)
    else:
        narrowed = wanted not in {CampaignFilter(), CampaignFilter(deleted=True)}
        print_line(f"no {'deleted ' * wanted.deleted}campaigns of {tenant}{' match' * narrowed}")
    if more > 0:
        print_line(f"and {more:,} more: see --limit, or --csv and --json for all")


def _print_table(found: Sequence[StoredCampaign]) -> None:
    table = new_table()
    for name in ("campaign", "name"):
        table.add_column(name, overflow="fold")
    table.add_column("status")
    table.add_column("budget", justify="right", no_wrap=True)
    heading, times = column("pushed", (one.synced_at for one in found), TO_THE_MINUTE)
    table.add_column(heading, no_wrap=True)
    table.add_column("state")
    for one, pushed in zip(found, times, strict=True):
        budget = "" if one.budget is None else f"{one.budget:,.2f} {one.currency or ''}".rstrip()
        table.add_row(one.campaign_id, one.name or "", one.status or "", budget, pushed, _state(one))
    new_console().print(table)


def _state(one: StoredCampaign) -> str | Text:
    if one.deleted_at:
        return "deleted"
    if one.dead_since:
        return styled("dead letter", "red")
    return styled("missing", "yellow") if one.missing_since else ""


async def _print_csv(url: str, tenant: str, wanted: CampaignFilter, limit: int | None) -> None:
    async with open_reader(url, clock=SystemClock()) as reader:
        pages = _pages(reader, tenant, wanted, limit)
        first: list[StoredCampaign] = await anext(pages, [])  # before the head, which an error does not have
        print_csv([COLUMNS])
        print_csv(_csv_row(tenant, one) for one in first)
        async for page in pages:
            print_csv(_csv_row(tenant, one) for one in page)


def _csv_row(tenant: str, one: StoredCampaign) -> list[str | float | None]:
    return [tenant, *(_told(getattr(one, name)) for name in COLUMNS[1:])]


async def _print_json(url: str, tenant: str, wanted: CampaignFilter, limit: int | None) -> None:
    printed = JsonList()
    async with open_reader(url, clock=SystemClock()) as reader:
        async for page in _pages(reader, tenant, wanted, limit, payload=True):
            for one in page:
                printed.add(as_json(tenant, one))
    printed.close()


def as_json(tenant: str, one: StoredCampaign) -> dict[str, object]:
    """Return a campaign as `campaigns --json` prints it; instants as ISO 8601 in UTC."""
    values = {name: _told(getattr(one, name)) for name in COLUMNS[1:]}
    return {"tenant": tenant, **values, "payload": None if one.payload is None else json_.loads(one.payload)}


def _told(value: str | float | datetime | None) -> str | float | None:
    return value.isoformat() if isinstance(value, datetime) else value


async def _pages(
    reader: Reader, tenant: str, wanted: CampaignFilter, limit: int | None, *, payload: bool = False
) -> AsyncIterator[list[StoredCampaign]]:
    """Yield what matches in pages, up to `limit`. Raises AdsyncdError if nothing is stored of the tenant."""
    after, left = None, limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        page = await reader.campaigns(tenant, wanted, size, after, payload=payload)
        if page:
            yield page
            after = page[-1].campaign_id
            left = None if left is None else left - len(page)
        elif after is None and tenant not in (stored := await reader.stored_tenants()):
            raise not_stored(tenant, stored)
        if len(page) < size:
            return
