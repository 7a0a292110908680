"""The cost of the pages, with 5,000 tenants: how long and how large they are, and what five open ones cost the runs.

The real daemon with an SQLite file, in which each tenant has a run that has just succeeded; none but one is due. The
pages are fetched over the control socket. Times are from the request to the last byte, and the median of the fetches
counts; they are those of a daemon with nothing else to do.

One tenant's run pushes campaigns all the time to a mock platform in another process, which answers at once: the daemon
uses a whole core. Five pages are open, and each is asked for every 5 s with the ETag of its last answer, as the script
of the pages does. Periods with the pages and periods of the same length without them take turns. What they cost is the
daemon's CPU time for each push in a period with them, beside that in the periods before and after it.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import anyio
import httpx

from adsyncd.tasks import beside
from benchmarks.config import ENVIRON, FAR_AWAY, FROM_ENVIRON, HEALTHY, accounts, store_url, tenant_ids, write_config
from benchmarks.figures import Figure
from benchmarks.idle import bring_up_to_date
from benchmarks.processes import cpu_s, running_daemon, running_platform

TENANTS = 5000
FETCHES = 15
TURNS = 6
PERIOD_S = 15.0
EVERY_S = 5.0  # as the script asks
BUSY = "tenant-busy"
QUIET = tenant_ids(TENANTS - 1)
PAGES = {"tenants": "/", "tenant": f"/tenants/{QUIET[0]}", "quotas": "/quotas", "failures": "/failures"}
OPEN = ("/", "/", f"/tenants/{BUSY}", "/quotas", "/failures")
MOST_MS, MOST_KB, MOST_PERCENT = 200, 200, 3
UNLIMITED = {"quota_requests": 1_000_000, "quota_window_s": 1}
PLATFORM = {
    "accounts": accounts([BUSY]),
    "everyone": {**HEALTHY, **UNLIMITED, "campaigns": 1_000_000},
}
BUSY_KEYS = """
quota = { requests = 1000000, per = "1s" }
sync = { page_size = 100, concurrency = 20, run_deadline = "1h" }
"""


def measure() -> list[Figure]:
    """Measure the pages of a daemon that is idle, and then of one that is busy."""
    with TemporaryDirectory() as name, running_platform(PLATFORM) as (base_url, _):
        folder = Path(name)
        tenants = {**dict.fromkeys(QUIET, ""), BUSY: BUSY_KEYS}
        config = write_config(folder, base_url, tenants, defaults=FAR_AWAY + FROM_ENVIRON)
        anyio.run(bring_up_to_date, store_url(folder), [*QUIET, BUSY])
        with running_daemon(config, ENVIRON) as (events, pid):
            assert next(event for event in events if event["event"] == "ready")["tenants"] == TENANTS
            return anyio.run(figures, folder / "control.sock", pid)


async def figures(socket: Path, pid: int) -> list[Figure]:
    async with connected(socket) as client:
        fetched = {name: await fetched_often(client, path) for name, path in PAGES.items()}
        (await client.post(f"/v1/tenants/{BUSY}/trigger")).raise_for_status()
        quiet, watched = await periods(client, socket, pid)
    costs = [100 * (with_pages / median(pair) - 1) for with_pages, pair in zip(watched, pairwise(quiet), strict=True)]
    first_ms, first_kb = fetched["tenants"]
    return [
        Figure("time of `/`, 5,000 tenants", round(first_ms, 1), "ms", at_most=MOST_MS),
        Figure("size of `/`, 5,000 tenants", round(first_kb, 1), "KB", at_most=MOST_KB),
        *(Figure(f"time of {name}", round(ms, 1), "ms") for name, (ms, _) in fetched.items() if name != "tenants"),
        *(Figure(f"size of {name}", round(kb, 1), "KB") for name, (_, kb) in fetched.items() if name != "tenants"),
        Figure("CPU of a push, without pages", round(1000 * median(quiet), 3), "ms"),
        Figure(
            "CPU of a push with five open pages, more than without", round(median(costs), 2), "%", at_most=MOST_PERCENT
        ),
    ]


async def fetched_often(client: httpx.AsyncClient, path: str) -> tuple[float, float]:
    """Return the milliseconds and the kilobytes of a page."""
    took, size = [], 0
    for _ in range(FETCHES):
        began = time.monotonic()
        answer = (await client.get(path)).raise_for_status()
        took.append(time.monotonic() - began)
        size = len(answer.content)
    return 1000 * median(took), size / 1000


async def periods(client: httpx.AsyncClient, socket: Path, pid: int) -> tuple[list[float], list[float]]:
    """Return the CPU seconds of a push in the periods without pages, which are one more, and in those with them."""
    await pushes(client, 100)
    quiet, watched = [await period(client, pid)], list[float]()
    for _ in range(TURNS):
        async with open_pages(socket):
            watched.append(await period(client, pid))
        quiet.append(await period(client, pid))
    return quiet, watched


async def period(client: httpx.AsyncClient, pid: int) -> float:
    pushed, spent_s = await pushes(client), cpu_s(pid)
    await anyio.sleep(PERIOD_S)  # the CPU time is measured over this time
    return (cpu_s(pid) - spent_s) / (await pushes(client) - pushed)


async def pushes(client: httpx.AsyncClient, at_least: int = 0) -> int:
    """Return how many pushes the busy run has made, once they are so many."""
    while True:
        run = (await client.get(f"/v1/tenants/{BUSY}")).json()["run"]
        if run and run["pushed"] >= at_least:
            return int(run["pushed"])
        await anyio.sleep(0.1)


@asynccontextmanager
async def open_pages(socket: Path) -> AsyncIterator[None]:
    """Ask for pages as open ones do, each on a connection of its own."""

    async def ask(path: str, after_s: float) -> None:
        await anyio.sleep(after_s)
        async with connected(socket) as client:
            tag = ""
            while True:
                answer = await client.get(path, headers={"If-None-Match": tag})
                assert answer.status_code in {200, 304}, answer.text
                tag = answer.headers.get("etag", tag)
                await anyio.sleep(EVERY_S)

    async def ask_all() -> None:
        async with anyio.create_task_group() as tasks:
            for number, path in enumerate(OPEN):
                tasks.start_soon(ask, path, number * EVERY_S / len(OPEN))

    async with beside(ask_all):
        yield


def connected(socket: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=str(socket)), base_url="http://adsyncd", timeout=60, trust_env=False
    )
