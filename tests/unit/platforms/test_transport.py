import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from itertools import pairwise
from random import Random
from typing import Any

import anyio
import httpx
import pytest
from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

from adsyncd.errors import BadAnswer, Stopping, StoreError, Throttled, Unavailable, Unconfirmed, WaitTooLong
from adsyncd.model.run import Tally
from adsyncd.model.tenant import Platform
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.transport import GovernedTransport
from adsyncd.platforms.words import Secrets
from adsyncd.rate.breaker import Breaker
from adsyncd.rate.bucket import cools_for
from adsyncd.rate.dialect import STANDARD, Throttling
from adsyncd.rate.ledger import Claim, PermitRecord
from adsyncd.rate.quota import Quota
from adsyncd.telemetry.http_spans import CALL
from adsyncd.telemetry.instruments import Instruments
from support.gates import MemoryLedger, a_gate
from support.tenants import a_tenant
from support.virtual_time import START, VirtualClock

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


PLATFORM = Platform("mixo", "http://ads.invalid", quota=None)


class Parts:
    """A transport and all that it works with. The platform answers what `handler` does, 200 by default."""

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        permits: int = 10,
        meter: Meter | None = None,
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
        self.spans = InMemorySpanExporter()
        self.start = anyio.current_time()
        self.sent_at: list[float] = []
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.transport = GovernedTransport(
            httpx.MockTransport(self._handle),
            tenant=tenant,
            gate=self.gate,
            breaker=self.breaker,
            tally=self.tally,
            secrets=self.secrets,
            clock=clock,
            random=Random(7),
            tracer=provider.get_tracer("test"),
            instruments=Instruments(meter or NoOpMeter("test")),
        )

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.sent_at.append(self.now)
        return await self.handler(request)

    async def send(self, *, unmetered: bool = False) -> httpx.Response:
        return await self.ask(Call(Kind.SIGN_IN if unmetered else Kind.LISTING))

    async def ask(self, call: Call) -> httpx.Response:
        request = httpx.Request("GET", "http://ads.invalid/api/campaigns", extensions={CALL: call})
        return await self.transport.handle_async_request(request)

    async def refused(self) -> str:
        """Send what is answered 429, and return the error's text."""
        with pytest.raises(Throttled) as refused:
            await self.send()
        return str(refused.value)

    async def send_many(self, count: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(self.send)

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


# Permits


@pytest.mark.parametrize("error", [httpx.ConnectError("no"), httpx.ConnectTimeout(""), httpx.PoolTimeout("")])
async def test_a_request_that_never_left_gives_its_permit_back_and_counts_as_none(error: Exception) -> None:
    parts = Parts(raising(error, after_s=1), permits=1)
    with pytest.raises(Unavailable):
        await parts.send()
    assert (parts.gate.free, parts.held, parts.tally.requests) == (1, 0, 0)
    parts.handler = answering(200)
    await parts.send()
    assert parts.now == 1


@pytest.mark.parametrize(
    "handler",
    [
        answering(200),
        answering(503),
        raising(httpx.ReadTimeout("")),
        raising(httpx.WriteTimeout("")),
        raising(httpx.WriteError("")),
        raising(httpx.ReadError("")),
        raising(httpx.RemoteProtocolError("")),
        raising(ssl.SSLError(1, "bad record")),
        raising(ZeroDivisionError()),
        answering(200, after_s=1e6),
        answering(200, stream=Body(httpx.ReadError(""))),
        answering(200, stream=Body(b"x", pause_s=1e6)),
        answering(200, headers={"content-encoding": "gzip"}),
    ],
)
async def test_a_request_that_may_have_left_cools_its_permit_once_however_it_ends(handler: Handler) -> None:
    parts = Parts(handler)
    try:
        await parts.send()
    except (Unavailable, BadAnswer, ZeroDivisionError):
        assert parts.now <= TIMEOUT_S
    assert (parts.gate.free, parts.held, parts.tally.requests) == (9, 0, 1)
    await anyio.sleep(parts.cools_for + 0.001)
    assert parts.gate.free == 10


async def test_a_request_that_is_cancelled_on_its_way_cools_its_permit_from_then_on() -> None:
    parts = Parts(answering(200, after_s=5), permits=1)
    with anyio.move_on_after(3):
        await parts.send()
    assert (parts.gate.free, parts.held, parts.tally.requests) == (0, 0, 1)
    await parts.send()
    assert parts.sent_at == pytest.approx([0, 3 + parts.cools_for])


async def test_who_is_cancelled_while_waiting_takes_no_permit() -> None:
    parts = Parts(permits=1)
    await parts.send()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.send)
        await anyio.sleep(3)
        tasks.cancel_scope.cancel()
    assert (parts.held, parts.tally.requests, parts.tally.waited_s) == (0, 1, 3)
    await anyio.sleep(parts.cools_for)
    assert parts.gate.free == 1


async def test_a_permit_cools_from_the_headers_and_not_from_the_end_of_a_slow_body() -> None:
    parts = Parts(answering(200, after_s=1, stream=Body(b"slow", pause_s=8)), permits=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.send)
        await anyio.sleep(1.001)
        assert (parts.held, parts.gate.free) == (0, 0)
    assert parts.now == 9
    await parts.send()
    assert parts.sent_at == pytest.approx([0, 1 + parts.cools_for])


async def test_a_permit_that_can_not_be_put_on_record_is_given_back_and_nothing_is_sent() -> None:
    class BrokenLedger(MemoryLedger):
        async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
            raise StoreError(f"disk full: no room for {len(claims)}")

    parts = Parts(ledger=BrokenLedger())
    with pytest.raises(StoreError):
        await parts.send()
    assert (parts.gate.free, parts.sent_at) == (10, [])


# The deadline and the body


@pytest.mark.parametrize("pause_s", [0.3, 9.9, 100])
async def test_the_deadline_is_of_the_whole_request_so_that_a_slow_drip_does_not_pass_it(pause_s: float) -> None:
    body = Body(b"drip", pause_s=pause_s, endless=True)
    parts = Parts(answering(200, after_s=1, stream=body))
    with pytest.raises(Unavailable, match=r"ads.invalid did not answer within 10 s"):
        await parts.send()
    assert parts.now == TIMEOUT_S
    assert body.closed


async def test_the_deadline_does_not_count_the_wait_for_quota() -> None:
    parts = Parts(answering(200, after_s=9.9), permits=1)
    for _ in range(3):
        assert (await parts.send()).status_code == 200


async def test_a_deadline_of_the_run_is_not_taken_for_one_of_the_request() -> None:
    parts = Parts(answering(200, after_s=5))
    with anyio.move_on_after(3) as scope:
        await parts.send()
    assert scope.cancelled_caught


async def test_an_answer_comes_with_its_body_status_and_headers() -> None:
    parts = Parts(answering(418, headers={"x-about": "tea"}, stream=Body(b"short", b" and ", b"stout")))
    answer = await parts.send()
    assert (answer.status_code, answer.headers["x-about"], answer.content) == (418, "tea", b"short and stout")


async def test_a_body_of_the_bound_is_read_and_one_byte_more_is_refused() -> None:
    parts = Parts(answering(200, stream=Body(*[b"x" * MIB] * 2)))
    assert len((await parts.send()).content) == 2 * MIB
    body = Body(*[b"x" * MIB] * 2, b"y")
    parts.handler = answering(200, stream=body)
    with pytest.raises(BadAnswer, match="larger than 2 MiB"):
        await parts.send()
    assert body.closed


async def test_an_endless_body_is_left_at_the_bound() -> None:
    body = Body(b"x" * 65536, endless=True)
    parts = Parts(answering(200, stream=body))
    with pytest.raises(BadAnswer, match="larger than 2 MiB"):
        await parts.send()
    assert body.sent == 2 * MIB + 65536
    assert body.closed


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        *((Kind.LISTING, status) for status in (400, 404, 500)),
        *((Kind.PUSH, status) for status in (200, 422, 503)),
        (Kind.SIGN_IN, 200),
    ],
)
async def test_of_what_is_no_listing_only_64_kib_are_read_and_the_connection_is_given_up(
    kind: Kind, status: int
) -> None:
    body = Body(b"[" * 1024, endless=True)
    parts = Parts(answering(status, stream=body))
    if status == 200:
        error = Unconfirmed if kind is Kind.PUSH else BadAnswer
        with pytest.raises(error, match="larger than 64 KiB"):
            await parts.ask(Call(kind))
    else:
        answer = await parts.ask(Call(kind))
        assert (answer.status_code, answer.content) == (status, b"")
    assert (body.sent, body.closed) == (65 * 1024, True)


@pytest.mark.parametrize("encoding", ["", " ", "identity", "IDENTITY", " identity ", "identity, identity", "Identity,"])
async def test_an_answer_that_says_that_it_is_not_compressed_is_read(encoding: str) -> None:
    parts = Parts(answering(200, headers={"content-encoding": encoding}, stream=Body(b"plain")))
    assert (await parts.send()).content == b"plain"


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "gzip, identity", "identity, br", "x-unheard-of"])
async def test_a_compressed_answer_is_refused_unread(encoding: str) -> None:
    body = Body(b"\x1f\x8b")
    parts = Parts(answering(200, headers={"content-encoding": encoding}, stream=body))
    with pytest.raises(BadAnswer, match="compressed"):
        await parts.send()
    assert (body.sent, body.closed) == (0, True)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectError("[Errno 111] refused"), "no connection to ads.invalid: [Errno 111] refused"),
        (httpx.ConnectTimeout("secret"), "no connection to ads.invalid within 5 s"),
        (httpx.ReadTimeout("secret"), "ads.invalid did not answer within 10 s (sync.timeout)"),
        (httpx.WriteError("secret"), "the connection to ads.invalid broke (WriteError)"),
        (httpx.RemoteProtocolError("secret"), "ads.invalid broke the HTTP protocol or hung up before it answered"),
        (ssl.SSLError(1, "secret"), "ads.invalid broke the HTTP protocol or hung up before it answered"),
    ],
)
async def test_troubles_of_the_network_are_told_in_words_of_ours(error: Exception, said: str) -> None:
    parts = Parts(raising(error))
    with pytest.raises((Unavailable, BadAnswer)) as told:
        await parts.send()
    assert str(told.value) == said
    assert told.value.__cause__ is error


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://elsewhere.invalid/login?token=secret", "elsewhere.invalid"),
        ("/login", "a page of its own"),
        ("//elsewhere.invalid", "elsewhere.invalid"),
        ("http://[::nowhere", "nowhere"),
        ("http://elsewhere.invalid:port/", "nowhere"),
        ("http://xn--zzzzzzzzzz/", "xn--zzzzzzzzzz"),
        ("http://token-4711-secret.invalid/", "another host"),
        ("", "a page of its own"),
    ],
)
async def test_a_redirect_is_refused_wherever_it_leads(location: str, target: str) -> None:
    parts = Parts(answering(307, headers={"location": location}))
    parts.secrets.learn(SecretStr("Token-4711-secret"))
    with pytest.raises(BadAnswer) as refused:
        await parts.send()
    assert str(refused.value) == f"the platform answered 307, a redirect to {target}, which is not followed"
    assert len(parts.sent_at) == 1


# 429


def date(after_s: float) -> str:
    return format_datetime(VirtualClock().now() + timedelta(seconds=after_s), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"retry-after": "90"}, b""),
        ({"retry-after": "90"}, b'{"retry_after": 300}'),
        ({"retry-after": "soon"}, b'{"retry_after": 90}'),
        ({"retry-after": "-1"}, b'{"retry_after": 90.0}'),
        ({}, b'{"error": "slow down", "retry_after": 90}'),
        ({}, b'{"retry_after": "90"}'),
        ({"retry-after": "90", "content-encoding": "gzip"}, b"\x1f\x8b not for us"),
    ],
)
async def test_a_429_closes_the_gate_for_the_time_that_it_states(headers: dict[str, str], body: bytes) -> None:
    parts = Parts(answering(429, after_s=1, headers=headers, stream=Body(body)))
    assert await parts.refused() == "the platform answered 429, to be asked again in 90 s"
    parts.handler = answering(200)
    await parts.send()
    assert parts.sent_at == pytest.approx([0, 91])


@pytest.mark.parametrize("skew_s", [-86400, 0, 86400])
async def test_a_429_may_state_a_date_by_its_own_clock(skew_s: float) -> None:
    await anyio.sleep(1 - anyio.current_time() % 1)
    headers = {"date": date(skew_s), "retry-after": date(skew_s + 90)}
    parts = Parts(answering(429, headers=headers))
    await parts.refused()
    parts.handler = answering(200)
    await parts.send()
    assert parts.sent_at == pytest.approx([0, 90])


async def test_without_a_clock_of_its_own_a_date_is_taken_by_ours() -> None:
    await anyio.sleep(1 - anyio.current_time() % 1)
    parts = Parts(answering(429, headers={"retry-after": date(90)}))
    await parts.refused()
    parts.handler = answering(200)
    await parts.send()
    assert parts.sent_at == pytest.approx([0, 90])


@pytest.mark.parametrize(
    "body",
    [
        Body(httpx.ReadError("")),
        Body(b"x", pause_s=1e6),
        Body(b"x" * MIB, endless=True),
        Body(b"[" * 100_000),
        Body(b"\xff"),
    ],
)
async def test_a_429_holds_even_if_its_body_can_not_be_read(body: Body) -> None:
    parts = Parts(answering(429, headers={"retry-after": "90"}, stream=body))
    await parts.refused()
    assert parts.tally.refused == 1
    told_at, parts.handler = parts.now, answering(200)
    await parts.send()
    assert parts.sent_at == pytest.approx([0, told_at + 90])


async def test_any_other_no_holds_without_its_body_too() -> None:
    parts = Parts(answering(503, headers={"retry-after": "7"}, stream=Body(httpx.ReadError(""))))
    answer = await parts.send()
    assert (answer.status_code, answer.headers["retry-after"], answer.content) == (503, "7", b"")


async def test_a_429_stays_charged() -> None:
    parts = Parts(answering(429, headers={"retry-after": "1"}), permits=1)
    await parts.refused()
    assert (parts.gate.free, parts.held) == (0, 0)
    parts.handler = answering(200)
    await parts.send()
    assert parts.sent_at == pytest.approx([0, parts.cools_for])


async def test_429s_that_state_no_time_close_the_gate_for_longer_and_longer_up_to_about_a_minute() -> None:
    parts = Parts(answering(429), permits=1000)
    for _ in range(10):
        await parts.refused()
    waits = [after - before for before, after in pairwise(parts.sent_at)]
    for wait, doubled in zip(waits, [2, 4, 8, 16, 32, 64, 64, 64, 64], strict=True):
        assert doubled <= wait <= doubled * 1.1


async def test_an_answer_that_is_no_429_ends_the_row() -> None:
    parts = Parts(answering(429))
    for _ in range(3):
        await parts.refused()
    parts.handler = answering(200)
    await parts.send()
    parts.handler = answering(429)
    await parts.refused()
    await parts.refused()
    assert 2 <= parts.sent_at[-1] - parts.sent_at[-2] <= 2.2


async def test_a_sign_in_that_succeeds_does_not_end_the_row() -> None:
    parts = Parts(answering(429))
    for _ in range(3):
        await parts.refused()
    parts.handler = answering(200)
    await parts.send(unmetered=True)
    parts.handler = answering(429)
    await parts.refused()
    await parts.refused()
    assert 16 <= parts.sent_at[-1] - parts.sent_at[-2] <= 17.6


async def test_requests_that_are_refused_together_make_one_refusal_of_the_row() -> None:
    parts = Parts(answering(429, after_s=0.1))
    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(parts.refused)
    assert parts.tally.refused == 6
    parts.handler = answering(200)
    await parts.send()
    assert 2 <= parts.sent_at[-1] - 0.1 <= 2.2


async def test_a_thousand_429s_in_a_row_break_nothing() -> None:
    parts = Parts(answering(429), permits=5000)
    for _ in range(1100):
        await parts.refused()
    assert parts.tally.refused == 1100


@pytest.mark.parametrize("stated", ["315360000", "1e300", "9" * 400])
async def test_an_absurd_wait_is_cut_to_an_hour(stated: str) -> None:
    parts = Parts(answering(429, headers={"retry-after": stated}, json={"retry_after": 1e9}))
    assert await parts.refused() == "the platform answered 429, to be asked again in 3600 s"
    parts.handler = answering(200)
    await parts.send()
    assert parts.sent_at == pytest.approx([0, 3600])


async def test_a_wait_beyond_the_end_of_the_run_is_not_begun_by_anyone_in_the_line() -> None:
    parts = Parts(answering(429, headers={"retry-after": "315360000"}))
    told: list[str] = []

    async def request() -> None:
        with pytest.raises(WaitTooLong) as refused:
            await parts.send()
        told.append(str(refused.value))

    with anyio.fail_after(1800):
        await parts.refused()
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(request)
    assert parts.now == 0
    assert len(told) == 5
    assert all(text.startswith("the platform asks for silence for another 3600 s") for text in told)
    assert (parts.tally.waits, parts.tally.waited_s) == ({}, 0)


async def test_a_quota_that_outlasts_the_run_is_told_as_that() -> None:
    parts = Parts(permits=1)
    with anyio.fail_after(30):
        await parts.send()
        with pytest.raises(WaitTooLong, match="the quota is used up for another 60 s"):
            await parts.send()
    assert parts.now == 0


async def test_a_wait_that_ends_before_the_run_does_is_waited() -> None:
    parts = Parts(permits=1)
    with anyio.fail_after(parts.cools_for + 1):
        await parts.send()
        await parts.send()


# What the platform does not meter


async def test_what_is_not_metered_passes_a_closed_and_an_exhausted_gate_and_takes_nothing() -> None:
    parts = Parts(answering(429, headers={"retry-after": "1000"}), permits=1)
    await parts.refused()
    parts.handler = answering(200)
    await parts.send(unmetered=True)
    assert parts.sent_at == [0, 0]
    assert (parts.tally.requests, parts.tally.retries, parts.gate.free) == (1, 0, 0)


async def test_what_is_not_metered_has_the_same_deadline_and_bound() -> None:
    parts = Parts(answering(200, after_s=1e6))
    with pytest.raises(Unavailable):
        await parts.send(unmetered=True)
    parts.handler = answering(200, stream=Body(b"x" * MIB, endless=True))
    with pytest.raises(BadAnswer):
        await parts.send(unmetered=True)
    assert (parts.gate.free, parts.tally.requests) == (10, 0)


async def test_a_429_to_what_is_not_metered_does_not_close_the_gate() -> None:
    parts = Parts(answering(429, headers={"retry-after": "90"}))
    assert (await parts.send(unmetered=True)).status_code == 429
    assert (parts.tally.refused, parts.gate.limiter.opens_at(0.0)) == (0, 0.0)


async def test_a_stopped_gate_turns_waiting_requests_away_at_once_and_lets_others_finish() -> None:
    parts = Parts(answering(200, after_s=5), permits=1)
    finished, turned_away = [], []

    async def waiting() -> None:
        with pytest.raises(Stopping):
            await parts.send()
        turned_away.append(parts.now)

    async def sent() -> None:
        finished.append((await parts.send()).status_code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sent)
        await anyio.sleep(1)
        tasks.start_soon(waiting)
        tasks.start_soon(waiting)
        await anyio.sleep(1)
        parts.gate.stop()
    assert (finished, turned_away) == ([200], [2, 2])


# What is told


async def test_there_is_a_span_of_waiting_only_for_a_request_that_waited() -> None:
    parts = Parts(permits=2)
    await parts.send_many(2)
    assert parts.spans.get_finished_spans() == ()
    await parts.send()
    (span,) = parts.spans.get_finished_spans()
    assert span.name == "quota.wait"
    assert (span.start_time or 0) <= (span.end_time or 0)


async def test_the_waited_time_is_that_in_which_at_least_one_request_waited() -> None:
    parts = Parts(permits=2)
    async with anyio.create_task_group() as tasks:
        for pause_s in (0, 0, 20, 20):  # two are sent; two wait side by side
            await anyio.sleep(pause_s)
            tasks.start_soon(parts.send)
    assert parts.tally.waited_s == pytest.approx(parts.cools_for - 20)
    await anyio.sleep(1000)
    await parts.send()
    assert parts.tally.waited_s == pytest.approx(parts.cools_for - 20)
    await parts.send()
    await parts.send()
    assert parts.tally.waited_s == pytest.approx(2 * parts.cools_for - 20)


async def test_the_waited_time_grows_while_others_still_wait() -> None:
    parts = Parts(permits=1)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(parts.send)
        await anyio.sleep(parts.cools_for + 1)  # the second has left, the third waits
        assert parts.tally.waited_s == pytest.approx(parts.cools_for)
    assert parts.tally.waited_s == pytest.approx(2 * parts.cools_for)


async def test_until_when_the_run_waits_is_told_while_it_waits_and_is_known() -> None:
    parts = Parts(answering(200, after_s=5), permits=1)
    told = []
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(parts.send)
        for at in (1, 6, 61, 66, 71, 126, 131, 136):
            await anyio.sleep(at - parts.now)
            wait = parts.tally.wait(VirtualClock().now())
            until = wait and wait.until
            told.append(until and parts.now + (until - VirtualClock().now()).total_seconds())
    first, second = 5 + parts.cools_for, 10 + 2 * parts.cools_for
    assert told == [
        None,  # the permit is out with the first request
        pytest.approx(first),
        pytest.approx(first),
        None,  # out with the second, and the third waits for its answer
        pytest.approx(second),
        pytest.approx(second),
        None,
        None,
    ]


async def test_requests_retries_and_refusals_are_counted_as_they_leave() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    parts = Parts(answering(503), meter=provider.get_meter("test"))
    call = Call(Kind.LISTING)
    for handler in (
        raising(httpx.ConnectError("")),
        answering(503),
        raising(httpx.ReadError("")),
        answering(429, headers={"retry-after": "1"}),
        answering(200),
    ):
        parts.handler = handler
        try:
            await parts.ask(call)
        except (Unavailable, Throttled):
            continue
    await parts.send()
    assert (parts.tally.requests, parts.tally.retries, parts.tally.refused) == (5, 4, 1)
    assert call.sendings == 5
    data = reader.get_metrics_data()
    assert data is not None
    points = {
        (metric.name, *(value for _, value in sorted((point.attributes or {}).items()))): getattr(point, "value", None)
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
    }
    assert points == {
        ("adsyncd.requests", "2xx", "acme"): 2,
        ("adsyncd.requests", "4xx", "acme"): 1,
        ("adsyncd.requests", "5xx", "acme"): 1,
        ("adsyncd.requests", "none", "acme"): 1,
        ("adsyncd.retries", "acme"): 4,
        ("adsyncd.quota.wait", "acme"): pytest.approx(1),
    }


async def test_closing_it_closes_the_connections_beneath() -> None:
    class Inner(httpx.MockTransport):
        closed = False

        async def aclose(self) -> None:
            self.closed = True

    parts = Parts()
    parts.transport._inner = inner = Inner(parts.handler)
    async with httpx.AsyncClient(transport=parts.transport):
        assert not inner.closed
    assert inner.closed


async def test_what_an_answer_says_of_limits_holds_whether_it_is_a_success_or_not() -> None:
    for status in (200, 503, 404):
        parts = Parts(
            answering(status, headers={"ratelimit": '"default";r=2;t=30', "ratelimit-policy": '"default";q=9'})
        )
        await parts.send()
        parts.handler = answering(200)
        await parts.send_many(3)
        assert parts.sent_at == [0, 0, 0, pytest.approx(30)], status


async def test_a_platform_s_own_way_to_refuse_is_taken_for_a_429() -> None:
    dialect = replace(STANDARD, throttling=(Throttling(status=400, path="error.code", values=(17,)),))
    parts = Parts(
        answering(400, json={"error": {"code": 17}, "retry_after": 90}), platform=replace(PLATFORM, dialect=dialect)
    )
    assert await parts.refused() == "the platform answered 400, to be asked again in 90 s"
    parts.handler = answering(400, json={"error": {"code": 100}})
    assert (await parts.send()).status_code == 400
    assert parts.now == pytest.approx(90)


async def test_with_an_arrival_bound_a_permit_cools_from_when_the_request_was_written() -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        await anyio.sleep(0.5)
        await request.extensions["trace"]("http11.send_request_body.complete", {})
        await anyio.sleep(4.5)
        return httpx.Response(200)

    parts = Parts(slow, permits=1, arrival_bound=timedelta(seconds=1))
    await parts.send()
    await parts.send()
    assert parts.sent_at[1] == pytest.approx(0.5 + 1 + parts.cools_for)


async def test_a_permit_that_another_process_has_taken_meanwhile_is_waited_for_again() -> None:
    ledger = MemoryLedger()
    one, other = Parts(permits=1, ledger=ledger), Parts(permits=1, ledger=ledger)
    other.gate.account._owner = "another process"
    await one.send()
    await other.send()
    assert other.sent_at == [pytest.approx(one.cools_for)]


async def test_the_wait_s_span_says_for_what_and_until_when() -> None:
    parts = Parts(answering(200), permits=1)
    await parts.send()
    await parts.send()
    [wait] = parts.spans.get_finished_spans()
    until = (START + timedelta(seconds=parts.start + parts.cools_for)).isoformat(timespec="milliseconds")
    assert (wait.name, dict(wait.attributes or {})) == (
        "quota.wait",
        {"adsyncd.wait.reason": "quota", "adsyncd.wait.until": until},
    )


async def test_nothing_is_sent_before_the_time_that_a_failure_states_up_to_five_minutes() -> None:
    for stated, waits_s in (("90", 90), ("315360000", 300)):
        parts = Parts(answering(503, headers={"retry-after": stated}))
        await parts.send()
        parts.handler = answering(200)
        await parts.send_many(3)
        assert parts.sent_at == [0, *[pytest.approx(waits_s)] * 3]
