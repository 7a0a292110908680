"""The one way out to a platform: a permit, a deadline and a bound on the answer for every request that is sent.

It is an httpx transport, so that no page, push, retry or sign-in can go around it. Errors of the network become ours
here, redirects end here, and a refusal closes the gate here.

    admission: token, breaker, permit ─► send ─► headers: the permit cools ─► read a bounded body ─► note what it says
"""

import ssl
from functools import partial
from http import HTTPStatus
from random import Random

import anyio
import httpx
from opentelemetry.trace import Tracer

from adsyncd.clock import Clock
from adsyncd.errors import AdsyncdError, BadAnswer, OutOfResources, Throttled, Unavailable, Unconfirmed
from adsyncd.host.shortage import shortage
from adsyncd.model.run import Tally
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.admission import Admission
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.wire import parse
from adsyncd.platforms.words import Secrets
from adsyncd.rate import Gate, Permit
from adsyncd.rate.breaker import Breaker
from adsyncd.rate.feedback import Said, read
from adsyncd.rate.retry import LONGEST_ASKED_S
from adsyncd.telemetry.http_spans import CALL
from adsyncd.telemetry.instruments import REQUESTS, RETRIES, Instruments

_WRITTEN = ".send_request_body.complete"  # how httpcore's event is called, behind the protocol's name

_MOST_KIB = 64  # of an answer: parsing so much of the most hostile JSON takes the event loop a millisecond
_MOST_MIB = 2  # of a listing: a thousand campaigns of 2 KiB
_LONGEST_CLOSING_S = 3600.0  # after an hour a platform that asked for more is asked whether it meant it
_MOST_DOUBLINGS = 6  # of the seconds for which 429s in a row close the gate that don't say for how long


_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class GovernedTransport(httpx.AsyncBaseTransport):
    """Sends the requests of one run. Its answers are read to their end, its errors are ours.

    `via`: the proxy that `inner` connects by, if it does.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        tenant: Tenant,
        gate: Gate,
        breaker: Breaker,
        tally: Tally,
        secrets: Secrets,
        via: str = "",
        clock: Clock,
        random: Random,
        tracer: Tracer,
        instruments: Instruments,
    ) -> None:
        self._inner = inner
        self._tenant = tenant
        self._gate = gate
        self._admission = Admission(
            tenant=tenant,
            gate=gate,
            breaker=breaker,
            tally=tally,
            clock=clock,
            tracer=tracer,
            instruments=instruments,
        )
        self._tally = tally
        self._secrets = secrets
        self._via = via
        self._clock = clock
        self._random = random
        self._instruments = instruments
        self._timeout_s = tenant.sync.timeout.total_seconds()
        self._refusals = 0  # 429s in a row
        self._closed_until = 0.0
        self._tells_written = tenant.quota.arrival_bound is not None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request in its turn, and return the answer with its body (an error status may come without).

        Raises what signing in raises, `Unavailable`, `BadAnswer`, `Unconfirmed` for a push, `OutOfResources`,
        `Throttled` for a 429 to a metered request, `WaitTooLong`, `Stopping` and `StoreError`.
        """
        call, passage, again = Call.of(request), None, False
        while passage is None:
            if call.authority is not None:
                await call.authority.authorized()
            permit = await self._admission.admit(request, call, again=again)
            passage = await self._admission.record(request, call, permit)
            again = True
        with passage:
            head, body = await self._send(request, call, permit)
            answer = self._read(request, call, head, body)
            if answer.is_server_error:
                passage.failed(f"the platform answered {answer.status_code}")
            return answer

    async def _send(self, request: httpx.Request, call: Call, permit: Permit | None) -> tuple[httpx.Response, bytes]:
        """Return the answer's head, and its body as far as the status does not say enough by itself."""
        head, body = None, b""
        try:
            with anyio.fail_after(self._timeout_s):
                head = await self._exchange(request, call, permit)
                body = await _bounded(head, call)
        except BadAnswer as error:
            if head is None or head.is_success:
                raise _unread(error, head, call) from None
        except (TimeoutError, httpx.TransportError, ssl.SSLError) as error:
            if head is None or head.is_success:
                raise _unread(self._translated(error, request.url), head, call) from error
        return head, body

    def _read(self, request: httpx.Request, call: Call, head: httpx.Response, body: bytes) -> httpx.Response:
        """Note what an answer says of limits, and return it with its body. Raises the error of a redirect or a 429."""
        status = head.status_code
        call.data = self._data(head, call, body)
        call.said = read(
            status,
            head.headers,
            None if isinstance(call.data, BadAnswer) else call.data,
            self._clock.now(),
            self._tenant.platform.dialect,
        )
        if call.metered:
            self._heed(call.said, status)
        if self._via and status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            raise self._turned_away(status, request.url)
        if head.has_redirect_location:  # httpx would read the location, and raise if it is not an address
            target = _target(head, self._secrets)
            raise (Unconfirmed if call.kind is Kind.PUSH else BadAnswer)(
                f"the platform answered {status}, a redirect to {target}, which is not followed"
            )
        return httpx.Response(status, headers=head.headers, content=body, extensions={CALL: call})

    def _data(self, head: httpx.Response, call: Call, body: bytes) -> object:
        """Return the body's JSON, or the error that it makes: of a listing only if it may tell of a limit."""
        if _is_page(head, call) and all(
            rule.status != head.status_code for rule in self._tenant.platform.dialect.throttling
        ):
            return None
        try:
            return parse(body)
        except BadAnswer as error:
            return error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _exchange(self, request: httpx.Request, call: Call, permit: Permit | None) -> httpx.Response:
        """Return the answer's head. However this ends, it ends the permit."""
        call.sendings += 1
        if permit is None:
            return await self._inner.handle_async_request(request)
        if self._tells_written:
            call.written_at = None
            request.extensions["trace"] = partial(self._note_written, call)
        try:
            head = await self._inner.handle_async_request(request)
        except _NEVER_LEFT:
            permit.refund()
            raise
        except BaseException:
            permit.cool(call.written_at, answered=False)
            self._count("none", call)
            raise
        permit.cool(call.written_at)
        self._count(f"{head.status_code // 100}xx", call)
        return head

    async def _note_written(self, call: Call, event: str, _info: object) -> None:
        if event.endswith(_WRITTEN):
            call.written_at = self._clock.monotonic()

    def _count(self, status: str, call: Call) -> None:
        self._tally.requests += 1
        self._instruments.add(REQUESTS, 1, tenant=self._tenant.id, status=status)
        if call.sendings > 1:
            self._tally.retries += 1
            self._instruments.add(RETRIES, 1, tenant=self._tenant.id)

    def _heed(self, said: Said, status: int) -> None:
        """Take note of what an answer says of limits.

        The gate closes for as long as it asks; after a refusal that doesn't say so, for longer and longer.
        """
        self._gate.heed(said.limits, refused=said.throttled)
        if not said.throttled:
            self._refusals = 0
            if said.wait_s is not None:
                self._gate.close(min(said.wait_s, LONGEST_ASKED_S))
            return
        self._tally.refused += 1
        now = self._clock.monotonic()
        if now >= self._closed_until:  # else it was on its way when the gate closed, and is no news
            self._refusals += 1
        wait_s = said.wait_s
        if wait_s is None:
            wait_s = 2.0 ** min(self._refusals, _MOST_DOUBLINGS) * self._random.uniform(1.0, 1.1)
        wait_s = min(wait_s, _LONGEST_CLOSING_S)
        self._closed_until = max(self._closed_until, now + wait_s)
        self._gate.close(wait_s)
        raise Throttled(f"the platform answered {status}, next request in {wait_s:.0f} s")

    def _turned_away(self, status: int, url: httpx.URL) -> Unavailable:
        """Say that the proxy did not pass on a request, which the platform never saw."""
        fix = "check the user and password in" if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED else "check"
        where, key = url.netloc.decode("ascii"), f"platforms.{self._tenant.platform.name}.proxy"
        return Unavailable(f"the proxy {self._via} answered {status} to a connection to {where}; {fix} {key}")

    def _translated(self, error: Exception, url: httpx.URL) -> AdsyncdError:
        """Say what went wrong on the way. A failed connection's own words are repeated: they come from this side."""
        if lack := shortage(error):
            return OutOfResources(lack)
        where = url.netloc.decode("ascii") + (f" by way of the proxy {self._via}" if self._via else "")
        match error:
            case httpx.ProxyError():  # the status, and the proxy's own words
                return self._turned_away(int(str(error).partition(" ")[0]), url)
            case httpx.ProtocolError() | httpx.UnsupportedProtocol() | ssl.SSLError():
                return BadAnswer(f"{where} broke the HTTP protocol or closed the connection before it answered")
            case httpx.ConnectTimeout():
                what = f"no connection to {where} within {self._timeout_s / 2:g} s"
            case TimeoutError() | httpx.TimeoutException():
                what = f"{where} did not answer within {self._timeout_s:g} s (sync.timeout)"
            case httpx.ConnectError():
                what = f"no connection to {where}: {error}"
            case _:
                what = f"the connection to {where} broke ({type(error).__name__})"
        return Unavailable(what)


def _is_page(head: httpx.Response, call: Call) -> bool:
    return head.is_success and call.kind is Kind.LISTING


def _unread(trouble: AdsyncdError, head: httpx.Response | None, call: Call) -> AdsyncdError:
    """Return what it means that a success did not come with its body: a push is not repeated for that."""
    if head is None or call.kind is not Kind.PUSH:
        return trouble
    return Unconfirmed(f"the platform answered {head.status_code} to the push, but it can't be read: {trouble}")


async def _bounded(head: httpx.Response, call: Call) -> bytes:
    """Read the body, which was asked for unpacked: so its size here is its size in memory.

    Of one that is too large the rest is not read: closing it gives up the connection.
    """
    assert isinstance(head.stream, httpx.AsyncByteStream)  # noqa: S101 - what async transports return
    try:
        encodings = head.headers.get("content-encoding", "").lower().split(",")
        if not {encoding.strip() for encoding in encodings} <= {"", "identity"}:
            raise BadAnswer("the platform's answer is compressed, though the request asked for plain")
        is_page = _is_page(head, call)
        most = _MOST_MIB * 2**20 if is_page else _MOST_KIB * 2**10
        body = bytearray()
        async for chunk in head.stream:
            body += chunk
            if len(body) > most:
                raise BadAnswer(
                    f"the platform's answer is larger than {_MOST_MIB} MiB; a smaller sync.page_size may help"
                    if is_page
                    else f"the platform's answer is larger than {_MOST_KIB} KiB"
                )
        return bytes(body)
    finally:
        await head.stream.aclose()


def _target(redirect: httpx.Response, secrets: Secrets) -> str:
    try:
        host = httpx.URL(redirect.headers["location"]).raw_host.decode("ascii")
    except httpx.InvalidURL:
        return "an invalid address"
    return (secrets.shown(host) or "another host") if host else "the same host"
