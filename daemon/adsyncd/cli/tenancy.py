"""`adsyncd forget` and `adsyncd rename`: remove what is stored of a tenant, or give it to another name."""

import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import anyio
import typer
from pydantic import TypeAdapter

from adsyncd.cli.arguments import CONFIG, Config, Json, Socket, asked_at, not_stored
from adsyncd.cli.client import Refused, is_absent, path_of, reaching
from adsyncd.cli.output import print_json, print_line, seconds
from adsyncd.clock import SystemClock, entropy
from adsyncd.config import Settings, load_settings
from adsyncd.config.dropins import Tenants, read_tenants
from adsyncd.errors import AdsyncdError, CommandRefused, ConfigError, NoDaemon
from adsyncd.host.owner import open_owner
from adsyncd.model.status import State, TenantStatus
from adsyncd.model.tenant import TENANT_ID
from adsyncd.runs.lease import Leases
from adsyncd.store import open_reader
from adsyncd.store.tenancy import Client, Permits, Records, Tenancy, is_taken, open_tenancy
from adsyncd.tasks import beside

_PAUSE_S = 0.05  # between two pieces, in which a daemon's writes go on
_TENANT = TypeAdapter(TenantStatus)
_WORDS = {  # by kind of record: one, several
    "campaigns": ("campaign", "campaigns"),
    "dead_letters": ("dead letter", "dead letters"),
    "runs": ("run", "runs"),
    "unpushed": ("failed push of its runs", "failed pushes of its runs"),
    "owed": ("push of an open run", "pushes of open runs"),
    "days": ("day's sum of runs", "days' sums of runs"),
    "listing_pages": ("kept page of its listing", "kept pages of its listing"),
    "pauses": ("pause", "pauses"),
}

_DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only count; change nothing.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def forget(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")],
    config: Config = CONFIG,
    yes: _Yes = False,
    dry_run: _DryRun = False,
    json: Json = False,
    socket: Socket = None,
) -> None:
    """Delete all that is stored of a tenant: its campaigns, dead letters, runs, sums of days, and its pause.

    On a terminal it says what there is and asks first. It is refused while the tenant's drop-in is in force, while the
    daemon serves the tenant, and while another process works on it. Runs of other tenants go on meanwhile. If it is cut
    short, call it again.

    Permits on record belong to a client id, which tenants may share. Those of client ids that no drop-in has any more
    are deleted as well, but not before they can't count at the platform any more.

    Exits 0; 1 if it is refused, or if nothing is stored of such a tenant; 2 without a terminal and without --yes; 4 if
    a daemon may run but can't be asked; 5 if it does not answer in time.
    """
    if not (yes or dry_run or sys.stdin.isatty()):
        raise typer.BadParameter("there is no terminal to ask on; to delete without a question: --yes")
    settings, at = load_settings(config, os.environ), asked_at(config, socket)
    in_use = _in_use(_not_in_force(settings, tenant, at), tenant)
    found = anyio.run(_forgettable, settings, tenant, in_use)
    if not (yes or dry_run):
        for line in (*_lines(f"{tenant} has", *found), "delete all of it? [y/N]"):
            print_line(line, err=True)
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise AdsyncdError("nothing was deleted, since the answer was not y")
        in_use = _in_use(_not_in_force(settings, tenant, at), tenant)  # the answer may have taken long
    records, permits = found if dry_run else anyio.run(_forget, settings, tenant, in_use)
    if json:
        of_permits = None if permits is None else asdict(permits)
        print_json({"tenant": tenant, "dry_run": dry_run, "records": asdict(records), "permits": of_permits})
        return
    for line in _lines(f"{tenant} has" if dry_run else f"deleted of {tenant}:", records, permits):
        print_line(line)


def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The id that the tenant had.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The id that it has from now on.")],
    config: Config = CONFIG,
    dry_run: _DryRun = False,
    json: Json = False,
    socket: Socket = None,
) -> None:
    """Give all that is stored of a tenant to another id, so that a renamed drop-in goes on where it was.

    A drop-in's name is its tenant's id, so a renamed file is a new tenant without a history. Move the old file away,
    `adsyncd reload`, rename, put the new file there, `adsyncd reload`.

    The ids of runs begin with the new name afterwards; trace ids and idempotency keys stay. All of it happens in one
    transaction, or nothing. It is refused while the drop-in OLD is in force, while the daemon serves OLD or NEW, while
    another process works on either, and if anything is stored of NEW.

    Exits 0; 1 if it is refused, or if nothing is stored of OLD; 4 if a daemon may run but can't be asked; 5 if it does
    not answer in time.
    """
    if old == new:
        raise typer.BadParameter("OLD and NEW are the same")
    if not re.fullmatch(TENANT_ID, new):
        raise typer.BadParameter("it is not a valid tenant id: use at most 63 of a-z, 0-9 and -", param_hint="NEW")
    settings, at = load_settings(config, os.environ), asked_at(config, socket)
    _not_in_force(settings, old, at)
    anyio.run(_refuse_if_served, at, new)
    records = anyio.run(_renamable, settings, old, new) if dry_run else anyio.run(_rename, settings, old, new)
    if json:
        print_json({"tenant": old, "renamed_to": new, "dry_run": dry_run, "records": asdict(records)})
    else:
        print_line(f"{old} {'would become' if dry_run else 'is now'} {new}: {_counted(records)}")


def _not_in_force(settings: Settings, tenant: str, at: Path) -> Tenants:
    """Return all drop-ins. Raises AdsyncdError if one of the tenant is in force, here or in the daemon."""
    tenants = read_tenants(settings)
    away = "move its file away, then: adsyncd reload"
    if tenant in tenants.bad:
        raise CommandRefused(f"{tenant} has a drop-in that is refused, so an earlier version may be in force", away)
    if tenants.directories:
        raise ConfigError(tenants.directories)
    if tenant in tenants.good and tenants.good[tenant].enabled:
        raise CommandRefused(f"the drop-in of {tenant} is in force", away)
    anyio.run(_refuse_if_served, at, tenant)
    return tenants


async def _refuse_if_served(at: Path, tenant: str) -> None:
    """Raise CommandRefused if a daemon serves the tenant, and NoDaemon if one may run but can't be asked."""
    async with reaching(at) as daemon:
        try:
            status = await daemon.ask("GET", path_of(tenant), _TENANT)
        except NoDaemon as error:
            if is_absent(error):
                return
            raise
        except Refused as answer:
            if answer.problem.status == HTTPStatus.NOT_FOUND:
                return
            raise
    if refused := refusal(status):
        raise refused


def refusal(status: TenantStatus) -> CommandRefused | None:
    """Return why a tenant's records may not be changed while the daemon says this of it; None if they may."""
    name = status.id
    if status.state is State.DISABLED:
        return None
    if status.state is State.DRAINING:
        return CommandRefused(
            f"a run or a replay of {name} is in progress", f"wait, or end the run: adsyncd cancel {name}"
        )
    return CommandRefused(f"the daemon serves {name}", "move its file away, then: adsyncd reload")


async def _forgettable(
    settings: Settings, tenant: str, in_use: frozenset[Client] | None
) -> tuple[Records, Permits | None]:
    """Return what would be removed. Raises AdsyncdError if that is nothing."""
    async with open_reader(settings.store.url, clock=SystemClock()) as reader:
        records = await reader.records(tenant)
        permits = None if in_use is None else await reader.spent_permits(in_use)
        if records or (permits and permits.removed):
            return records, permits
        raise not_stored(tenant, await reader.stored_tenants())


async def _renamable(settings: Settings, old: str, new: str) -> Records:
    """Return what would be given to another name. Raises AdsyncdError if that is nothing, or if the name is taken."""
    async with open_reader(settings.store.url, clock=SystemClock()) as reader:
        records = await reader.records(old)
        if not records:
            raise not_stored(old, await reader.stored_tenants())
        if await reader.records(new):
            raise is_taken(new)
    return records


async def _forget(settings: Settings, tenant: str, in_use: frozenset[Client] | None) -> tuple[Records, Permits | None]:
    """Remove a tenant's records, a piece at a time; `in_use` is None if it is unknown which client ids are."""
    removed = Counter[str]()
    async with _opened(settings) as (tenancy, leases):
        async with leases.hold(tenant) as lease:
            while piece := await tenancy.remove_some(lease):
                kind, number = piece
                removed[kind] += number
                await anyio.sleep(_PAUSE_S)
        permits = None if in_use is None else await tenancy.remove_permits(in_use)
    return Records(**removed), permits


async def _rename(settings: Settings, old: str, new: str) -> Records:
    await _renamable(settings, old, new)
    async with _opened(settings) as (tenancy, leases), leases.hold(old) as left, leases.hold(new) as taken:
        return await tenancy.rename(left, taken)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Tenancy, Leases]]:
    clock = SystemClock()
    async with open_tenancy(settings.store.url, clock=clock) as tenancy:
        with open_owner(clock.boot_id, entropy()) as owner:
            leases = Leases(tenancy, owner)
            async with beside(leases.run):
                yield tenancy, leases


def _in_use(tenants: Tenants, but: str) -> frozenset[Client] | None:
    """Return the client ids of all drop-ins but one; None if some can't be read."""
    if tenants.bad:
        return None
    return frozenset((one.platform.name, one.client_id) for one in tenants.good.values() if one.id != but)


def _lines(head: str, records: Records, permits: Permits | None) -> Iterator[str]:
    """Yield lines about what there is, or was removed."""
    yield f"{head} {_counted(records)}"
    if permits is None:
        yield "permits on record stay, since some drop-ins can't be read: see adsyncd check"
        return
    if permits.removed:
        removed = f"{permits.removed:,} permit{'s' * (permits.removed != 1)}"
        yield f"{head} {removed} on record, of client ids that no drop-in has"
    if permits.kept:
        when = f"for {seconds(permits.kept_s)}" if permits.kept_s is not None else "since a boot that is over"
        kept = f"{permits.kept:,} permit{'s' * (permits.kept != 1)} of client ids that no drop-in has"
        stay = "stays" if permits.kept == 1 else "stay"
        yield f"{kept} may still count at their platforms, {when}, and {stay}"


def _counted(records: Records) -> str:
    counts = [f"{number:,} {_WORDS[kind][number != 1]}" for kind, number in asdict(records).items() if number]
    return ", ".join(counts) or "no records"
