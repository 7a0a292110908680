"""What is known of tenants before they run again: from the store, if there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from adsyncd.cli.output import print_line
from adsyncd.clock import SystemClock
from adsyncd.config import Settings
from adsyncd.errors import StoreError
from adsyncd.model.tenant import Tenant
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
