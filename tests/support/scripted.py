"""A tenant's client at a platform that answers by a script, on the virtual clock."""

import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import TypeVar

import anyio
import httpx
import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer

from adsyncd.credentials import Credentials
from adsyncd.errors import AdsyncdError, PlatformError
from adsyncd.model.run import Tally, Wait
from adsyncd.model.tenant import CredentialsRef
from adsyncd.platforms import Connector, PlatformClient
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.route import Route
from adsyncd.rate.quota import Quota
from adsyncd.rate.retry import RetryBudget
from adsyncd.rate.wait import WaitReason
from adsyncd.telemetry.instruments import Instruments
from support.accounts import an_account
from support.gates import a_gate
from support.tenants import a_tenant
from support.virtual_time import VirtualClock

PASSWORD = "canary-password"
Result = TypeVar("Result")

MUCH = Quota(1000, timedelta(seconds=60))


class Longest(Random):
    """Draws the most that it may, so that waits are what they are bounded by."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - a generator's signature
        return b


Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response | None]  # None: as it does anyway


class ScriptedPlatform:
    """Plays the platform: what was scripted first, and then yes to everything."""

    def __init__(self) -> None:
        self.script: deque[Answer] = deque()  # for what is metered
        self.sign_in_script: deque[Answer] = deque()
        self.token_life_s = 3600.0
        self.takes_s = 0.0
        self.password = PASSWORD
        self.off_loop_calls = 0
        self.limits = httpx.Limits()  # of the client's connections
        self.requests: list[httpx.Request] = []  # what was metered, as it was sent
        self.sent_at: list[float] = []
        self.sign_ins: list[httpx.Request] = []
        self.credentials: Credentials | None = None  # in place of those of the built-in API
        self.credentials_failure: AdsyncdError | None = None
        self.reads = 0
        self._expires_at: dict[str, float] = {}

    async def off_loop(self, call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:
        async with limiter:
            self.off_loop_calls += 1
            return call()

    def connections(self, _route: Route, limits: httpx.Limits) -> httpx.AsyncBaseTransport:
        self.limits = limits
        return httpx.MockTransport(self.handle)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        sent = httpx.Request(request.method, request.url, headers=dict(request.headers), content=request.content)
        await anyio.sleep(self.takes_s)
        if Call.of(request).kind is Kind.SIGN_IN:
            self.sign_ins.append(sent)
            return self._played(self.sign_in_script, sent) or self._signed_in()
        self.requests.append(sent)
        self.sent_at.append(anyio.current_time())
        answer = self._played(self.script, sent)
        if answer is not None:
            return answer
        token = sent.headers.get("authorization", "").removeprefix("Bearer ")
        if self.credentials is None and anyio.current_time() >= self._expires_at.get(token, 0.0):
            return httpx.Response(401)
        return ok(sent)

    async def read(self, ref: CredentialsRef) -> Credentials:  # noqa: ARG002 - a source's signature
        """Play the source of credentials, too."""
        self.reads += 1
        if self.credentials_failure is not None:
            raise self.credentials_failure
        if self.credentials is not None:
            return replace(self.credentials)
        return an_account("acme@example.com", self.password)

    def newest(self, ref: CredentialsRef, until: float) -> int | None:  # noqa: ARG002 - a source's signature
        return None

    def revoke_all(self) -> None:
        """Refuse all tokens that were issued before."""
        self._expires_at.clear()

    @property
    def waits(self) -> list[float]:
        return [after - before for before, after in pairwise(self.sent_at)]

    def _signed_in(self) -> httpx.Response:
        token = f"canary-token-{len(self.sign_ins)}"
        self._expires_at[token] = anyio.current_time() + self.token_life_s
        return httpx.Response(200, json={"access_token": token, "expires_in": self.token_life_s})

    @staticmethod
    def _played(script: deque[Answer], request: httpx.Request) -> httpx.Response | None:
        answer = script.popleft() if script else None
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer


def ok(request: httpx.Request) -> httpx.Response:
    if request.method == "POST":
        return httpx.Response(200, json={"success": True})
    return httpx.Response(200, json={"data": [], "pagination": {"total": 0, "has_more": False}})


class Heard(Tally):
    """Remembers for what there were waits between attempts, and what they came after."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[WaitReason] = []
        self.failures: list[str] = []

    @contextmanager
    def waiting(
        self, reason: WaitReason, until: datetime | None = None, detail: str = ""
    ) -> Iterator[Callable[[Wait], None]]:
        if reason is not WaitReason.CREDENTIALS:
            self.reasons.append(reason)
            self.failures.append(detail)
        with super().waiting(reason, until, detail) as tell:
            yield tell


@dataclass
class Parts:
    """A tenant's client and all that it works with."""

    platform: ScriptedPlatform
    connector: Connector
    client: PlatformClient
    tally: Heard
    stop: Callable[[], None]

    async def failed(self) -> PlatformError:
        """Push in vain, and return the error."""
        with pytest.raises(PlatformError) as error:
            await self.client.push("cmp-1", "key")
        return error.value


@asynccontextmanager
async def connected(*script: Answer, sign_ins: Iterable[Answer] = (), **tenant_changes: object) -> AsyncIterator[Parts]:
    """A client at a platform that gives the answers of `script`, and then yes to everything."""
    platform, clock, tally = ScriptedPlatform(), VirtualClock(), Heard()
    platform.script.extend(script)
    platform.sign_in_script.extend(sign_ins)
    connector = Connector(
        tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        clock=clock,
        random=Longest(),
        tracer=NoOpTracer(),
        instruments=Instruments(NoOpMeter("test")),
        traced=lambda inner: inner,
        open=platform.connections,
        off_loop=platform.off_loop,
    )
    tenant = a_tenant(**{"quota": MUCH, **tenant_changes})
    gate = a_gate(tenant.quota, clock)
    budget = RetryBudget(clock.monotonic())
    session = connector.session(tenant, platform)
    async with connector.client(tenant, session, gate, tally, budget=budget) as client:
        yield Parts(platform, connector, client, tally, gate.stop)


def away(status: int, location: str = "http://elsewhere.invalid/") -> httpx.Response:
    return httpx.Response(status, headers={"location": location})
