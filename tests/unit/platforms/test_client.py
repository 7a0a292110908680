import base64
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, TypeVar

import anyio
import httpx
import pytest
from opentelemetry.metrics import NoOpMeter
from opentelemetry.trace import NoOpTracer
from pydantic import SecretStr

from adsyncd.credentials import Credentials
from adsyncd.errors import (
    AdsyncdError,
    BadAnswer,
    CredentialsMissing,
    CredentialsUnavailable,
    PlatformError,
    Rejected,
    SignInRefused,
    Stopping,
    Unauthorized,
    Unavailable,
    Unconfirmed,
    WaitTooLong,
)
from adsyncd.model.campaign import Page
from adsyncd.model.run import Tally, Wait
from adsyncd.model.tenant import CredentialsRef
from adsyncd.platforms import Connector, PlatformClient, transport, wire
from adsyncd.rate.bucket import cools_for
from adsyncd.rate.quota import Quota
from adsyncd.rate.retry import RetryBudget
from adsyncd.rate.wait import WaitReason
from adsyncd.telemetry.instruments import Instruments
from support.gates import a_gate
from support.records import campaign
from support.tenants import a_tenant
from support.virtual_time import BACKEND, VirtualClock

PASSWORD = "canary-password"
Result = TypeVar("Result")

MUCH = Quota(1000, timedelta(seconds=60))


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


class Longest(Random):
    """Draws the most that it may, so that waits are what they are bounded by."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - a generator's signature
        return b


Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response | None]  # None: as it does anyway


class Platform:
    """Plays the platform: what was scripted first, and then yes to everything."""

    def __init__(self) -> None:
        self.script: deque[Answer] = deque()  # for what is metered
        self.sign_in_script: deque[Answer] = deque()
        self.token_life_s = 3600.0
        self.takes_s = 0.0
        self.password = PASSWORD
        self.off_loop_calls = 0
        self.requests: list[httpx.Request] = []  # what was metered, as it was sent
        self.sent_at: list[float] = []
        self.sign_ins: list[httpx.Request] = []
        self.credentials_failure: AdsyncdError | None = None
        self._expires_at: dict[str, float] = {}

    async def off_loop(self, call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:
        async with limiter:
            self.off_loop_calls += 1
            return call()

    async def handle(self, request: httpx.Request) -> httpx.Response:
        sent = httpx.Request(request.method, request.url, headers=dict(request.headers), content=request.content)
        await anyio.sleep(self.takes_s)
        if request.url.path.endswith("/auth/token"):
            self.sign_ins.append(sent)
            return self._played(self.sign_in_script, sent) or self._signed_in()
        self.requests.append(sent)
        self.sent_at.append(anyio.current_time())
        answer = self._played(self.script, sent)
        if answer is not None:
            return answer
        token = sent.headers["authorization"].removeprefix("Bearer ")
        if anyio.current_time() >= self._expires_at.get(token, 0.0):
            return httpx.Response(401)
        return ok(sent)

    async def read(self, ref: CredentialsRef) -> Credentials:  # noqa: ARG002 - a source's signature
        """Play the source of credentials, too."""
        if self.credentials_failure is not None:
            raise self.credentials_failure
        return Credentials("acme@example.com", SecretStr(self.password))

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


class Parts:
    """A tenant's client and all that it works with."""

    def __init__(self, platform: Platform, client: PlatformClient, tally: "Heard", stop: Callable[[], None]) -> None:
        self.platform = platform
        self.client = client
        self.tally = tally
        self.stop = stop

    async def failed(self) -> PlatformError:
        """Push in vain, and return the error."""
        with pytest.raises(PlatformError) as error:
            await self.client.push("cmp-1", "key")
        return error.value


@asynccontextmanager
async def connected(*script: Answer, sign_ins: Iterable[Answer] = (), **tenant_changes: object) -> AsyncIterator[Parts]:
    """A client at a platform that gives the answers of `script`, and then yes to everything."""
    platform, clock, tally = Platform(), VirtualClock(), Heard()
    platform.script.extend(script)
    platform.sign_in_script.extend(sign_ins)
    connector = Connector(
        tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        clock=clock,
        random=Longest(),
        tracer=NoOpTracer(),
        instruments=Instruments(NoOpMeter("test")),
        traced=lambda _: httpx.MockTransport(platform.handle),
        off_loop=platform.off_loop,
    )
    tenant = a_tenant(**{"quota": MUCH, **tenant_changes})
    gate = a_gate(tenant.quota, clock)
    budget = RetryBudget(clock.monotonic())
    session = connector.session(tenant, platform)
    async with connector.client(tenant, session, gate, tally, budget=budget) as client:
        yield Parts(platform, client, tally, gate.stop)


# Requests


async def test_a_page_is_asked_for_as_the_api_has_it() -> None:
    async with connected(page_size=25) as parts:
        page = await parts.client.page(3)
    assert (page.number, page.total, page.has_more) == (3, 0, False)
    (request,) = parts.platform.requests
    assert (request.method, str(request.url)) == ("GET", "http://ads.invalid/api/campaigns?page=3&limit=25")
    assert request.headers["authorization"] == "Bearer canary-token-1"
    assert request.headers["accept-encoding"] == "identity"


KNOWN = Page(3, (campaign("cmp-1"),), total=1, has_more=False, etag='W/"v1"')


def named(etag: str | bytes) -> httpx.Response:
    """Return a page that the platform calls `etag`."""
    empty = b'{"data": [], "pagination": {"total": 0, "has_more": false}}'
    return httpx.Response(200, headers=[(b"etag", etag.encode() if isinstance(etag, str) else etag)], content=empty)


async def test_a_page_comes_with_what_the_platform_calls_it() -> None:
    async with connected(named('"v2"')) as parts:
        assert (await parts.client.page(1)).etag == '"v2"'
        assert (await parts.client.page(2)).etag is None


async def test_a_page_that_has_not_changed_is_the_one_that_is_known() -> None:
    async with connected(httpx.Response(503), httpx.Response(304)) as parts:
        assert await parts.client.page(3, KNOWN) is KNOWN
    assert [request.headers["if-none-match"] for request in parts.platform.requests] == ['W/"v1"'] * 2
    assert parts.tally.requests == 2


async def test_a_page_that_has_changed_is_read() -> None:
    async with connected(named('"v2"')) as parts:
        page = await parts.client.page(3, KNOWN)
    assert (page.campaigns, page.etag) == ((), '"v2"')


async def test_a_page_that_is_not_known_cannot_be_unchanged() -> None:
    async with connected(httpx.Response(304), max_attempts=1) as parts:
        with pytest.raises(BadAnswer, match="304"):
            await parts.client.page(3)
    assert "if-none-match" not in parts.platform.requests[0].headers


@pytest.mark.parametrize("etag", [b"", b"x" * 1025, '"\xe9"'.encode("latin-1"), b'"canary-token-1"'])
async def test_a_name_that_cannot_be_sent_back_or_repeats_the_token_is_none(etag: bytes) -> None:
    async with connected(named(etag)) as parts:
        assert (await parts.client.page(1)).etag is None


@pytest.mark.parametrize(("size", "off_loop_calls"), [(100, 0), (2**16, 0), (2**16 + 1, 1), (2**21, 1)])
async def test_a_large_page_is_read_where_it_does_not_hold_up_the_event_loop(size: int, off_loop_calls: int) -> None:
    body = b'{"data": [], "pagination": {"total": 0, "has_more": false}}'
    async with connected(httpx.Response(200, content=body.ljust(size))) as parts:
        assert (await parts.client.page(1)).campaigns == ()
        assert parts.platform.off_loop_calls == off_loop_calls


async def test_a_large_page_that_is_a_bad_answer_is_asked_for_again() -> None:
    async with connected(httpx.Response(200, content=b"[".ljust(2**17))) as parts:
        await parts.client.page(1)
    assert len(parts.platform.requests) == 2


async def test_a_push_is_sent_as_the_api_has_it() -> None:
    async with connected() as parts:
        assert await parts.client.push("cmp-1", "key-1") == 1
    (request,) = parts.platform.requests
    assert (request.method, str(request.url)) == ("POST", "http://ads.invalid/api/campaigns/cmp-1/sync")
    assert json.loads(request.content) == {"campaign_id": "cmp-1"}
    assert request.headers["idempotency-key"] == "key-1"


async def test_a_sign_in_is_sent_as_the_api_has_it() -> None:
    async with connected() as parts:
        await parts.client.page(1)
    (request,) = parts.platform.sign_ins
    assert (request.method, str(request.url)) == ("POST", "http://ads.invalid/auth/token")
    basic = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
    assert basic == f"acme@example.com:{PASSWORD}"


@pytest.mark.parametrize("base_url", ["http://ads.invalid/v2", "http://ads.invalid:8080/deep/er"])
async def test_a_platform_may_live_below_a_path(base_url: str) -> None:
    async with connected(base_url=base_url) as parts:
        await parts.client.push("cmp-1", "key")
    assert str(parts.platform.requests[0].url) == f"{base_url}/api/campaigns/cmp-1/sync"


@pytest.mark.parametrize(
    ("id_", "segment"),
    [
        ("a/b", b"a%2Fb"),
        ("../../auth/token", b"..%2F..%2Fauth%2Ftoken"),
        ("a?b#c", b"a%3Fb%23c"),
        ("%2F", b"%252F"),
        ("a b\n", b"a%20b%0A"),
        ("ü", b"%C3%BC"),
        ("http://elsewhere.invalid", b"http%3A%2F%2Felsewhere.invalid"),
        ("x" * 255, b"x" * 255),
    ],
)
async def test_a_campaign_s_id_is_one_segment_of_the_path_whatever_it_is(id_: str, segment: bytes) -> None:
    async with connected() as parts:
        await parts.client.push(id_, "key")
    (request,) = parts.platform.requests
    assert request.url.host == "ads.invalid"
    assert request.url.raw_path == b"/api/campaigns/" + segment + b"/sync"
    assert json.loads(request.content) == {"campaign_id": id_}


async def test_each_metered_request_names_the_client_id() -> None:
    async with connected(httpx.Response(503), httpx.Response(401), client_id="globex") as parts:
        await parts.client.page(1)
        await parts.client.push("cmp-1", "key")
    assert [request.headers["x-client-id"] for request in parts.platform.requests] == ["globex"] * 4


@pytest.mark.parametrize(
    "cookie", [b"who=acme", b"who=acme; Domain=.invalid", "who=éÿ".encode("latin-1"), b"=;;=", b""]
)
async def test_no_cookie_is_kept_so_that_none_can_cross_tenants_or_break_later_requests(cookie: bytes) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=[(b"set-cookie", cookie)], stream=ok(request).stream)

    async with connected(answer, sign_ins=[httpx.Response(503, headers=[(b"set-cookie", cookie)])]) as parts:
        for number in (1, 2):
            await parts.client.page(number)
    sent = [*parts.platform.requests, *parts.platform.sign_ins]
    assert [request.headers.get("cookie") for request in sent] == [None] * 4


# Retries


@pytest.mark.parametrize("failures", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(
    "failure",
    [
        httpx.Response(503),
        httpx.Response(500),
        httpx.Response(408),
        httpx.Response(425),
        httpx.Response(423),
        httpx.Response(403, headers={"retry-after": "1"}),
        httpx.Response(404, headers={"retry-after": "0"}),
        httpx.Response(400, json={"retry_after": 1}),
        httpx.ConnectError("no"),
        httpx.ReadTimeout(""),
        httpx.RemoteProtocolError(""),
    ],
)
async def test_what_may_pass_is_tried_again_by_one_layer_alone(failure: Answer, failures: int) -> None:
    async with connected(*[failure] * failures) as parts:
        assert await parts.client.push("cmp-1", "key") == failures + 1
    assert len(parts.platform.requests) == failures + 1


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
async def test_it_is_given_up_after_as_many_attempts_as_the_tenant_has(max_attempts: int) -> None:
    async with connected(*[httpx.Response(503)] * 9, max_attempts=max_attempts) as parts:
        error = await parts.failed()
    assert isinstance(error, Unavailable)
    assert (error.attempts, len(parts.platform.requests)) == (max_attempts, max_attempts)
    assert (parts.tally.requests, parts.tally.retries) == (max_attempts, max_attempts - 1)


async def test_attempts_are_of_each_request_on_its_own() -> None:
    async with connected(*[httpx.Response(503)] * 4) as parts:
        await parts.client.page(1)
        parts.platform.script.extend([httpx.Response(503)] * 4)
        await parts.client.page(2)


async def test_waits_between_attempts_grow_to_a_bound() -> None:
    async with connected(*[httpx.Response(503)] * 9, max_attempts=10) as parts:
        await parts.client.push("cmp-1", "key")
    assert parts.platform.waits == pytest.approx([0.5, 1, 2, 4, 8, 16, 20, 20, 20])
    assert set(parts.tally.failures) == {"the platform answered 503"}


async def test_a_503_s_own_wait_is_the_least_that_is_waited() -> None:
    stated = [
        httpx.Response(503, headers={"retry-after": "30"}),
        httpx.Response(503, json={"retry_after": 40}),
        httpx.Response(503, headers={"retry-after": "86400"}),
        httpx.Response(503, headers={"retry-after": "-5"}),
    ]
    async with connected(*stated) as parts:
        await parts.client.push("cmp-1", "key")
    assert parts.platform.waits == pytest.approx([30.5, 41, 302, 4])


async def test_a_push_keeps_its_idempotency_key_and_its_body_in_all_attempts() -> None:
    answers: list[Answer] = [
        httpx.Response(503),
        httpx.ReadTimeout(""),
        httpx.Response(401),
        httpx.Response(429),
        httpx.Response(409),
    ]
    async with connected(*answers, max_attempts=9) as parts:
        await parts.client.push("cmp-1", "key-1")
    assert len(parts.platform.requests) == 6
    assert {request.headers["idempotency-key"] for request in parts.platform.requests} == {"key-1"}
    assert {request.content for request in parts.platform.requests} == {b'{"campaign_id":"cmp-1"}'}


async def test_a_429_costs_no_attempt_however_many_there_are() -> None:
    refusals = [httpx.Response(429, headers={"retry-after": "30"})] * 20
    async with connected(*refusals, httpx.Response(503), max_attempts=2) as parts:
        assert await parts.client.push("cmp-1", "key") == 2
    assert parts.platform.waits[:20] == pytest.approx([30] * 20)
    assert (parts.tally.requests, parts.tally.retries, parts.tally.refused) == (22, 21, 20)


async def test_a_429_that_outlasts_the_run_ends_it_at_once() -> None:
    async with connected(httpx.Response(429, json={"retry_after": 315360000})) as parts:
        start = anyio.current_time()
        with anyio.fail_after(1800):
            assert isinstance(await parts.failed(), WaitTooLong)
        assert anyio.current_time() == start


IN_PROGRESS = httpx.Response(409, json={"error": "request_in_progress"})


@pytest.mark.parametrize("first", [httpx.ReadTimeout(""), httpx.Response(504), httpx.RemoteProtocolError("")])
async def test_a_409_to_a_retry_means_that_the_first_may_be_in_progress_so_that_it_is_asked_again(
    first: Answer,
) -> None:
    async with connected(first, IN_PROGRESS, IN_PROGRESS) as parts:
        assert await parts.client.push("cmp-1", "key") == 4
    assert parts.platform.waits == pytest.approx([0.5, 10 + 1, 10 + 2])  # sync.timeout, and the backoff
    assert (
        parts.tally.failures[-1] == "the platform answered 409 to a push that may be in progress: request_in_progress"
    )


async def test_a_409_to_what_was_tried_before_this_run_of_the_process_is_asked_again_when_the_platform_says() -> None:
    later = httpx.Response(409, headers={"retry-after": "3"})
    async with connected(IN_PROGRESS, later, IN_PROGRESS, max_attempts=3) as parts:
        with pytest.raises(Unavailable):
            await parts.client.push("cmp-1", "key", again=True)
    assert parts.platform.waits == pytest.approx([10 + 0.5, 3 + 1])


async def test_a_409_to_a_first_push_is_a_refusal() -> None:
    async with connected(IN_PROGRESS) as parts:
        assert isinstance(await parts.failed(), Rejected)


@pytest.mark.parametrize("status", [400, 402, 403, 404, 410, 422, 451])
async def test_what_a_retry_would_not_fix_is_sent_once(status: int) -> None:
    async with connected(httpx.Response(503), httpx.Response(status)) as parts:
        error = await parts.failed()
    assert isinstance(error, Rejected)
    assert (error.status, error.attempts, len(parts.platform.requests)) == (status, 2, 2)


@pytest.mark.parametrize(
    "answer",
    [
        *(httpx.Response(status) for status in (200, 201, 202, 204, 299)),
        httpx.Response(200, content=b" \r\n"),
        httpx.Response(200, json={"success": True, "campaign_id": "cmp-1"}),
        httpx.Response(202, json={"status": "queued"}),
    ],
)
async def test_a_push_that_is_answered_2xx_is_a_success_unless_the_body_says_otherwise(answer: httpx.Response) -> None:
    async with connected(answer) as parts:
        assert await parts.client.push("cmp-1", "key") == 1
    assert len(parts.platform.requests) == 1


class Breaks(httpx.AsyncByteStream):
    """A body that breaks off, or never comes."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"success": tr'
        if self.error is not None:
            raise self.error
        await anyio.sleep_forever()


def away(status: int, location: str = "http://elsewhere.invalid/") -> httpx.Response:
    return httpx.Response(status, headers={"location": location})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(200, json={"success": False, "message": "over budget"}), "no success: over budget"),
        (httpx.Response(200, json={"success": True, "campaign_id": "cmp-2"}), "the receipt of another campaign"),
        (httpx.Response(200, json={"error": {"message": "over budget"}}), "it tells of an error: over budget"),
        (httpx.Response(201, json=["cmp-1"]), "the platform answered 201 to the push, but its JSON is no object"),
        (httpx.Response(200, html="<h1>Sign in</h1>"), "it can't be read: "),
        (httpx.Response(200, content=b'{"success": tr'), "not JSON, or only a part of it"),
        (httpx.Response(200, content=b"[" * 60_000), "not JSON, or only a part of it"),
        (httpx.Response(200, content=b'{"success": true, "x": ' + b"9" * 5000 + b"}"), "not JSON"),
        (httpx.Response(200, content=b"x" * 70_000), "larger than 64 KiB"),
        (httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Breaks(None)), "compressed"),
        (httpx.Response(200, stream=Breaks(httpx.ReadError(""))), "the connection to ads.invalid broke (ReadError)"),
        (httpx.Response(200, stream=Breaks(httpx.RemoteProtocolError(""))), "broke the HTTP protocol"),
        (httpx.Response(200, stream=Breaks(None)), "did not answer within 10 s"),
        (httpx.Response(304), "the platform answered 304 to the push, which its API does not know"),
        (httpx.Response(300), "which its API does not know"),
        *((away(status), "a redirect to elsewhere.invalid") for status in (301, 302, 303, 307, 308)),
        (away(302, "http://[::"), "a redirect to nowhere"),
    ],
)
async def test_a_push_that_may_have_taken_effect_is_not_repeated_and_no_success_without_evidence(
    answer: httpx.Response, said: str
) -> None:
    async with connected(answer) as parts:
        error = await parts.failed()
    assert isinstance(error, Unconfirmed)
    assert said in str(error)
    assert (error.attempts, len(parts.platform.requests)) == (1, 1)


@pytest.mark.parametrize("answer", [httpx.Response(300), httpx.Response(304), httpx.Response(200, html="<p>")])
async def test_a_page_that_is_answered_as_the_api_does_not_have_it_is_asked_for_again(answer: httpx.Response) -> None:
    async with connected(*[answer] * 4) as parts:
        await parts.client.page(1)
    assert len(parts.platform.requests) == 5


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed_and_takes_no_token_along(status: int) -> None:
    async with connected(*[away(status)] * 5) as parts:
        with pytest.raises(BadAnswer, match=r"redirect to elsewhere\.invalid, which is not followed"):
            await parts.client.page(1)
    assert {request.url.host for request in parts.platform.requests} == {"ads.invalid"}


@pytest.mark.parametrize("location", ["http://[::", "http://xn--zzzzzzzzzz/", "//", "http://a:b/"])
async def test_a_redirect_to_nonsense_is_a_bad_answer_like_any(location: str) -> None:
    async with connected(*[away(302, location)] * 5) as parts:
        with pytest.raises(BadAnswer):
            await parts.client.page(1)


# Tokens


async def test_a_401_takes_one_more_token_and_one_more_try_and_no_attempt() -> None:
    async with connected(httpx.Response(401)) as parts:
        assert await parts.client.push("cmp-1", "key") == 1
    assert [request.headers["authorization"] for request in parts.platform.requests] == [
        "Bearer canary-token-1",
        "Bearer canary-token-2",
    ]
    assert (len(parts.platform.sign_ins), parts.tally.requests, parts.tally.retries) == (2, 2, 1)


def unauthorized(*campaigns: str) -> Callable[[httpx.Request], httpx.Response]:
    """Answer 401 to the pushes of these campaigns, whatever the token."""
    return lambda request: httpx.Response(401) if request.url.path.split("/")[-2] in campaigns else ok(request)


async def test_a_401_to_a_fresh_token_is_the_campaign_s_own_failure() -> None:
    async with connected(*[httpx.Response(401)] * 99, max_attempts=3) as parts:
        error = await parts.failed()
    assert isinstance(error, Unauthorized)
    assert (error.attempts, len(parts.platform.requests), len(parts.platform.sign_ins)) == (1, 2, 2)


async def test_a_token_that_expires_in_flight_twice_is_no_failure_of_the_campaign() -> None:
    async with connected() as parts:
        parts.platform.token_life_s = 3.0

        def stalls(_request: httpx.Request) -> httpx.Response | None:
            parts.platform.takes_s = 4.0 if len(parts.platform.requests) < 2 else 0.0
            return None

        parts.platform.script.extend([stalls] * 3)
        await parts.client.page(1)
        parts.platform.takes_s = 4.0
        parts.platform.requests.clear()
        assert await parts.client.push("cmp-1", "key") == 2
    assert len(parts.platform.requests) == 3


async def test_a_listing_that_is_answered_401_is_tried_again_and_signs_in_again_but_once() -> None:
    async with connected(*[httpx.Response(401)] * 99, max_attempts=3) as parts:
        with pytest.raises(Unauthorized) as error:
            await parts.client.page(1)
    assert (error.value.attempts, len(parts.platform.requests), len(parts.platform.sign_ins)) == (3, 4, 2)


@pytest.mark.parametrize("at_once", [1, 5])
@pytest.mark.parametrize("odd", [1, 5, 30])
async def test_campaigns_that_are_always_answered_401_cost_few_sign_ins_and_no_other_campaign(
    odd: int, at_once: int
) -> None:
    refused = [f"cmp-{number}" for number in range(0, 2 * odd, 2)]
    async with connected(*[unauthorized(*refused)] * 999) as parts:
        parts.platform.takes_s = 0.5
        failed: list[str] = []
        slots = anyio.CapacityLimiter(at_once)

        async def push(campaign_id: str) -> None:
            async with slots:
                try:
                    await parts.client.push(campaign_id, "key")
                except Unauthorized:
                    failed.append(campaign_id)

        async with anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(push, f"cmp-{number}")
    assert sorted(failed) == sorted(refused)
    assert len(parts.platform.sign_ins) <= 1 + min(odd, 6)  # three a minute
    assert len(parts.platform.requests) <= 60 + 2 * odd


@pytest.mark.parametrize("at_once", [1, 5])
@pytest.mark.parametrize("revoked_after", [3, 4, 7, 20])
async def test_a_token_that_is_really_revoked_is_replaced_though_a_refresh_was_in_vain_just_now(
    at_once: int, revoked_after: int
) -> None:
    def answer(request: httpx.Request) -> httpx.Response | None:
        if len(parts.platform.requests) == revoked_after:
            parts.platform.revoke_all()
        return httpx.Response(401) if "/odd/" in request.url.path else None

    async with connected(*[answer] * 999) as parts:
        parts.platform.takes_s = 0.5
        failed: list[str] = []
        slots = anyio.CapacityLimiter(at_once)

        async def push(campaign_id: str) -> None:
            async with slots:
                try:
                    await parts.client.push(campaign_id, "key")
                except Unauthorized:
                    failed.append(campaign_id)

        async with anyio.create_task_group() as tasks:
            for campaign_id in ("odd", *map(str, range(30))):
                tasks.start_soon(push, campaign_id)
    assert failed == ["odd"]
    assert len(parts.platform.sign_ins) <= 3


async def test_a_token_that_is_refused_to_many_at_once_is_replaced_once() -> None:
    async with connected() as parts:
        await parts.client.page(1)
        parts.platform.takes_s = 1
        parts.platform.script.extend([httpx.Response(401)] * 5)
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(parts.client.push, f"cmp-{number}", "key")
    assert len(parts.platform.sign_ins) == 2


async def test_a_token_is_taken_when_the_turn_has_come_so_that_a_short_one_outlives_the_wait_for_quota() -> None:
    async with connected(quota=Quota(1, timedelta(seconds=60))) as parts:
        parts.platform.token_life_s = 30
        for number in range(1, 6):
            await parts.client.page(number)
    assert len(parts.platform.requests) == 5  # none of them a 401


async def test_a_request_for_which_there_is_no_token_takes_nothing_of_the_quota() -> None:
    quota = Quota(1, timedelta(seconds=60))
    async with connected(sign_ins=(httpx.Response(503), httpx.Response(503)), quota=quota) as parts:
        start = anyio.current_time()
        await parts.client.page(1)
        assert anyio.current_time() - start == 1.5  # two waits, none of them for quota
        await parts.client.page(2)
        assert anyio.current_time() - start == pytest.approx(1.5 + cools_for(quota))
    assert (parts.tally.requests, parts.tally.retries) == (2, 0)


async def test_an_attempt_after_a_failure_takes_the_token_of_that_moment() -> None:
    async with connected(httpx.Response(503, headers={"retry-after": "300"})) as parts:
        parts.platform.token_life_s = 100
        await parts.client.page(1)
    assert [request.headers["authorization"][-1] for request in parts.platform.requests] == ["1", "2"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_sign_in_that_is_refused_is_no_refusal_of_the_campaign_and_shows_no_words_about_the_password(
    status: int,
) -> None:
    refusal = httpx.Response(status, json={"error": "bad", "message": f"{PASSWORD} is wrong"})
    async with connected(sign_ins=(refusal,)) as parts:
        error = await parts.failed()
    assert isinstance(error, SignInRefused)
    assert PASSWORD not in str(error)
    assert "bad" not in str(error)
    assert (error.attempts, len(parts.platform.sign_ins), len(parts.platform.requests)) == (1, 1, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 500])
async def test_a_refused_sign_in_is_told_in_the_platform_s_words(status: int) -> None:
    refusal = httpx.Response(status, json={"error": "locked", "message": "too many attempts"})
    async with connected(sign_ins=[refusal], max_attempts=1) as parts:
        assert ": locked too many attempts" in str(await parts.failed())


@pytest.mark.parametrize(
    "failure", [httpx.Response(503), httpx.Response(200, text="<html>"), httpx.ReadTimeout(""), httpx.ConnectError("")]
)
async def test_a_sign_in_that_fails_for_now_is_tried_again_in_the_attempts_of_the_request(failure: Answer) -> None:
    async with connected(sign_ins=(failure,) * 2) as parts:
        assert await parts.client.push("cmp-1", "key") == 3
    assert (len(parts.platform.sign_ins), len(parts.platform.requests)) == (3, 1)


async def test_a_429_to_a_sign_in_is_waited_out_and_does_cost_an_attempt() -> None:
    refusals = [httpx.Response(429, headers={"retry-after": "60"})] * 99
    async with connected(sign_ins=refusals) as parts:
        start = anyio.current_time()
        error = await parts.failed()
        assert anyio.current_time() - start == pytest.approx(4 * 60 + 0.5 + 1 + 2 + 4)
    assert isinstance(error, Unavailable)
    assert (len(parts.platform.sign_ins), parts.tally.refused) == (5, 0)


async def test_a_sign_in_is_not_redirected_with_the_password() -> None:
    async with connected(sign_ins=(away(307),) * 5) as parts:
        assert isinstance(await parts.failed(), BadAnswer)
    assert {request.url.host for request in parts.platform.sign_ins} == {"ads.invalid"}


async def test_credentials_that_are_not_there_end_it_and_those_that_may_come_back_are_waited_for() -> None:
    async with connected() as parts:
        parts.platform.credentials_failure = CredentialsMissing("nothing there")
        with pytest.raises(CredentialsMissing):
            await parts.client.page(1)
        start = anyio.current_time()
        parts.platform.credentials_failure = CredentialsUnavailable("sealed")
        with pytest.raises(CredentialsUnavailable):
            await parts.client.page(1)
        assert anyio.current_time() - start == pytest.approx(0.5 + 1 + 2 + 4)
    assert parts.platform.requests == []


# Words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "Unprocessable", "message": "no such budget", "trace": "x"}', ": Unprocessable no such budget"),
        (b'{"message": "no such budget"}', ": no such budget"),
        (b'{"error": 7, "message": ["a"]}', ""),
        (b'{"error": {"message": "no such budget", "code": 100}}', ": no such budget"),
        (b'{"errors": [{"title": "Forbidden", "detail": "no such budget"}]}', ": Forbidden no such budget"),
        (b'{"error": "two\\nlines"}', ": two lines"),
        (b'{"error": "\\u001b[31mred\\u001b]52;c;aGk=\\u0007"}', ": red"),
        (b'{"error": "\\u202egnol"}', ": gnol"),
        (b'{"error": ""}', ""),
        (b'["error"]', ""),
        (b"<html>", ""),
        (b"\xff\xfe", ""),
        (b"", ""),
        (b"[" * 200_000, ""),
        (b'{"error": ' + b"[" * 200_000, ""),
        (b'{"error": ' + b"9" * 5000 + b"}", ""),
        (json.dumps({"error": "x" * 5000}).encode(), ": " + "x" * 200),
    ],
)
@pytest.mark.parametrize("status", [422, 500, 503])
async def test_a_refusal_is_told_in_the_platform_s_words_if_they_can_be_shown(
    status: int, body: bytes, words: str
) -> None:
    async with connected(httpx.Response(status, content=body), max_attempts=1) as parts:
        assert str(await parts.failed()) == f"the platform answered {status}{words}"


async def test_a_refusal_in_plain_text_is_told_in_its_words_and_a_page_of_a_proxy_is_not() -> None:
    plain = httpx.Response(503, text="upstream connect error\r\n")
    page = httpx.Response(503, html="<h1>upstream connect error</h1>")
    async with connected(plain, page, max_attempts=1) as parts:
        assert str(await parts.failed()) == "the platform answered 503: upstream connect error"
        assert str(await parts.failed()) == "the platform answered 503"


async def test_the_body_of_a_refusal_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def counting(body: bytes) -> object:
        parsed.append(body)
        return wire.parse(body)

    monkeypatch.setattr(transport, "parse", counting)
    body = b'{"error": "x", "retry_after": 12}'
    async with connected(httpx.Response(503, content=body), max_attempts=1) as parts:
        await parts.failed()
    assert parsed.count(body) == 1


BASIC = base64.b64encode(f"acme@example.com:{PASSWORD}".encode()).decode()


@pytest.mark.parametrize("status", [400, 403, 422, 500, 503])
@pytest.mark.parametrize(
    "echo",
    [
        "canary-token-1",
        "Bearer canary-token-1",
        "CANARY-TOKEN-1 is not valid",
        "canary-token-...",
        "the token that ends in -token-1",
        "x" * 190 + "canary-token-1",
        f"{PASSWORD} has expired",
        BASIC,
        f"Basic {BASIC[3:20]}...",
        base64.b64encode(f"?{PASSWORD}".encode()).decode(),
        PASSWORD.encode().hex(),
    ],
)
async def test_words_that_repeat_a_secret_or_a_piece_of_one_are_not_repeated(status: int, echo: str) -> None:
    async with connected(
        lambda _: httpx.Response(status, json={"error": "Forbidden", "message": echo}), max_attempts=1
    ) as parts:
        error = await parts.failed()
    assert str(error) == f"the platform answered {status}"


@pytest.mark.parametrize("echo", ["canary-token-1", "canary-token-2"])
async def test_words_that_repeat_the_token_before_or_after_a_second_try_are_not_repeated(echo: str) -> None:
    async with connected(httpx.Response(401), httpx.Response(403, json={"error": echo})) as parts:
        assert str(await parts.failed()) == "the platform answered 403"


async def test_words_that_repeat_a_password_from_before_its_rotation_are_not_repeated() -> None:
    async with connected() as parts:
        await parts.client.page(1)
        parts.platform.password = "the-new-one"
        parts.platform.script.extend([httpx.Response(401), httpx.Response(403, json={"error": f"not {PASSWORD}"})])
        assert str(await parts.failed()) == "the platform answered 403"


async def test_a_redirect_and_a_401_repeat_no_secret() -> None:
    refusal = httpx.Response(401, json={"error": "revoked", "message": "canary-token-1"})
    async with connected(away(302, f"https://{PASSWORD}.invalid/"), refusal, refusal, max_attempts=1) as parts:
        assert str(await parts.failed()).startswith("the platform answered 302, a redirect to another host")
        assert str(await parts.failed()) == "the platform answered 401 to a token that it had just issued"


# The retry budget


async def test_retries_in_vain_wait_when_their_budget_is_used_up_and_that_costs_no_attempt() -> None:
    async with connected(quota=MUCH) as parts:
        took = []
        for _ in range(20):
            parts.platform.script.extend([httpx.Response(503)] * 5)
            start = anyio.current_time()
            assert (await parts.failed()).attempts == 5
            took.append(anyio.current_time() - start)
            await parts.client.page(1)  # the platform is well, but for these
        assert set(took[:5]) == {0.5 + 1 + 2 + 4}
        assert took[-5:] == pytest.approx([40] * 5, abs=3)  # four retries, of which one comes back each ten seconds
        assert parts.tally.reasons.count(WaitReason.BACKOFF) == 80
        assert parts.tally.reasons.count(WaitReason.RETRY_BUDGET) >= 20


async def test_what_waits_for_its_budget_says_so_and_ends_at_a_stop() -> None:
    async with connected(quota=MUCH) as parts:
        for _ in range(12):
            parts.platform.script.extend([httpx.Response(503)] * 5)
            await parts.failed()
            await parts.client.page(1)
        parts.platform.script.extend([httpx.Response(503)] * 5)

        async def push() -> None:
            with pytest.raises(Stopping):
                await parts.client.push("cmp-1", "key")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(push)
            await anyio.sleep(3)
            assert [wait.reason for wait in parts.tally.waits.values()] == [WaitReason.RETRY_BUDGET]
            stopped_at = anyio.current_time()
            parts.stop()
        assert anyio.current_time() == stopped_at


async def test_a_tenant_of_a_platform_as_flaky_as_ours_never_waits_for_its_budget() -> None:
    random = Random(5)
    async with connected(quota=Quota(100_000, timedelta(seconds=60))) as parts:
        for number in range(1000):
            failures = next(count for count in range(5) if count == 4 or random.random() >= 0.3)
            parts.platform.script.extend(
                httpx.Response(503) if random.random() < 2 / 3 else httpx.ReadTimeout("") for _ in range(failures)
            )
            await parts.client.page(number + 1)
        assert set(parts.tally.reasons) == {WaitReason.BACKOFF}
        assert parts.tally.retries > 300


# Ends


async def test_stopping_ends_all_that_waits_for_quota_at_once() -> None:
    async with connected(quota=Quota(1, timedelta(seconds=60))) as parts:
        await parts.client.page(1)
        start = anyio.current_time()

        async def push() -> None:
            with pytest.raises(Stopping):
                await parts.client.push("cmp-1", "key")

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(push)
            await anyio.sleep(1)
            parts.stop()
        assert anyio.current_time() - start == 1
    assert len(parts.platform.requests) == 1


async def test_after_stopping_no_attempt_follows_one_that_failed() -> None:
    async with connected(httpx.Response(503)) as parts:
        parts.platform.takes_s = 1
        async with anyio.create_task_group() as tasks:

            async def push() -> None:
                with pytest.raises(Stopping):
                    await parts.client.push("cmp-1", "key")

            tasks.start_soon(push)
            await anyio.sleep(1.5)
            parts.stop()
    assert len(parts.platform.requests) == 1


async def test_a_client_that_is_cancelled_leaves_its_session_good_for_the_next() -> None:
    async with connected() as parts:
        parts.platform.takes_s = 1
        with anyio.move_on_after(0.5):
            await parts.client.page(1)
        with anyio.move_on_after(1.5):
            await parts.client.page(1)
        await parts.client.page(1)
    assert len(parts.platform.sign_ins) == 1
