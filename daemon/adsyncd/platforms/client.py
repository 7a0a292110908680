"""The platform's endpoints as typed calls, and the one layer that retries.

A request gets its token when its turn comes. A 401 forces one refresh and one more try. If the platform refuses the
fresh token too, a push has failed; a listing's next attempts use the token at hand.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import httpx
from opentelemetry.trace import StatusCode

from adsyncd.errors import AdsyncdError, BadAnswer, PlatformError, ProfileMismatch, Throttled, Unauthorized, Unavailable
from adsyncd.host.shortage import lacking, shortage
from adsyncd.model.campaign import Page
from adsyncd.model.run import Tally
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.authority import TokenAuthority
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.halt import Halt
from adsyncd.platforms.paging import Pages
from adsyncd.platforms.probe import Probe
from adsyncd.platforms.prober import Prober
from adsyncd.platforms.profile_requests import ProfileRequests
from adsyncd.platforms.reading import Reader
from adsyncd.platforms.requests import Requests
from adsyncd.platforms.session import Refusal, Session
from adsyncd.platforms.verdict import accepted, confirm, in_progress, refuses_token
from adsyncd.rate import Gate, Priority
from adsyncd.rate.retry import Policy, RetryBudget, backoff, wait_before_next
from adsyncd.rate.wait import WaitReason
from adsyncd.telemetry.instruments import (
    CLIENT_ID,
    ERROR_TYPE,
    SPAN_PROBE,
    SPAN_RETRY_WAIT,
    TENANT,
    WAIT_REASON,
    WAIT_UNTIL,
    span,
)

if TYPE_CHECKING:
    from adsyncd.platforms.connector import Connector

T = TypeVar("T")

_LONGEST_ETAG = 1024
_DOUBT_S = 1.0  # before another try shows whether a 401 means the token or the request
_LACKING = Policy(max_attempts=5, max_s=5.0)  # waits for this machine's resources; no growth after the fifth


class PlatformClient:
    """One tenant's calls to its platform. While this machine lacks resources they wait, as long as the run lasts.

    Each raises a `PlatformError`, a `CredentialsError`, `Stopping` or `StoreError`, and nothing else.
    """

    def __init__(
        self,
        requests: Requests,
        authority: TokenAuthority,
        tenant: Tenant,
        session: Session,
        gate: Gate,
        budget: RetryBudget,
        tally: Tally,
        shared: "Connector",
        pushes: Priority,
        halt: Halt,
    ) -> None:
        self._http = requests
        self._tenant = tenant
        self._session = session
        self._authority = authority
        self._gate = gate
        self._budget = budget
        self._tally = tally
        self._shared = shared
        self._pushes = pushes
        self._halt = halt
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
                return known
            page = await self._page(number, answer, request.url)
            return replace(page, etag=self._etag(answer)) if is_numbered else page

        page, _ = await self._attempt(request, read)
        return page

    async def probe(self) -> Probe:
        """Sign in, ask for the first page once, and return what that shows. See `Prober.probe`."""
        request = self._listing(1, None)

        async def read(answer: httpx.Response) -> Page:
            return await self._page(1, answer, request.url)

        attributes = {TENANT: self._tenant.id, CLIENT_ID: self._tenant.client_id}
        with span(self._shared.tracer, SPAN_PROBE, attributes) as current:
            prober = Prober(self._http, self._authority, self._session, self._profile, read)
            probe = await prober.probe(request)
            if probe.failed is not None:
                current.set_attribute(ERROR_TYPE, probe.failed)
                current.set_status(StatusCode.ERROR, probe.error)
        return probe

    def _listing(self, number: int, cursor: str | None, etag: str | None = None) -> httpx.Request:
        """Return the request for a page."""
        call = Call(Kind.LISTING, Priority.LISTING, self._authority, self._profile.listing.cost)
        headers = [(b"if-none-match", etag.encode("ascii"))] if etag else []
        return self._requests.listing(self._pages.ask(number, cursor, self._requests.listing_path), call, headers)

    async def _page(self, number: int, answer: httpx.Response, url: httpx.URL) -> Page:
        """Return the page that is in the answer to a request to `url`."""
        secrets, call = self._session.secrets, Call.of(answer)
        body = accepted(answer, self._profile, secrets).content
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
            confirm(answer, campaign_id, self._profile, self._session.secrets)

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
        with (
            span(self._shared.tracer, SPAN_RETRY_WAIT, attributes),
            self._tally.waiting(reason, until, why),
            self._halt.waiting(),
        ):
            await self._gate.pause(wait_s)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        call, refused_at = Call.of(request), None
        while True:
            answer = await self._http.send(request)
            token = call.token
            assert token is not None  # noqa: S101 - its authority gave it one before it left
            if not refuses_token(answer):
                if answer.status_code < HTTPStatus.BAD_REQUEST and call.means is None:
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
                    await self._wait(WaitReason.BACKOFF, _DOUBT_S, f"the platform answered {answer.status_code}")

    def _etag(self, answer: httpx.Response) -> str | None:
        """Return a page's entity tag, or None if it cannot be sent back as it came or may repeat a secret."""
        etag = answer.headers.get("etag", "")
        sound = 0 < len(etag) <= _LONGEST_ETAG and etag.isascii() and etag.isprintable()
        return etag if sound and not self._session.secrets.are_in(etag) else None
