"""Which of the tenants that have records are selected, with a daemon only where it alone knows."""

import os
from collections.abc import Collection
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from adsyncd.cli.arguments import asked_at, find_tenant
from adsyncd.cli.client import reaching
from adsyncd.cli.selection import names, no_tenant, refuse_none
from adsyncd.config import load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.model.selection import Selection
from adsyncd.model.tenant import Tenant


async def chosen(
    selection: Selection, config: Path, stored: Collection[str], socket: Path | None = None
) -> list[str] | None:
    """Return the ids of the selected tenants, sorted, or None for all: of those that the daemon has, or are `stored`.

    The daemon, at `socket` if that is given, knows of what kinds tenants are; without kinds it need not run. Raises
    AdsyncdError if no tenant, of whatever kind, has the platform and an id that matches.
    """
    if selection.everything:
        return None
    if selection.kinds:
        async with reaching(asked_at(config, socket)) as daemon:
            if not (found := await names(daemon, selection)):
                await refuse_none(daemon, selection)
        return found
    found = sorted(filter(partial(_matches, selection), stored))
    if not found or selection.platform is not None:
        platforms = {one.id: one.platform.name for one in _drop_ins(config)}
        named = [each for each in platforms if selection.platform in {None, platforms[each]}]
        if not any(_matches(selection, each) for each in named):
            raise no_tenant(selection)
        found = [each for each in found if each in named]
    return found


def refuse_unknown(tenant: str, config: Path) -> None:
    """Raise ConfigError if a tenant without records has no drop-in either."""
    settings = load_settings(config, os.environ)
    find_tenant(settings, read_tenants(settings), tenant)


def _matches(selection: Selection, tenant_id: str) -> bool:
    return selection.match is None or fnmatchcase(tenant_id, selection.match)


def _drop_ins(config: Path) -> Collection[Tenant]:
    return read_tenants(load_settings(config, os.environ)).good.values()
