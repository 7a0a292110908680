"""Makes the clients of all tenants from what they share: TLS contexts, and the breakers of hosts."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random

import anyio
import httpx
from opentelemetry.trace import Tracer

from adsyncd.clock import Clock
from adsyncd.credentials import CredentialsSource
from adsyncd.host.shortage import Lacks
from adsyncd.model.profile import TokenRequest
from adsyncd.model.run import Tally
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.authority import TokenAuthority
from adsyncd.platforms.client import PlatformClient
from adsyncd.platforms.halt import Halt
from adsyncd.platforms.json_text import parsed
from adsyncd.platforms.profile_requests import constant_headers, values_of
from adsyncd.platforms.reading import Listed, Reader
from adsyncd.platforms.requests import Requests, address
from adsyncd.platforms.route import Route, find_route
from adsyncd.platforms.session import Session
from adsyncd.platforms.sign_in import sign_in_place
from adsyncd.platforms.transport import GovernedTransport
from adsyncd.rate import Gate, Priority
from adsyncd.rate.breaker import Breaker
from adsyncd.rate.retry import RetryBudget
from adsyncd.tasks import OffLoop, in_thread
from adsyncd.telemetry.instruments import BREAKER_OPEN, Instruments

_LARGE_KIB = 64  # a page that takes a few milliseconds to read, and a thread less than a tenth of one
_KEPT_WINDOWS = 1.5  # for which a connection may be idle
_LEAST_KEPT_S, _MOST_KEPT_S = 30.0, 600.0  # an overloaded machine should not have to connect anew, too


@dataclass(frozen=True, slots=True)
class Connector:
    """Makes a client for each run, from what all tenants share: TLS contexts, breakers of hosts; never connections.

    `traced` wraps the sending transport, so that each request becomes a span. `tls`: the context for platforms without
    authorities of their own. `environ`: variables that may hold a proxy's address. `open` opens a client's connections;
    a simulation replaces it. `off_loop` runs the reading of large pages.
    """

    tls: ssl.SSLContext
    clock: Clock
    random: Random
    tracer: Tracer
    instruments: Instruments
    traced: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport]
    open: Callable[[Route, httpx.Limits], httpx.AsyncBaseTransport] = Route.connections
    off_loop: OffLoop = in_thread
    environ: Mapping[str, str] = field(default_factory=dict)
    _large_pages: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))
    _breakers: dict[str, Breaker] = field(default_factory=dict)
    _trusting: dict[str, ssl.SSLContext] = field(default_factory=dict)
    lacks: Lacks = field(default_factory=Lacks)

    def session(self, tenant: Tenant, source: CredentialsSource, before: Session | None = None) -> Session:
        """Return a tenant's session, signed out. It keeps the secrets of the session `before`."""
        session = Session(tenant, source, self.clock, self.tracer)
        if before:
            session.secrets = before.secrets
        return session

    @asynccontextmanager
    async def client(
        self,
        tenant: Tenant,
        session: Session,
        gate: Gate,
        tally: Tally,
        *,
        budget: RetryBudget,
        pushes: Priority = Priority.PUSH,
        halt: Halt | None = None,
    ) -> AsyncIterator[PlatformClient]:
        """Open a client for one run. `tally` counts what it does; `halt` ends it."""
        halt = halt or Halt()
        connections = tenant.sync.concurrency + 1  # the pushes and the listing
        timeout_s = tenant.sync.timeout.total_seconds()
        route = find_route(tenant.platform, self.tls, self._trusting, self.environ)
        session.secrets.use("route", *route.secrets)
        # A permit is back one window after its answer, so the next request comes a little later than that.
        kept_s = _KEPT_WINDOWS * min(window.per.total_seconds() for window in tenant.quota.windows)
        limits = httpx.Limits(
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=min(max(kept_s, _LEAST_KEPT_S), _MOST_KEPT_S),
        )
        governed = partial(
            GovernedTransport,
            self.traced(self.open(route, limits)),
            tenant=tenant,
            gate=gate,
            via=route.via,
            halt=halt,
            tally=tally,
            secrets=session.secrets,
            clock=self.clock,
            random=self.random,
            tracer=self.tracer,
            instruments=self.instruments,
            parse_page=self.parse_page,
        )
        base_url, profile, values = tenant.platform.base_url, tenant.platform.profile, values_of(tenant)
        async with governed(breaker=self._breaker(base_url, route.via)) as transport:
            requests = Requests(transport, base_url, constant_headers(profile.headers, values), timeout_s)
            sign_ins = requests
            if isinstance(profile.sign_in, TokenRequest):
                # The same connections, but another host has its own outages.
                sign_in_url = sign_in_place(tenant, profile.sign_in).base_url
                sign_ins = Requests(
                    governed(breaker=self._breaker(sign_in_url, route.via)),
                    sign_in_url,
                    constant_headers(profile.sign_in.headers, values),
                    timeout_s,
                )
            authority = TokenAuthority(sign_ins, tenant, session, gate, tally, self.clock)
            yield PlatformClient(requests, authority, tenant, session, gate, budget, tally, self, pushes, halt)

    async def parse_page(self, body: bytes) -> object:
        """Return the JSON of a page. Raises `BadAnswer`. See `read`."""
        if len(body) <= _LARGE_KIB * 2**10:
            return parsed(body)
        return await self.off_loop(partial(parsed, body), limiter=self._large_pages)

    async def read(self, reader: Reader, body: bytes, number: int, data: object = None) -> Listed:
        """Read a page (see `Reader.read`). A large page would block the event loop for up to 0.2 s."""
        if len(body) <= _LARGE_KIB * 2**10:
            return reader.read(body, number, data)
        return await self.off_loop(partial(reader.read, body, number, data), limiter=self._large_pages)

    def stop(self) -> None:
        """Turn away the requests that wait for a breaker."""
        for breaker in self._breakers.values():
            breaker.stop()

    @property
    def open_breakers(self) -> list[str]:
        """The hosts whose breaker is open, each with its last error."""
        return [breaker.trouble for breaker in self._breakers.values() if breaker.is_open]

    def _breaker(self, base_url: str, via: str = "") -> Breaker:
        """Return the breaker that all tenants of a host share; a host behind a proxy has another one."""
        host = address(base_url).netloc.decode("ascii") + (f" via {via}" if via else "")
        if host not in self._breakers:
            on_change = partial(self._measure_breaker, host)
            self._breakers[host] = Breaker(host, self.clock, self.random, on_change)
            on_change()
        return self._breakers[host]

    def _measure_breaker(self, host: str) -> None:
        self.instruments.set(BREAKER_OPEN, int(self._breakers[host].is_open), host=host)
