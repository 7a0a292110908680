"""A transport over a scripted platform, with its gate, its breaker and a virtual clock."""

from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from random import Random
from typing import Any

import anyio
import httpx
import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import Throttled
from adsyncd.model.run import Tally
from adsyncd.model.tenant import Platform
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.halt import Halt
from adsyncd.platforms.transport import GovernedTransport
from adsyncd.platforms.wire import parse
from adsyncd.platforms.words import Secrets
from adsyncd.rate.breaker import Breaker
from adsyncd.rate.bucket import cools_for
from adsyncd.rate.quota import Quota
from adsyncd.telemetry import CALL
from adsyncd.telemetry.instruments import Instruments
from support.gates import MemoryLedger, a_gate
from support.spans import Spans
from support.tenants import a_tenant
from support.virtual_time import VirtualClock

SILENT = Instruments(NoOpMeter("test"))
TIMEOUT_S = 10.0


MIB = 2**20


Handler = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


class Body(httpx.AsyncByteStream):
    """A body in chunks, each after a pause. An exception among the chunks is raised."""

    def __init__(self, *chunks: bytes | Exception, pause_s: float = 0.0, endless: bool = False) -> None:
        self.chunks = chunks
        self.pause_s = pause_s
        self.endless = endless
        self.sent = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            for chunk in self.chunks:
                await anyio.sleep(self.pause_s)
                if isinstance(chunk, Exception):
                    raise chunk
                self.sent += len(chunk)
                yield chunk
            if not self.endless:
                return

    async def aclose(self) -> None:
        self.closed = True


def a_transport(handler: Handler, **parts: Any) -> GovernedTransport:  # noqa: ANN401 - what a transport works with
    """Return a transport to a platform that answers as `handler` does, on the virtual clock."""
    silent: dict[str, Any] = {
        "halt": Halt(),
        "tally": Tally(),
        "secrets": Secrets(),
        "tracer": NoOpTracer(),
        "instruments": SILENT,
    }
    timed: dict[str, Any] = {"clock": VirtualClock(), "random": Random(7)}
    return GovernedTransport(httpx.MockTransport(handler), **(silent | timed | {"parse_page": parse_page} | parts))


async def parse_page(body: bytes) -> object:
    return parse(body)


PLATFORM = Platform("mixo", "http://ads.invalid", shipped_profile(), quota=None)


def a_request(call: Call, **headers: str) -> httpx.Request:
    return httpx.Request("POST", "http://ads.invalid/", headers=headers, extensions={CALL: call})


class Parts:
    """A transport and all that it works with. The platform answers what `handler` does, 200 by default."""

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        permits: int = 10,
        instruments: Instruments = SILENT,
        ledger: MemoryLedger | None = None,
        arrival_bound: timedelta | None = None,
        platform: Platform = PLATFORM,
    ) -> None:
        clock = VirtualClock()
        quota = Quota(permits, timedelta(seconds=60), arrival_bound=arrival_bound)
        tenant = a_tenant(quota=quota, timeout=timedelta(seconds=TIMEOUT_S), platform=platform)
        self.permits = permits
        self.cools_for = cools_for(tenant.quota)
        self.handler = handler or answering(200)
        self.gate = a_gate(tenant.quota, clock, ledger)
        self.breaker = Breaker("ads.invalid", clock, Random(7), lambda: None)
        self.tally = Tally()
        self.secrets = Secrets()
        self.spans = Spans()
        self.start = anyio.current_time()
        self.sent_at: list[float] = []
        self.transport = a_transport(
            self._handle,
            tenant=tenant,
            gate=self.gate,
            breaker=self.breaker,
            tally=self.tally,
            secrets=self.secrets,
            tracer=self.spans.tracer,
            instruments=instruments,
        )

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.sent_at.append(self.now)
        return await self.handler(request)

    async def send(self, *, unmetered: bool = False) -> httpx.Response:
        return await self.ask(Call(Kind.SIGN_IN if unmetered else Kind.LISTING))

    async def ask(self, call: Call) -> httpx.Response:
        return await self.transport.handle_async_request(a_request(call))

    async def refused(self) -> str:
        """Send what is answered 429, and return the error's text."""
        with pytest.raises(Throttled) as refused:
            await self.send()
        return str(refused.value)

    async def sent_once_more(self) -> list[float]:
        """Send what is answered 200, and return when each request left."""
        self.handler = answering(200)
        await self.send()
        return self.sent_at

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return anyio.current_time() - self.start

    @property
    def held(self) -> int:
        return self.gate.limiter.held


def answering(status: int, *, after_s: float = 0.0, **answer: Any) -> Handler:  # noqa: ANN401 - of a Response
    async def handler(_: httpx.Request) -> httpx.Response:
        await anyio.sleep(after_s)
        return httpx.Response(status, **answer)

    return handler


def raising(error: BaseException, *, after_s: float = 0.0) -> Handler:
    async def handler(_: httpx.Request) -> httpx.Response:
        await anyio.sleep(after_s)
        raise error

    return handler
