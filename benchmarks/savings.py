"""The savings by a tenant's settings: the requests and the listings' bytes of sixteen runs.

The real supervisor and the mock platform on a virtual clock, so nothing is timed and every count is the same each
time. The tenant has 100 campaigns in pages of ten and runs every 15 minutes, for four hours; before every fourth run
five of its campaigns change upstream. With a cache, the last of these changes waits for a run after the sixteenth.
An ETag saves bytes but no request: the platform meters an unchanged page like any other. It saves bytes here because
nothing else changes; on a platform whose pages show live statistics it saves almost nothing.
"""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import anyio
import httpx
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer
from structlog.testing import capture_logs

from adsyncd.config import TenantFile
from adsyncd.config.profile_file import shipped_profile
from adsyncd.credentials import Credentials
from adsyncd.host.owner import ProcessOwner
from adsyncd.model.run import Tally
from adsyncd.model.tenant import CredentialsRef, Platform, Tenant
from adsyncd.platforms import Connector
from adsyncd.rate import Governor
from adsyncd.runs.lease import Leases
from adsyncd.simulation.memory import memory_engine
from adsyncd.simulation.virtual_time import BACKEND, VirtualClock
from adsyncd.store.store import store_in
from adsyncd.telemetry.instruments import Instruments
from adsyncd.tenants.services import Services
from adsyncd.tenants.supervisor import Supervisor
from benchmarks.config import ACCOUNT, HEALTHY, accounts
from benchmarks.figures import Figure
from mock_api.app import create_app

RUNS = 16
EVERY = timedelta(minutes=15)
CHANGED = 5  # campaigns, every fourth run
QUOTA = 1000
BASE_URL = "http://platform.invalid"

# The tenant's [sync], whether the platform has ETags, and the most requests allowed.
SETTINGS: Mapping[str, tuple[Mapping[str, str], bool, int]] = {
    "the defaults": ({}, False, 16 * 110),
    "ETags": ({}, True, 16 * 110),
    'list_cache = "1h"': ({"list_cache": "1h"}, False, 16 * 100 + 4 * 10),
    'push = "changed"': ({"push": "changed"}, False, 16 * 10 + 100 + 4 * CHANGED),
    'push = "changed", list_cache = "1h"': ({"push": "changed", "list_cache": "1h"}, False, 4 * 10 + 100 + 3 * CHANGED),
    'push = "changed", ETags': ({"push": "changed"}, True, 16 * 10 + 100 + 4 * CHANGED),
}


@dataclass(slots=True)
class Count:
    requests: int = 0
    listing_bytes: int = 0


class Counted(httpx.ASGITransport):
    """A transport to the platform that counts requests and bytes."""

    def __init__(self, app: Any, count: Count) -> None:  # noqa: ANN401 - an ASGI application
        super().__init__(app)
        self._count = count

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        self._count.requests += request.url.path.startswith("/api")
        if request.method == "GET":
            self._count.listing_bytes += int(answer.headers.get("content-length", 0))
        return answer


class Source:
    async def read(self, _: object) -> Credentials:
        return Credentials.of({"email": ACCOUNT["email"], "password": ACCOUNT["password"]})

    def newest(self, ref: CredentialsRef, until: float) -> int | None:  # noqa: ARG002 - a source's signature
        return None


def measure() -> list[Figure]:
    """Count for each combination of settings."""
    figures = []
    for name, (sync, etag, most) in SETTINGS.items():
        with capture_logs():
            count = anyio.run(run, sync, etag, backend=BACKEND[0], backend_options=dict(BACKEND[1]))
        figures += [
            Figure(f"requests, {name}", count.requests, at_most=most),
            Figure(f"listings, {name}", round(count.listing_bytes / 1000), "KB"),
        ]
    return figures


async def run(sync: Mapping[str, str], etag: bool) -> Count:
    """Run a tenant sixteen times, and return the counts."""
    clock, count = VirtualClock(), Count()
    everyone = {**HEALTHY, "campaigns": 100, "etag": etag, "quota_requests": QUOTA}
    document: Any = {"accounts": accounts(["bench"]), "everyone": everyone}
    app = create_app(document, lambda: clock.now().timestamp())
    instruments = Instruments(NoOpMeter("benchmark"))
    async with store_in(memory_engine(), clock=clock, tracer=NoOpTracer(), off_loop=at_once) as store:
        supervisor = Supervisor(
            Services(
                connector=Connector(
                    tls=ssl.create_default_context(),
                    clock=clock,
                    random=Random(0),
                    tracer=NoOpTracer(),
                    instruments=instruments,
                    traced=lambda inner: inner,
                    open=lambda _tls, _limits: Counted(app, count),
                ),
                credentials=Source(),
                governor=Governor(clock, store, "this process"),
                store=store,
                leases=Leases(store, ProcessOwner("this process")),
                clock=clock,
                tracer=NoOpTracer(),
                instruments=instruments,
            )
        )
        supervisor.add(tenant(sync))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE_URL) as upstream:
            for number in range(RUNS):
                await anyio.sleep(max(0.0, number * EVERY.total_seconds() - anyio.current_time()))
                if number % 4 == 3:
                    await change(upstream, number)
                record = await supervisor.worker("bench").sync(clock.now(), Tally())
                assert record.outcome == "succeeded", record
    return count


def tenant(sync: Mapping[str, str]) -> Tenant:
    drop_in = {"client_id": "bench", "platform": "mock", "credentials": {"env": "BENCH"}, "sync": sync}
    quota = {"quota": {"requests": QUOTA, "per": "60s"}}
    return TenantFile.model_validate(drop_in | quota).tenant(
        "bench", Platform("mock", BASE_URL, shipped_profile(), None)
    )


async def change(upstream: httpx.AsyncClient, number: int) -> None:
    """Change other campaigns than last time."""
    revisions = {f"cmp-{CHANGED * number + each:04d}": 1 for each in range(CHANGED)}
    answer = await upstream.post("/_settings", content=json.dumps({"everyone": {"revisions": revisions}}))
    answer.raise_for_status()


async def at_once(call: Any, limiter: anyio.CapacityLimiter) -> Any:  # noqa: ANN401, ARG001 - the store's calls
    return call()
