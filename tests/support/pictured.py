"""A daemon whose pages are always the same: three hours on the virtual clock, with a mock platform.

`acme` is due every two minutes and has quota for half of that. The platform refuses three campaigns of `umbrella`, and
`hooli` is close to its quota. The other tenants are well.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
import httpx
import pytest

from adsyncd.control.app import application
from adsyncd.control.attention import Overview
from adsyncd.control.commands import Commands
from adsyncd.control.page.site import Site
from adsyncd.model.tenant import Every, Tenant
from adsyncd.rate.quota import Quota
from adsyncd.simulation.ticker import VirtualTicker
from adsyncd.store import Store
from adsyncd.tasks import at_once, beside
from support.control import FakeAlerts, FakeFiles
from support.inline_store import inline_store
from support.supervised import World, a_world, tenant
from support.virtual_time import BACKEND

if TYPE_CHECKING:
    from adsyncd.tenants.ticks import Ticker

Result = TypeVar("Result")

LASTS = timedelta(hours=3, seconds=133)
HOST = "sync-eu-1"
MINUTE = timedelta(minutes=1)
WELL = ("cyberdyne", "duff", "globex", "initech", "krusty", "oscorp", "soylent", "stark", "tyrell", "wayne", "wonka")


class PicturedTicker(VirtualTicker):
    """Ticks by the virtual clock, and says when a tenant is due next."""

    def next_fire_time(self, tenant_id: str) -> datetime | None:
        return self._due.get(tenant_id)


def tenants() -> list[Tenant]:
    """Return the tenants. Each has a push every 300 ms at most, and a quota that it hardly uses."""
    quarter: dict[str, Any] = {"schedule": Every(15 * MINUTE), "quota": Quota(60, MINUTE)}
    return [
        tenant("acme", schedule=Every(2 * MINUTE), quota=Quota(10, MINUTE)),
        tenant("umbrella", **quarter),
        tenant("hooli", schedule=Every(15 * MINUTE), quota=Quota(1, MINUTE)),
        *(tenant(name, **quarter) for name in WELL),
    ]


async def _pictured(look: Callable[[httpx.AsyncClient], Awaitable[Result]]) -> Result:
    rejected: dict[str, Any] = {"campaigns": 12, "rejected": ["cmp-0003", "cmp-0007", "cmp-0011"]}
    every = tenants()
    async with inline_store() as store:
        clients: dict[str, Any] = {
            "acme": {"campaigns": 25},
            "umbrella": rejected | {"rejection": "the landing page is gone"},
        }
        calm = {name: {"campaigns": 12, "push_latency_s": 0.3} for name in ("hooli", *WELL)}
        async with a_world(store, *every, **{**calm, **clients}) as world:
            ticker = PicturedTicker(world.clock, partial(world.supervisor.tick, world.tasks))
            for one in every:
                ticker.add(one)
            async with beside(ticker.run), serving(world, ticker, store) as client:
                await anyio.sleep(LASTS.total_seconds())
                return await look(client)


@asynccontextmanager
async def serving(world: World, ticker: PicturedTicker, store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the pages as the daemon does, with what is known of all tenants kept up to date."""
    due = cast("Ticker", ticker)
    commands = Commands(world.supervisor, due, store, FakeFiles(), None, world.tasks, world.clock)
    overview = Overview(world.supervisor, commands, store, FakeAlerts(), world.clock, at_once)
    site = Site(commands, overview, store, world.clock, HOST, tenants=lambda: world.supervisor.tenants)
    transport = httpx.ASGITransport(application(commands, overview, site))
    async with beside(overview.run), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def _inline(call: Callable[[], Result]) -> Result:
    return call()


def pictured(look: Callable[[httpx.AsyncClient], Awaitable[Result]], patch: pytest.MonkeyPatch) -> Result:
    """Let the three hours pass, and return what `look` finds at the end of them."""
    backend, options = BACKEND
    patch.setattr("adsyncd.control.page.site.to_thread.run_sync", _inline)  # on the virtual clock there are no threads
    random.seed(0)  # trace ids
    return anyio.run(_pictured, look, backend=backend, backend_options=dict(options))
