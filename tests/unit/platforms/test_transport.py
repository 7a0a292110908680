import ssl
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import anyio
import httpx
import pytest
from pydantic import SecretStr

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import BadAnswer, StoreError, Throttled, Unavailable, Unconfirmed
from adsyncd.platforms.call import Call, Kind
from adsyncd.rate.ledger import Claim, PermitRecord
from support.gates import MemoryLedger
from support.governed import MIB, PLATFORM, TIMEOUT_S, Body, Handler, Parts, answering, raising
from support.metrics import Metrics


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
        *(answering(200), answering(503), answering(200, after_s=1e6)),
        *(raising(timeout) for timeout in (httpx.ReadTimeout(""), httpx.WriteTimeout(""))),
        *(raising(error) for error in (httpx.WriteError(""), httpx.ReadError(""), httpx.RemoteProtocolError(""))),
        *(raising(ssl.SSLError(1, "bad record")), raising(ZeroDivisionError())),
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


async def test_requests_retries_and_refusals_are_counted_as_they_leave() -> None:
    metrics = Metrics()
    parts = Parts(answering(503), instruments=metrics.instruments)
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
    points = {
        (metric["name"], *(value for _, value in sorted(point["attributes"].items()))): point["value"]
        for metric in metrics.exported()
        for point in metric["data"].get("data_points", [])
    }
    assert points == {
        ("adsyncd.requests", "200", "acme"): 2,
        ("adsyncd.requests", "429", "acme"): 1,
        ("adsyncd.requests", "503", "acme"): 1,
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


async def test_a_retry_that_is_not_fully_written_cools_from_its_own_end() -> None:
    async def written(request: httpx.Request) -> httpx.Response:
        await request.extensions["trace"]("http11.send_request_body.complete", {})
        return httpx.Response(503)

    parts, call = Parts(written, permits=1, arrival_bound=timedelta(seconds=1)), Call(Kind.PUSH)
    await parts.ask(call)
    parts.handler = raising(httpx.WriteError(""), after_s=5)
    with pytest.raises(Unavailable):
        await parts.ask(call)
    failed_at, parts.handler = parts.now, answering(200)
    await parts.send()
    assert parts.sent_at[-1] == pytest.approx(failed_at + parts.cools_for)


async def test_a_permit_that_another_process_has_taken_meanwhile_is_waited_for_again() -> None:
    ledger = MemoryLedger()
    one, other = Parts(permits=1, ledger=ledger), Parts(permits=1, ledger=ledger)
    other.gate.account._owner = "another process"
    await one.send()
    await other.send()
    assert other.sent_at == [pytest.approx(one.cools_for)]


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


async def test_a_page_may_be_larger_if_the_platform_decides_how_much_is_on_it() -> None:
    parts = Parts(
        answering(200, stream=Body(*[b"x" * MIB] * 8)),
        platform=replace(PLATFORM, profile=shipped_profile("google-ads")),
    )
    assert len((await parts.send()).content) == 8 * MIB
    parts.handler = answering(200, stream=Body(*[b"x" * MIB] * 8, b"y"))
    with pytest.raises(BadAnswer, match=r"larger than 8 MiB$"):
        await parts.send()


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
        *((Kind.LISTING, 400), (Kind.LISTING, 404), (Kind.LISTING, 500), (Kind.SIGN_IN, 200)),
        *((Kind.PUSH, 200), (Kind.PUSH, 422), (Kind.PUSH, 503)),
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
        (
            httpx.RemoteProtocolError("secret"),
            "ads.invalid broke the HTTP protocol or closed the connection before it answered",
        ),
        (ssl.SSLError(1, "secret"), "ads.invalid broke the HTTP protocol or closed the connection before it answered"),
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
        ("/login", "the same host"),
        ("//elsewhere.invalid", "elsewhere.invalid"),
        ("http://[::nowhere", "an invalid address"),
        ("//", "the same host"),
        ("http://elsewhere.invalid:port/", "an invalid address"),
        ("http://xn--zzzzzzzzzz/", "xn--zzzzzzzzzz"),
        ("http://token-4711-secret.invalid/", "another host"),
        ("", "the same host"),
    ],
)
async def test_a_redirect_is_refused_wherever_it_leads(location: str, target: str) -> None:
    parts = Parts(answering(307, headers={"location": location}))
    parts.secrets.learn(SecretStr("Token-4711-secret"))
    with pytest.raises(BadAnswer) as refused:
        await parts.send()
    assert str(refused.value) == f"the platform answered 307, a redirect to {target}, which is not followed"
    assert len(parts.sent_at) == 1


# Requests that the platform does not meter


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
