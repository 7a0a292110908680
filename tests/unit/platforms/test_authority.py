from collections.abc import Callable, Iterable
from datetime import timedelta

import anyio
import httpx
import pytest

from adsyncd.errors import (
    BadAnswer,
    CredentialsMissing,
    CredentialsUnavailable,
    SignInRefused,
    Stopping,
    Unauthorized,
    Unavailable,
)
from adsyncd.rate.bucket import cools_for
from adsyncd.rate.quota import Quota
from adsyncd.rate.wait import WaitReason
from support.scripted import PASSWORD, Answer, Parts, away, connected, ok


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


async def failures(parts: Parts, at_once: int, campaigns: Iterable[str]) -> list[str]:
    """Push campaigns, so many at once, and return those to which the answer stayed 401."""
    failed, slots = list[str](), anyio.CapacityLimiter(at_once)

    async def push(campaign_id: str) -> None:
        async with slots:
            try:
                await parts.client.push(campaign_id, "key")
            except Unauthorized:
                failed.append(campaign_id)

    async with anyio.create_task_group() as tasks:
        for campaign_id in campaigns:
            tasks.start_soon(push, campaign_id)
    return failed


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
        failed = await failures(parts, at_once, [f"cmp-{number}" for number in range(60)])
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
        failed = await failures(parts, at_once, ["odd", *map(str, range(30))])
    assert failed == ["odd"]
    assert len(parts.platform.sign_ins) <= 3


async def test_a_request_that_was_sent_before_a_401_and_accepted_after_it_does_not_vouch_for_the_token() -> None:
    async with connected(*[httpx.Response(401)] * 2) as parts:
        await parts.failed()  # a refresh in vain, after which a 401 is in doubt
        parts.platform.script.extend([httpx.Response(401), ok, httpx.Response(401)])
        async with anyio.create_task_group() as tasks:
            parts.platform.takes_s = 1.2
            tasks.start_soon(parts.client.push, "cmp-2", "key")
            await anyio.sleep(0.1)
            parts.platform.takes_s = 0.5
            assert await parts.client.push("cmp-3", "key") == 1
    assert len(parts.platform.sign_ins) == 3


async def test_a_token_is_taken_when_the_turn_has_come_so_that_a_short_one_outlives_the_wait_for_quota() -> None:
    async with connected(quota=Quota(1, timedelta(seconds=60))) as parts:
        parts.platform.token_life_s = 30
        for number in range(1, 6):
            await parts.client.page(number)
    assert len(parts.platform.requests) == 5  # none of them a 401


async def test_a_refresh_that_fails_while_a_request_waits_for_quota_does_not_end_the_wait() -> None:
    async with connected(quota=Quota(1, timedelta(seconds=60))) as parts:
        parts.platform.token_life_s = 30
        for number in (1, 2):
            await parts.client.page(number)
        up_at = anyio.current_time() + 45  # the token ends before that, the wait for quota after it
        down = httpx.Response(503)
        parts.platform.sign_in_script.extend([lambda _: down if anyio.current_time() < up_at else None] * 99)
        await parts.client.page(3)
    assert (len(parts.platform.requests), parts.tally.reasons.count(WaitReason.BACKOFF)) == (3, 0)


async def test_nobody_signs_in_once_the_gate_is_stopped() -> None:
    async with connected() as parts:
        parts.stop()
        with pytest.raises(Stopping):
            await parts.client.page(1)
    assert parts.platform.sign_ins == []


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
