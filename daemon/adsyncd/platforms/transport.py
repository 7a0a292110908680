"""The one way out to a platform: a permit, a deadline and a bound on the answer for every request that is sent.

It is an httpx transport, so that no page, push, retry or sign-in can go around it. Errors of the network become ours
here, redirects end here, and a 429 closes the gate here.

    take a permit ─► and a token ─► send ─► headers: the permit cools ─► read a bounded body
                      └───────────────┴─ never left: the permit is given back
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from random import Random

import anyio
import httpx
from opentelemetry.trace import Tracer

from adsyncd.clock import Clock
from adsyncd.errors import BadAnswer, PlatformError, Throttled, Unavailable, WaitTooLong
from adsyncd.feedback import retry_after_s
from adsyncd.governor import Gate, Permit
from adsyncd.instruments import QUOTA_WAIT, REQUESTS, RETRIES, SPAN_QUOTA_WAIT, Instruments, span
from adsyncd.run import Tally
from adsyncd.tenant import Tenant

# Extensions of a request.
UNMETERED = "adsyncd.unmetered"  # the platform does not count it
AUTHORIZE = "adsyncd.authorize"  # is awaited with it when its turn has come: a token might expire while it waits
SENDINGS = "adsyncd.sendings"  # how often it was sent by now, whatever the reason

_MOST_MIB = 2  # a thousand campaigns of 2 KiB; so much hostile JSON stalls the event loop for a fifth of a second
_LONGEST_CLOSING_S = 3600.0  # after an hour a platform that asked for more is asked whether it meant it
_MOST_DOUBLINGS = 6  # of the seconds for which 429s in a row close the gate that don't say for how long

_USED_UP = "the quota is used up", "lengthen sync.run_deadline"
_ASKED_FOR_SILENCE = "the platform answered 429 and asks for silence", "see whether the drop-in's quota is too large"

_TELLING = 12  # characters of a token that are enough to know it by

_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class GovernedTransport(httpx.AsyncBaseTransport):
    """Sends the requests of one run. Its answers are read to their end, its errors are ours."""

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        tenant: Tenant,
        gate: Gate,
        tally: Tally,
        clock: Clock,
        random: Random,
        tracer: Tracer,
        instruments: Instruments,
    ) -> None:
        self._inner = inner
        self._tenant = tenant
        self._gate = gate
        self._tally = tally
        self._clock = clock
        self._random = random
        self._tracer = tracer
        self._instruments = instruments
        self._timeout_s = tenant.sync.timeout.total_seconds()
        self._refusals = 0  # 429s in a row
        self._closed_until = 0.0
        self._waiting = 0
        self._waiting_since = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Wait for a permit, send, and return the answer with its body; one that says no, if need be without.

        Raises `Unavailable`, `BadAnswer`, `Throttled` for a 429 to a metered request, `WaitTooLong`, `Stopping` and
        `StoreError`.
        """
        permit = None if UNMETERED in request.extensions else await self._acquire(request)
        answer, body = None, b""
        try:
            with anyio.fail_after(self._timeout_s):
                answer = await self._exchange(request, permit)
                body = await _bounded(answer)
        except BadAnswer:
            if answer is None or answer.is_success:
                raise
        except (TimeoutError, httpx.TransportError, ssl.SSLError) as error:
            if answer is None or answer.is_success:
                raise self._translated(error, request.url) from error
        if permit is not None:
            self._heed(answer, body)
        if answer.has_redirect_location:  # httpx would read where it leads, and stumble over what isn't an address
            target = _target(answer, request)
            raise BadAnswer(
                f"the platform answered {answer.status_code}, a redirect to {target}, which is not followed"
            )
        return httpx.Response(answer.status_code, headers=answer.headers, content=body)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _exchange(self, request: httpx.Request, permit: Permit | None) -> httpx.Response:
        """Return the answer's head. However this ends, the permit is out of our hands."""
        sendings = request.extensions[SENDINGS] = request.extensions.get(SENDINGS, 0) + 1
        if permit is None:
            return await self._inner.handle_async_request(request)
        try:
            answer = await self._inner.handle_async_request(request)
        except _NEVER_LEFT:
            permit.refund()
            raise
        except BaseException:
            permit.cool()
            self._count("none", sendings)
            raise
        permit.cool()
        self._count(f"{answer.status_code // 100}xx", sendings)
        return answer

    def _count(self, status: str, sendings: int) -> None:
        self._tally.requests += 1
        self._instruments.add(REQUESTS, 1, tenant=self._tenant.id, status=status)
        if sendings > 1:
            self._tally.retries += 1
            self._instruments.add(RETRIES, 1, tenant=self._tenant.id)

    async def _acquire(self, request: httpx.Request) -> Permit:
        permit = self._gate.acquire_nowait()
        if permit is None:
            with span(self._tracer, SPAN_QUOTA_WAIT), self._wait():
                permit = await self._gate.acquire(self._foresee)
        if AUTHORIZE in request.extensions:
            try:
                await request.extensions[AUTHORIZE](request)
            except BaseException:
                permit.refund()
                raise
        await permit.put_on_record(self._timeout_s)
        return permit

    @contextmanager
    def _wait(self) -> Iterator[None]:
        """Measure the time in which at least one of the run's requests waits."""
        if not self._waiting:
            self._waiting_since = self._clock.monotonic()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                waited_s = self._clock.monotonic() - self._waiting_since
                self._tally.waited_s += waited_s
                self._tally.waits_until = None
                self._instruments.add(QUOTA_WAIT, waited_s, tenant=self._tenant.id)

    def _foresee(self, opens_at: float | None) -> None:
        """Say until when the run waits, unless that is after its end: such a wait is not begun."""
        self._tally.waits_until = None
        if opens_at is None:
            return
        wait_s = opens_at - self._clock.monotonic()
        if opens_at > anyio.current_effective_deadline():
            why, mend = _ASKED_FOR_SILENCE if self._gate.closed else _USED_UP
            raise WaitTooLong(f"{why} for another {wait_s:.0f} s, which the run may not last; {mend}")
        self._tally.waits_until = self._clock.now() + timedelta(seconds=wait_s)

    def _heed(self, answer: httpx.Response, body: bytes) -> None:
        """Close the gate on a 429: for as long as it asks, or for longer and longer if it doesn't say."""
        if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            self._refusals = 0
            return
        self._tally.refused += 1
        now = self._clock.monotonic()
        if now >= self._closed_until:  # else it was on its way when the gate closed, and is no news
            self._refusals += 1
        wait_s = retry_after_s(answer.headers, body, self._clock.now())
        if wait_s is None:
            wait_s = 2.0 ** min(self._refusals, _MOST_DOUBLINGS) * self._random.uniform(1.0, 1.1)
        wait_s = min(wait_s, _LONGEST_CLOSING_S)
        self._closed_until = max(self._closed_until, now + wait_s)
        self._gate.close(wait_s)
        raise Throttled(f"the platform answered 429, to be asked again in {wait_s:.0f} s")

    def _translated(self, error: Exception, url: httpx.URL) -> PlatformError:
        """Say what went wrong on the way. A failed connection's own words are repeated: they come from this side."""
        match error:
            case httpx.ConnectTimeout():
                return Unavailable(f"no connection to {url.host} within {self._timeout_s / 2:g} s")
            case TimeoutError() | httpx.TimeoutException():
                return Unavailable(f"{url.host} did not answer within {self._timeout_s:g} s (sync.timeout)")
            case httpx.ConnectError():
                return Unavailable(f"no connection to {url.host}: {error}")
            case httpx.ProtocolError() | httpx.UnsupportedProtocol() | ssl.SSLError():
                return BadAnswer(f"{url.host} broke the HTTP protocol or hung up before it answered")
        return Unavailable(f"the connection to {url.host} broke ({type(error).__name__})")


async def _bounded(answer: httpx.Response) -> bytes:
    """Read the body, which was asked for unpacked: so its size here is its size in memory."""
    assert isinstance(answer.stream, httpx.AsyncByteStream)  # noqa: S101 - what async transports return
    try:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise BadAnswer("the platform's answer is compressed, though it was asked for plain")
        body = bytearray()
        async for chunk in answer.stream:
            body += chunk
            if len(body) > _MOST_MIB * 2**20:
                raise BadAnswer(
                    f"the platform's answer is larger than {_MOST_MIB} MiB; a smaller sync.page_size may help"
                )
        return bytes(body)
    finally:
        await answer.stream.aclose()


def _target(redirect: httpx.Response, request: httpx.Request) -> str:
    try:
        host = httpx.URL(redirect.headers["location"]).raw_host.decode("ascii")
    except httpx.InvalidURL:
        return "nowhere"
    return (host if repeatable(host, request) else "another host") if host else "a page of its own"


def repeatable(words: str, request: httpx.Request) -> bool:
    """Say whether the platform's words may be shown: they can be printed, and don't repeat the token of a request."""
    token = request.headers.get("authorization", "").rpartition(" ")[2]
    begins = token[:_TELLING].lower()  # of a token that is cut short the beginning is shown
    return words.isprintable() and not (begins and begins in words.lower())
