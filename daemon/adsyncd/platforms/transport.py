"""The one way out to a platform: every request gets a permit, a deadline and a bound on its answer.

It is an httpx transport, so that no page, push, retry or sign-in can go around it. Network errors are translated here,
redirects end here, and a 429 closes the gate here.

    authorized ─► admit ─► record ─► send: the permit cools from the headers ─► read: obey what it says of limits
"""

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from random import Random

import anyio
import httpx
from opentelemetry.trace import Tracer

from adsyncd.clock import Clock
from adsyncd.errors import AdsyncdError, BadAnswer, OutOfResources, Throttled, Unavailable, Unconfirmed
from adsyncd.host.shortage import shortage
from adsyncd.model.profile import Paging
from adsyncd.model.run import Tally
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.admission import Admission
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.halt import Halt
from adsyncd.platforms.parts import fill
from adsyncd.platforms.verdict import meaning
from adsyncd.platforms.wire import most_page_mib, parse
from adsyncd.platforms.words import Secrets
from adsyncd.rate import Gate, Permit
from adsyncd.rate.breaker import Breaker
from adsyncd.rate.feedback import Said, read
from adsyncd.rate.retry import LONGEST_ASKED_S
from adsyncd.telemetry import CALL
from adsyncd.telemetry.instruments import REQUESTS, RETRIES, Instruments

_WRITTEN = ".send_request_body.complete"  # how httpx's `trace` names the event, after the protocol

_MOST_KIB = 64  # of an answer: the worst JSON of this size blocks the event loop for a millisecond
_LONGEST_CLOSING_S = 3600.0  # a platform that asks for more than an hour gets one request an hour
_MOST_DOUBLINGS = 6  # of the closing, in seconds, after 429s in a row that state no wait
_STATUSES = frozenset([*HTTPStatus, *range(520, 531)])  # Cloudflare's, too; a platform can't have series without end

_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class GovernedTransport(httpx.AsyncBaseTransport):
    """Sends the requests of one run, reads their answers to the end, and translates errors.

    `via`: the proxy through which `inner` connects; "" without one. `parse_page` returns the JSON of a page, or raises
    `BadAnswer`.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        tenant: Tenant,
        gate: Gate,
        breaker: Breaker,
        halt: Halt,
        tally: Tally,
        secrets: Secrets,
        via: str = "",
        clock: Clock,
        random: Random,
        tracer: Tracer,
        instruments: Instruments,
        parse_page: Callable[[bytes], Awaitable[object]],
    ) -> None:
        profile = tenant.platform.profile
        rules = [*(answer.rule for answer in profile.answers), *profile.dialect.throttling]
        self._profile = profile
        self._judged = frozenset(rule.status for rule in rules)  # None: any status
        self._parse_page = parse_page
        self._inner = inner
        self._tenant = tenant
        self._gate = gate
        self._admission = Admission(
            tenant=tenant,
            gate=gate,
            breaker=breaker,
            halt=halt,
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
        """Send a request in its turn, and return the answer with its body. An error status may come without its body.

        Raises what signing in raises, `Unavailable`, `BadAnswer`, `Unconfirmed` for a push, `OutOfResources`,
        `Throttled` for a 429 to a metered request, `WaitTooLong`, `Stopping`, `RunCancelled` and `StoreError`.
        """
        call, passage, again = Call.of(request), None, False
        while passage is None:
            if call.authority is not None:
                await call.authority.authorized()
            permit = await self._admission.admit(request, call, again=again)
            passage = await self._admission.record(request, call, permit)
            again = True
        with passage:
            answer = await self._send(request, call, permit)
            await self._read(request, call, answer)
            if answer.is_server_error:
                passage.failed(f"the platform answered {answer.status_code}")
            return answer

    async def _send(self, request: httpx.Request, call: Call, permit: Permit | None) -> httpx.Response:
        """Return the answer with its body: an empty one if the body of an error status can't be read."""
        answer, body = None, b""
        try:
            with anyio.CancelScope(deadline=self._clock.monotonic() + self._timeout_s) as scope:
                answer = await self._exchange(request, call, permit)
                body = await _bounded(answer, call, self._profile.listing.paging)
            if scope.cancelled_caught or answer is None:
                raise TimeoutError  # noqa: TRY301 - as anyio.fail_after does, at three times the cost
        except BadAnswer as error:
            if answer is None or answer.is_success:
                raise _unread(error, answer, call) from None
        except (TimeoutError, httpx.TransportError, ssl.SSLError) as error:
            if answer is None or answer.is_success:
                raise _unread(self._translated(error, request.url), answer, call) from error
        fill(answer, body)
        return answer

    async def _read(self, request: httpx.Request, call: Call, answer: httpx.Response) -> None:
        """Obey what an answer says of limits. Raises an error for a 429, a redirect or a proxy's 407."""
        status = answer.status_code
        answer.extensions[CALL] = call
        call.data = await self._data(answer, call)
        data = None if isinstance(call.data, BadAnswer) else call.data
        call.said = read(status, answer.headers, data, self._clock.now(), self._profile.dialect)
        call.means = meaning(self._profile, status, data)
        if call.metered:
            self._heed(call.said, status)
        if self._via and status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            raise self._turned_away(status, request.url)
        if answer.has_redirect_location:  # httpx would read the location, and raise if it is not an address
            target = _target(answer, self._secrets)
            raise (Unconfirmed if call.kind is Kind.PUSH else BadAnswer)(
                f"the platform answered {status}, a redirect to {target}, which is not followed"
            )

    async def _data(self, answer: httpx.Response, call: Call) -> object:
        """Return the body's JSON or the error of parsing it; None for a page that no rule of the profile judges."""
        try:
            if not _is_page(answer, call):
                return parse(answer.content)
            if self._profile.expect or not self._judged.isdisjoint((None, answer.status_code)):
                return await self._parse_page(answer.content)
        except BadAnswer as error:
            return error
        return None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _exchange(self, request: httpx.Request, call: Call, permit: Permit | None) -> httpx.Response:
        """Return the answer's head. Whatever happens, the permit cools or is refunded."""
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
        self._count(str(head.status_code) if head.status_code in _STATUSES else "other", call)
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
        """Obey what an answer says of limits. Raises `Throttled` for a 429.

        The gate closes for the wait that the answer states; without one, each 429 in a row doubles the time.
        """
        self._gate.heed(said.limits, refused=said.throttled)
        if not said.throttled:
            self._refusals = 0
            if said.wait_s is not None:
                self._gate.close(min(said.wait_s, LONGEST_ASKED_S))
            return
        self._tally.refused += 1
        now = self._clock.monotonic()
        if now >= self._closed_until:  # else it was in flight when the gate closed
            self._refusals += 1
        wait_s = said.wait_s
        if wait_s is None:
            wait_s = 2.0 ** min(self._refusals, _MOST_DOUBLINGS) * self._random.uniform(1.0, 1.1)
        wait_s = min(wait_s, _LONGEST_CLOSING_S)
        self._closed_until = max(self._closed_until, now + wait_s)
        self._gate.close(wait_s)
        raise Throttled(f"the platform answered {status}, next request in {wait_s:.0f} s")

    def _turned_away(self, status: int, url: httpx.URL) -> Unavailable:
        """Return the error of a request that the proxy refused: the platform never saw it."""
        fix = "check the user and password in" if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED else "check"
        where, key = url.netloc.decode("ascii"), f"platforms.{self._tenant.platform.name}.proxy"
        return Unavailable(f"the proxy {self._via} answered {status} to a connection to {where}; {fix} {key}")

    def _translated(self, error: Exception, url: httpx.URL) -> AdsyncdError:
        """Translate a network error. The text of a failed connection is repeated: it comes from this machine."""
        if lack := shortage(error):
            return OutOfResources(lack)
        where = url.netloc.decode("ascii") + (f" by way of the proxy {self._via}" if self._via else "")
        match error:
            case httpx.ProxyError():  # "407 reason"
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
    """Return the error of a success whose body is missing: `Unconfirmed` for a push, which must not be repeated."""
    if head is None or call.kind is not Kind.PUSH:
        return trouble
    return Unconfirmed(f"the platform answered {head.status_code} to the push, but it can't be read: {trouble}")


async def _bounded(head: httpx.Response, call: Call, paging: Paging) -> bytes:
    """Read a body up to its bound. It must be uncompressed, so its size on the wire is its size in memory.

    The rest of a body that is too large is not read: closing the stream gives up the connection.
    """
    assert isinstance(head.stream, httpx.AsyncByteStream)  # noqa: S101 - what async transports return
    try:
        encodings = head.headers.get("content-encoding")
        if encodings and not {encoding.strip() for encoding in encodings.lower().split(",")} <= {"", "identity"}:
            raise BadAnswer("the platform's answer is compressed, though the request asked for plain")
        most, told = _MOST_KIB * 2**10, f"{_MOST_KIB} KiB"
        if _is_page(head, call):
            most_mib = most_page_mib(paging)
            advice = "" if paging.size is None else "; a smaller sync.page_size may help"
            most, told = most_mib * 2**20, f"{most_mib} MiB{advice}"
        body = bytearray()
        async for chunk in head.stream:
            body += chunk
            if len(body) > most:
                raise BadAnswer(f"the platform's answer is larger than {told}")
        return bytes(body)
    finally:
        await head.stream.aclose()


def _target(redirect: httpx.Response, secrets: Secrets) -> str:
    try:
        host = httpx.URL(redirect.headers["location"]).raw_host.decode("ascii")
    except httpx.InvalidURL:
        return "an invalid address"
    return (secrets.shown(host) or "another host") if host else "the same host"
