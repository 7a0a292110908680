"""The platform's endpoints as typed calls, and the one layer that retries.

A request gets its token when its turn comes. A 401 forces one refresh and one more try. If the platform refuses the
fresh token too, a push has failed; a listing's next attempts use the token at hand.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from random import Random
from typing import TypeVar

import anyio
import httpx
from opentelemetry.trace import Tracer

from adsyncd.clock import Clock
from adsyncd.credentials import CredentialsSource
from adsyncd.errors import AdsyncdError, BadAnswer, PlatformError, ProfileMismatch, Throttled, Unauthorized, Unavailable
from adsyncd.host.shortage import Lacks, lacking, shortage
from adsyncd.model.campaign import Page
from adsyncd.model.run import Tally
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.authority import TokenAuthority
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.paging import Pages
from adsyncd.platforms.probe import Probe
from adsyncd.platforms.prober import Prober
from adsyncd.platforms.profile_requests import ProfileRequests, constant_headers, values_of
from adsyncd.platforms.reading import Listed, Reader
from adsyncd.platforms.requests import Requests, address
from adsyncd.platforms.route import Route, find_route
from adsyncd.platforms.session import Refusal, Session
from adsyncd.platforms.transport import GovernedTransport
from adsyncd.platforms.verdict import accepted, confirm, in_progress
from adsyncd.rate import Gate, Priority
from adsyncd.rate.breaker import Breaker
from adsyncd.rate.retry import Policy, RetryBudget, backoff, wait_before_next
from adsyncd.rate.wait import WaitReason
from adsyncd.tasks import OffLoop, in_thread
from adsyncd.telemetry.instruments import BREAKER_OPEN, SPAN_RETRY_WAIT, WAIT_REASON, WAIT_UNTIL, Instruments, span

T = TypeVar("T")

_LONGEST_ETAG = 1024
_LARGE_KIB = 64  # a page that takes a few milliseconds to read, and a thread less than a tenth of one
_KEPT_WINDOWS = 1.5  # for which a connection may be idle
_LEAST_KEPT_S, _MOST_KEPT_S = 30.0, 600.0  # an overloaded machine should not have to connect anew, too
_DOUBT_S = 1.0  # before another try shows whether a 401 means the token or the request
_LACKING = Policy(max_attempts=5, max_s=5.0)  # waits for this machine's resources; no growth after the fifth


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
    ) -> AsyncIterator["PlatformClient"]:
        """Open a client for one run. `tally` counts what it does."""
        connections = tenant.sync.concurrency + 1  # the pushes and the listing
        timeout_s = tenant.sync.timeout.total_seconds()
        route = find_route(tenant.platform, self.tls, self._trusting, self.environ)
        session.secrets.learn(*route.secrets)
        # A permit is back one window after its answer, so the next request comes a little later than that.
        kept_s = _KEPT_WINDOWS * min(window.per.total_seconds() for window in tenant.quota.windows)
        limits = httpx.Limits(
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=min(max(kept_s, _LEAST_KEPT_S), _MOST_KEPT_S),
        )
        async with GovernedTransport(
            self.traced(self.open(route, limits)),
            tenant=tenant,
            gate=gate,
            breaker=self._breaker(tenant.platform.base_url, route.via),
            via=route.via,
            tally=tally,
            secrets=session.secrets,
            clock=self.clock,
            random=self.random,
            tracer=self.tracer,
            instruments=self.instruments,
        ) as transport:
            headers = constant_headers(tenant.platform.profile, values_of(tenant))
            requests = Requests(transport, tenant.platform.base_url, headers, timeout_s)
            yield PlatformClient(requests, tenant, session, gate, budget, tally, self, pushes)

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
        return self._breakers[host]

    def _measure_breaker(self, host: str) -> None:
        self.instruments.set(BREAKER_OPEN, int(self._breakers[host].is_open), host=host)


class PlatformClient:
    """One tenant's calls to its platform. While this machine lacks resources they wait, as long as the run lasts.

    Each raises a `PlatformError`, a `CredentialsError`, `Stopping` or `StoreError`, and nothing else.
    """

    def __init__(
        self,
        requests: Requests,
        tenant: Tenant,
        session: Session,
        gate: Gate,
        budget: RetryBudget,
        tally: Tally,
        shared: Connector,
        pushes: Priority,
    ) -> None:
        self._http = requests
        self._tenant = tenant
        self._session = session
        self._authority = TokenAuthority(requests, session, gate, tally, shared.clock)
        self._gate = gate
        self._budget = budget
        self._tally = tally
        self._shared = shared
        self._pushes = pushes
        self._policy = Policy(tenant.sync.max_attempts)
        self._profile = profile = tenant.platform.profile
        self._requests = ProfileRequests(requests, tenant)
        self._pages = Pages(profile, tenant.sync.page_size)
        self._reader = Reader(profile)

    async def page(self, number: int, cursor: str | None = None, known: Page | None = None) -> Page:
        """Return page `number` of the campaigns, from 1. `cursor`: the `next` of the page before, if it has one.

        Returns `known`, a page with an `etag`, if the platform says that it is unchanged (RFC 9110, 13.1.2); a platform
        is asked that only if pages have numbers. Also raises `ListingError` if the page does not lead on as it should.
        """
        is_numbered = self._profile.listing.paging.is_numbered
        if not is_numbered:
            known = None
        request = self._listing(number, cursor, known.etag if known else None)

        async def read(answer: httpx.Response) -> Page:
            if known and answer.status_code == HTTPStatus.NOT_MODIFIED:
                self._pages.unchanged(known)
                volatile = self._profile.volatile  # what was kept does not tell it
                return known if known.volatile == volatile else replace(known, volatile=volatile)
            page = await self._page(number, answer, request.url)
            return replace(page, etag=self._etag(answer)) if is_numbered else page

        page, _ = await self._attempt(request, read)
        return page

    async def probe(self) -> Probe:
        """Sign in, ask for the first page once, and return what that shows. See `Prober.probe`."""
        request, secrets = self._listing(1, None), self._session.secrets

        async def read(answer: httpx.Response) -> Page:
            return await self._page(1, answer, request.url)

        return await Prober(self._http, self._authority, secrets, self._profile, read).probe(request)

    def _listing(self, number: int, cursor: str | None, etag: str | None = None) -> httpx.Request:
        """Return the request for a page."""
        call = Call(Kind.LISTING, Priority.LISTING, self._authority, self._profile.listing.cost)
        headers = [(b"if-none-match", etag.encode("ascii"))] if etag else []
        return self._requests.listing(self._pages.ask(number, cursor, self._requests.listing_path), call, headers)

    async def _page(self, number: int, answer: httpx.Response, url: httpx.URL) -> Page:
        """Return the page that is in the answer to a request to `url`."""
        secrets, call = self._session.secrets, Call.of(answer)
        body = accepted(answer, secrets).content
        data = None if isinstance(call.data, BadAnswer) else call.data
        try:
            listed = await self._shared.read(self._reader, body, number, data)
        except ProfileMismatch as mismatch:
            raise mismatch.with_names(secrets.shown) from None
        return self._pages.page(number, listed, url, secrets.are_in)

    async def push(self, campaign_id: str, key: str, *, again: bool = False) -> int:
        """Ask the platform to sync a campaign, and return the number of attempts.

        `key`: the idempotency key; the platform performs requests with the same key once. `again`: a request with this
        key may have been sent before.
        """
        cost = 1 if self._profile.push is None else self._profile.push.cost
        call = Call(Kind.PUSH, self._pushes, self._authority, cost)
        request = self._requests.push(campaign_id, key, call)

        async def read(answer: httpx.Response) -> None:
            if answer.status_code == HTTPStatus.CONFLICT and (again or call.sendings > 1):
                raise in_progress(answer, self._tenant.sync.timeout.total_seconds(), self._session.secrets)
            confirm(answer, campaign_id, self._session.secrets)

        _, attempts = await self._attempt(request, read, final=Unauthorized)
        return attempts

    async def _attempt(
        self,
        request: httpx.Request,
        read: Callable[[httpx.Response], Awaitable[T]],
        final: type[AdsyncdError] | tuple[()] = (),
    ) -> tuple[T, int]:
        """Send until it succeeds, and return what was read and in which attempt. Waiting for quota costs no attempt.

        `final`: an error after which there is no further attempt.
        """
        attempt = 1
        lacks = 0
        while True:
            try:
                result = await read(await self._send(request))
            except Throttled:
                wait_s = None  # the gate is closed for as long as the platform asked
            except AdsyncdError as error:
                if not isinstance(error, PlatformError) and (lack := shortage(error)):
                    lacks = await self._wait_for_resources(lack, lacks)
                    continue
                wait_s = None
                if not isinstance(error, final):
                    wait_s = wait_before_next(error, attempt, self._policy, self._shared.random)
                if wait_s is None:
                    if isinstance(error, PlatformError):
                        error.attempts = attempt
                    raise
                attempt += 1
                why = str(error)
            else:
                self._budget.succeeded(attempt)
                return result, attempt
            if wait_s is None:
                await self._gate.pause(0.0)
            else:
                await self._wait_to_retry(wait_s, why)

    async def _wait_for_resources(self, lack: str | None, waits: int) -> int:
        """Wait until this process can open files again, longer after each of the `waits`; return their new number.

        A request sent in between might fail by a look-up that hides the lack, and be heard of after its end.
        """
        while lack:
            waits = min(waits + 1, _LACKING.max_attempts)
            self._shared.lacks.tell(lack, self._shared.clock.monotonic())
            await self._wait(WaitReason.RESOURCES, backoff(waits, _LACKING, self._shared.random), lack)
            lack = lacking()
        return waits

    async def _wait_to_retry(self, wait_s: float, why: str) -> None:
        await self._wait(WaitReason.BACKOFF, wait_s, why)
        while wait_s := self._budget.take(self._shared.clock.monotonic()):
            await self._wait(WaitReason.RETRY_BUDGET, wait_s, why)

    async def _wait(self, reason: WaitReason, wait_s: float, why: str) -> None:
        until = self._shared.clock.now() + timedelta(seconds=wait_s)
        attributes = {WAIT_REASON: reason, WAIT_UNTIL: until.isoformat(timespec="milliseconds")}
        with span(self._shared.tracer, SPAN_RETRY_WAIT, attributes), self._tally.waiting(reason, until, why):
            await self._gate.pause(wait_s)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        call, refused_at = Call.of(request), None
        while True:
            answer = await self._http.send(request)
            token = call.token
            assert token is not None  # noqa: S101 - its authority gave it one before it left
            if answer.status_code != HTTPStatus.UNAUTHORIZED:
                if answer.status_code < HTTPStatus.BAD_REQUEST:
                    self._session.accept(token, call.authorized_at)
                return answer
            if call.renewed:
                if self._session.may_have_expired(token):
                    raise Unavailable("the token expired while its request was in flight, for the second time")
                self._session.refuse_anew(token)
                return answer
            match self._session.refuse(token, refused_at):
                case Refusal.OF_REQUEST:
                    return answer
                case Refusal.OF_TOKEN:
                    call.renewed = True
                case Refusal.IN_DOUBT:
                    refused_at = self._shared.clock.monotonic()
                    await self._wait(WaitReason.BACKOFF, _DOUBT_S, "the platform answered 401")

    def _etag(self, answer: httpx.Response) -> str | None:
        """Return a page's entity tag, or None if it cannot be sent back as it came or may repeat a secret."""
        etag = answer.headers.get("etag", "")
        sound = 0 < len(etag) <= _LONGEST_ETAG and etag.isascii() and etag.isprintable()
        return etag if sound and not self._session.secrets.are_in(etag) else None
