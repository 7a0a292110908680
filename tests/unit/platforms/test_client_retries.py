from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from adsyncd.errors import Rejected, Stopping, Unavailable, Unconfirmed, WaitTooLong
from adsyncd.rate.wait import WaitReason
from support.scripted import MUCH, Answer, away, connected


@pytest.mark.parametrize("failures", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(
    "failure",
    [
        *(httpx.Response(status) for status in (503, 500, 408, 425, 423)),
        *(httpx.Response(status, headers={"retry-after": after}) for status, after in ((403, "1"), (404, "0"))),
        httpx.Response(400, json={"retry_after": 1}),
        *(httpx.ConnectError("no"), httpx.ReadTimeout(""), httpx.RemoteProtocolError("")),
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
    stated = [httpx.Response(503, headers={"retry-after": after}) for after in ("30", "86400", "-5")]
    async with connected(stated[0], httpx.Response(503, json={"retry_after": 40}), *stated[1:]) as parts:
        await parts.client.push("cmp-1", "key")
    assert parts.platform.waits == pytest.approx([30.5, 41, 302, 4])


async def test_a_push_keeps_its_idempotency_key_and_its_body_in_all_attempts() -> None:
    later = [httpx.Response(status) for status in (401, 429, 409)]
    async with connected(httpx.Response(503), httpx.ReadTimeout(""), *later, max_attempts=9) as parts:
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
        *(httpx.Response(200, content=b" \r\n"), httpx.Response(204), httpx.Response(202, json={"status": "queued"})),
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


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(200, json={"success": False, "message": "over budget"}), "it reports a failure: over budget"),
        (httpx.Response(201, json=["cmp-1"]), "the platform answered 201 to the push, but its JSON is not an object"),
        (httpx.Response(200, html="<h1>Sign in</h1>"), "it can't be read: "),
        (httpx.Response(200, content=b'{"success": tr'), "not JSON, or not all of it"),
        (httpx.Response(200, content=b"[" * 60_000), "not JSON, or not all of it"),
        (httpx.Response(200, content=b'{"success": true, "x": ' + b"9" * 5000 + b"}"), "not JSON"),
        (httpx.Response(200, content=b"x" * 70_000), "larger than 64 KiB"),
        (httpx.Response(200, headers={"content-encoding": "gzip"}, stream=Breaks(None)), "compressed"),
        (httpx.Response(200, stream=Breaks(httpx.ReadError(""))), "the connection to ads.invalid broke (ReadError)"),
        (httpx.Response(200, stream=Breaks(httpx.RemoteProtocolError(""))), "broke the HTTP protocol"),
        (httpx.Response(200, stream=Breaks(None)), "did not answer within 10 s"),
        (httpx.Response(304), "the platform answered 304 to the push, a status that its API does not have"),
        (httpx.Response(300), "a status that its API does not have"),
        *((away(status), "a redirect to elsewhere.invalid") for status in (301, 302, 303, 307, 308)),
        (away(302, "http://[::"), "a redirect to an invalid address"),
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
            assert [wait.reason for wait in parts.tally.ongoing.values()] == [WaitReason.RETRY_BUDGET]
            stopped_at = anyio.current_time()
            parts.stop()
        assert anyio.current_time() == stopped_at
