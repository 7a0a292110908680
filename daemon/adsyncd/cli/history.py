"""What is known of tenants before they run again: from the store, if there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
from opentelemetry.trace import NoOpTracer

from adsyncd.clock import SystemClock
from adsyncd.config import Settings
from adsyncd.store import open_store
from adsyncd.store.dialects import file_of
from adsyncd.tenant import Tenant


@dataclass(frozen=True, slots=True)
class History:
    """By tenant id, where it is known: how many campaigns it has, and the requests of the last good runs."""

    campaigns: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, Sequence[int]] = field(default_factory=dict)


async def read_history(settings: Settings, tenants: Sequence[Tenant]) -> History:
    """Return what the store knows; of a database that is not there, which is not made for it, that is nothing.

    Raises StoreError when it can't be opened.
    """
    file = file_of(settings.store.url)
    if file is not None and not await anyio.Path(file).exists():
        return History()
    async with open_store(settings.store.url, clock=SystemClock(), tracer=NoOpTracer()) as store:
        ids = [tenant.id for tenant in tenants]
        return History(await store.campaign_counts(ids), await store.recent_requests(ids))
