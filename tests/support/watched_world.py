"""A daemon for the pages to show: a late tenant, campaigns that the platform refuses, and a dozen that are well.

All of it happens in seconds: `acme` is due every second and has quota for half of that, and every campaign that the
platform refuses has failed often enough to be a dead letter, with later runs after it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
from anyio.abc import SocketAttribute, SocketStream

from support.platform import HEALTHY, Platform, accounts, environ_of, running_platform
from support.program import AMPLE, ONCE, Daemon, Program

LATE, REFUSING, HOSTILE = "acme", "umbrella", "gekko"
WELL = tuple("globex initech hooli soylent tyrell cyberdyne wonka stark wayne oscorp duff krusty".split())  # noqa: SIM905 - names
REFUSED = ("cmp-0003", "cmp-0007", "cmp-0011")
REASON = "the landing page is gone"
SCRIPT = "<script>alert(1)</script>"
NAMES = {
    "cmp-0001": SCRIPT,
    "cmp-0002": "\"quoted\" & 'quoted' <img src=x onerror=alert(2)>",
    "cmp-0003": "safe\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe",
    "cmp-0004": "long " + "x" * 10_000,
}
KEYS: Mapping[str, Mapping[str, Any]] = {
    LATE: {"schedule": {"every": "1s"}, "quota": {"requests": 4, "per": "1s"}},
    REFUSING: {"schedule": {"every": "2s"}},
    HOSTILE: {"schedule": {"every": "5s"}},
}
CAMPAIGNS: Mapping[str, int] = {LATE: 6, REFUSING: 12, HOSTILE: 4}


@dataclass(frozen=True, slots=True)
class WatchedWorld:
    """A daemon that runs, and its platform. `address`: the origin at which a browser reaches it;
    `reading`: the one that leads to the socket which only reads."""

    program: Program
    daemon: Daemon
    platform: Platform
    address: str
    reading: str

    async def ask(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON of a path of the API."""
        async with httpx.AsyncClient(base_url=self.address, trust_env=False) as client:
            return (await client.get(path)).raise_for_status().json()


@asynccontextmanager
async def watched_world(folder: Path) -> AsyncIterator[WatchedWorld]:
    """Run the daemon until there is something to see: acme skips ticks, and umbrella has its three dead letters."""
    tenants = (LATE, REFUSING, HOSTILE, *WELL)
    clients: dict[str, Any] = {name: {"campaigns": number} for name, number in CAMPAIGNS.items()}
    clients[REFUSING] |= {"rejected": [*REFUSED], "rejection": REASON}
    clients[HOSTILE] |= {
        "rejected": [*NAMES],
        "rejection": f"not {SCRIPT}",
        "odd": [[campaign_id, {"name": name}] for campaign_id, name in NAMES.items()],
    }
    settings = {"accounts": accounts(*tenants), "everyone": {**HEALTHY, "campaigns": 2}, "clients": clients}
    program = Program(folder, environ_of(*tenants))
    async with running_platform(settings) as platform:
        page = {"socket": str(folder / "page.sock")}
        program.settings(platform.base_url, page=page, defaults={**AMPLE, "schedule": ONCE})
        for tenant in tenants:
            program.tenant(tenant, **KEYS.get(tenant, {}))
        async with program.daemon() as before:  # so that the next one knows from its start how much there is to do
            await before.logs("run ended", times=len(tenants))
        async with (
            program.daemon() as daemon,
            forwarded(folder / "control.sock") as address,
            forwarded(folder / "page.sock") as reading,
        ):
            world = WatchedWorld(program, daemon, platform, address, reading)
            await daemon.logs("ready", times=2)
            await _seen(world)
            yield world


async def _seen(world: WatchedWorld) -> None:
    with anyio.fail_after(60):
        while True:
            letters = await world.ask("/v1/dead-letters")
            dead = {letter["campaign_id"] for letter in letters if letter["tenant"] == REFUSING}
            verdict = (await world.ask(f"/v1/tenants/{LATE}"))["verdict"]
            counts, quotas = (await world.ask("/v1/status"))["counts"], (await world.ask("/v1/quotas"))["tenants"]
            nearest = quotas[0]["tenant"] if quotas else None
            late = verdict and verdict["trouble"] == "late" and counts["late"] == 1 and nearest == LATE
            if late and dead == {*REFUSED}:
                return
            await anyio.sleep(0.2)  # the next look


@asynccontextmanager
async def forwarded(socket: Path) -> AsyncIterator[str]:
    """Forward connections from a port of 127.0.0.1 to a Unix socket, as `ssh -L` does, and yield the origin."""

    async def forward(browser: SocketStream) -> None:
        async with browser, await anyio.connect_unix(socket) as daemon, anyio.create_task_group() as both:
            both.start_soon(_pump, browser, daemon)
            both.start_soon(_pump, daemon, browser)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as connections,
    ):
        connections.start_soon(listener.serve, forward)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        connections.cancel_scope.cancel()


async def _pump(source: SocketStream, sink: SocketStream) -> None:
    try:
        async for data in source:
            await sink.send(data)
        await sink.send_eof()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # either end has gone
