"""`concurrency = "auto"` over real connections, at platforms that work on few pushes at once, or on many."""

import ssl
from collections import Counter
from datetime import timedelta
from random import Random

import anyio
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from adsyncd.clock import SystemClock
from adsyncd.credentials import Credentials
from adsyncd.model.run import Outcome, Tally
from adsyncd.model.tenant import CredentialsRef
from adsyncd.platforms import Connector
from adsyncd.rate.concurrency import Concurrency
from adsyncd.rate.quota import Quota
from adsyncd.rate.retry import RetryBudget
from adsyncd.runs.pipeline import Pipeline
from adsyncd.telemetry.instruments import Instruments
from support.gates import a_gate
from support.inline_store import inline_store
from support.tenants import a_tenant
from support.web import serving

CAMPAIGNS = 200
TAKES_S = 0.06
CAMPAIGN = {
    "name": "",
    "status": "active",
    "budget": 100.5,
    "impressions": 10,
    "clicks": 2,
    "conversions": 1,
    "created_at": "2026-01-01T00:00:00Z",
}


class Platform:
    """Works on `at_once` pushes at the same time; the others wait."""

    def __init__(self, at_once: int) -> None:
        self.pushes: Counter[str] = Counter()
        self.peak = 0
        self._in_flight = 0
        self._workers = anyio.CapacityLimiter(at_once)
        self.app = Starlette(
            routes=[
                Route("/auth/token", self.sign_in, methods=["POST"]),
                Route("/api/campaigns", self.listing),
                Route("/api/campaigns/{name}/sync", self.push, methods=["POST"]),
            ]
        )

    async def sign_in(self, _: Request) -> JSONResponse:
        return JSONResponse({"access_token": "token", "expires_in": 3600})

    async def listing(self, _: Request) -> JSONResponse:
        data = [CAMPAIGN | {"id": f"c{number}"} for number in range(CAMPAIGNS)]
        return JSONResponse({"data": data, "pagination": {"total": CAMPAIGNS, "has_more": False}})

    async def push(self, request: Request) -> JSONResponse:
        self._in_flight += 1
        self.peak = max(self.peak, self._in_flight)
        async with self._workers:
            await anyio.sleep(TAKES_S)
        self._in_flight -= 1
        self.pushes[request.path_params["name"]] += 1
        return JSONResponse({"success": True})

    async def read(self, ref: CredentialsRef) -> Credentials:  # noqa: ARG002 - a source's signature
        """Play the source of credentials, too."""
        return Credentials("acme@example.com", SecretStr("password"))

    def newest(self, ref: CredentialsRef, until: float) -> int | None:  # noqa: ARG002 - a source's signature
        return None


async def found_out(platform: Platform) -> Concurrency:
    """Run a tenant once, and return what it found out."""
    clock, silent, tally = SystemClock(), Instruments(NoOpMeter("test")), Tally()
    connector = Connector(
        tls=ssl.create_default_context(),
        clock=clock,
        random=Random(1),
        tracer=NoOpTracer(),
        instruments=silent,
        traced=lambda inner: inner,
    )
    concurrency, budget = Concurrency.of(None), RetryBudget(clock.monotonic())
    async with serving(platform.app) as base_url, inline_store() as store:
        quota = Quota(100_000, timedelta(seconds=60))
        tenant = a_tenant(base_url=base_url, quota=quota, concurrency=None, page_size=CAMPAIGNS)
        session, gate = connector.session(tenant, platform), a_gate(quota, clock)
        async with connector.client(tenant, session, gate, tally, budget=budget, concurrency=concurrency) as client:
            pipeline = Pipeline(
                tenant,
                client,
                store,
                tally,
                concurrency=concurrency,
                clock=clock,
                tracer=NoOpTracer(),
                instruments=silent,
            )
            run = await pipeline.run(clock.now())
    assert (run.outcome, run.pushed, len(platform.pushes)) == (Outcome.SUCCEEDED, CAMPAIGNS, CAMPAIGNS)
    return concurrency


async def test_a_platform_that_works_on_few_pushes_at_once_is_sent_few_and_another_one_more() -> None:
    crowded, roomy = Platform(at_once=3), Platform(at_once=1000)
    few, many = await found_out(crowded), await found_out(roomy)
    assert few.limit < many.limit
    assert crowded.peak < roomy.peak
