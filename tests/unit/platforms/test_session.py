"""A session keeps its tenant signed in: one refresh for all, ahead of the token's end."""

import math

import anyio
import pytest
from opentelemetry.trace import StatusCode
from pydantic import SecretStr
from structlog.testing import capture_logs

from adsyncd.credentials import Credentials
from adsyncd.errors import Unavailable
from adsyncd.platforms.session import Token
from support.sessions import LIFE_S, Parts, outcomes


@pytest.mark.parametrize("apart_s", [0.0, 0.1])
async def test_requests_that_need_a_token_meanwhile_share_one_sign_in(parts: Parts, apart_s: float) -> None:
    got = await outcomes(parts, 12, apart_s=apart_s)
    assert len(got) == 12
    assert {id(token) for token in got} == {id(await parts.token())}
    assert (parts.sign_ins, parts.source.reads) == (1, 1)
    assert [span.name for span in parts.spans.all()] == ["token.refresh"]


@pytest.mark.parametrize("apart_s", [0.0, 0.1])
async def test_all_who_wait_for_a_sign_in_share_its_failure(parts: Parts, apart_s: float) -> None:
    parts.platform.failure = Unavailable("down")
    got = await outcomes(parts, 12, apart_s=apart_s)
    assert got == [parts.platform.failure] * 12
    assert parts.sign_ins == 1


async def test_a_failure_is_not_shared_with_those_who_come_later(parts: Parts) -> None:
    parts.platform.failure = Unavailable("down")
    await outcomes(parts, 3)
    parts.platform.failure = None
    assert [type(got) for got in await outcomes(parts, 3)] == [Token] * 3
    assert parts.sign_ins == 2


async def test_who_comes_while_those_who_waited_still_learn_of_a_failure_asks_anew(parts: Parts) -> None:
    parts.platform.failure = Unavailable("down")
    late: list[Token] = []

    async def retries_at_once() -> None:
        with pytest.raises(Unavailable):
            await parts.token()
        parts.platform.failure = None
        late.append(await parts.token())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(retries_at_once)
        tasks.start_soon(outcomes, parts, 5)
    assert len(late) == 1
    assert parts.sign_ins == 2


async def test_a_shared_failure_does_not_grow_with_each_who_shares_it(parts: Parts) -> None:
    parts.platform.failure = failure = Unavailable("down")
    await outcomes(parts, 50)
    depth, frame = 0, failure.__traceback__
    while frame is not None:
        depth, frame = depth + 1, frame.tb_next
    assert depth < 10


async def test_when_the_one_who_signs_in_is_cancelled_another_goes_on(parts: Parts) -> None:
    got: list[Token] = []

    async def impatient() -> None:
        with anyio.move_on_after(1.2):
            await parts.token()

    async def patient() -> None:
        got.append(await parts.token())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(impatient)
        await anyio.sleep(0.1)
        for _ in range(3):
            tasks.start_soon(patient)
    assert [token.value.get_secret_value() for token in got] == ["token-2"] * 3


async def test_when_one_who_waits_is_cancelled_the_others_still_get_the_token(parts: Parts) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.token)
        await anyio.sleep(0.1)
        with anyio.move_on_after(0.7) as waited:
            await parts.token()
        assert waited.cancelled_caught
    await parts.token()
    assert parts.sign_ins == 1


@pytest.mark.parametrize("tenant_id", ["acme", "globex", "initech", "umbrella"])
async def test_a_token_is_refreshed_between_75_and_85_percent_of_its_life(tenant_id: str) -> None:
    parts = Parts(tenant_id)
    first = await parts.token()
    asked_at = first.expires_at - LIFE_S
    await anyio.sleep(asked_at + 0.7499 * LIFE_S - anyio.current_time())
    assert await parts.token() is first
    await anyio.sleep(asked_at + 0.8501 * LIFE_S - anyio.current_time())
    assert await parts.token() is not first


async def test_the_share_of_life_at_which_tokens_are_refreshed_differs_by_tenant() -> None:
    refreshed = set()
    for tenant_id in ("acme", "globex", "initech", "umbrella"):
        parts = Parts(tenant_id)
        token = await parts.token()
        refreshed.add(round((parts.session._refresh_at - token.expires_at) / LIFE_S, 4))
    assert len(refreshed) == 4


async def test_a_life_is_counted_from_the_asking_since_the_answer_may_be_slow(parts: Parts) -> None:
    start = anyio.current_time()
    token = await parts.token()
    assert token.expires_at == start + 0.5 + LIFE_S


async def test_a_token_that_is_still_good_outlives_a_failing_refresh(parts: Parts, first: Token) -> None:
    await parts.to_the_end_of(first, share=0.9)
    parts.platform.failure = Unavailable("down")
    with capture_logs() as logged:
        assert [got is first for got in await outcomes(parts, 6)] == [True] * 6
    assert parts.sign_ins == 2
    assert [entry["error"] for entry in logged] == ["down"]  # once, not six times


async def test_a_failing_refresh_is_not_tried_for_each_request(parts: Parts, first: Token) -> None:
    await parts.to_the_end_of(first, share=0.9)
    parts.platform.failure = Unavailable("down")
    while anyio.current_time() < first.expires_at - 5:
        assert await parts.token() is first
        await anyio.sleep(0.25)
    assert parts.sign_ins < 20


@pytest.mark.parametrize("left_s", [0.0, 0.5])
async def test_a_token_that_ends_before_or_during_a_failing_refresh_is_not_given_out(
    parts: Parts, first: Token, left_s: float
) -> None:
    parts.platform.failure = Unavailable("down")
    await anyio.sleep(first.expires_at - anyio.current_time() - left_s)
    with pytest.raises(Unavailable):
        await parts.token()


async def test_a_refresh_put_off_comes_back_to_its_share_of_life_once_it_succeeds(parts: Parts, first: Token) -> None:
    await parts.to_the_end_of(first, share=0.9)
    parts.platform.failure = Unavailable("down")
    await parts.token()
    parts.platform.failure = None
    await parts.to_the_end_of(first, share=0.5)
    second = await parts.token()
    await anyio.sleep(0.74 * LIFE_S)
    assert await parts.token() is second
    assert parts.sign_ins == 3


async def test_a_clock_far_ahead_means_a_new_token_and_nothing_worse(parts: Parts, first: Token) -> None:
    parts.clock.ahead_s = 1e9
    assert (parts.session.expires_in() or 0) < 0
    second = await parts.token()
    assert second is not first
    assert await parts.token() is second
    assert parts.sign_ins == 2


async def test_a_mistake_of_ours_in_a_sign_in_is_no_failure_of_the_platform_and_blocks_nobody(parts: Parts) -> None:

    async def broken(_: Credentials) -> tuple[SecretStr, float]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await parts.session.token(broken)
    assert await parts.token()


async def test_the_time_to_a_token_s_end_is_known_while_there_is_one(parts: Parts) -> None:
    assert parts.session.expires_in() is None
    await parts.token()
    await anyio.sleep(99)
    assert parts.session.expires_in() == pytest.approx(LIFE_S - 100)


# A token without a known end


async def test_a_token_without_a_known_end_is_used_until_a_401(parts: Parts) -> None:
    parts.platform.life_s = math.inf
    first = await parts.token()
    assert parts.session.expires_in() is None
    await anyio.sleep(80_000)
    assert await parts.token() is first
    assert parts.source.followed_until < anyio.current_time() + 90_000
    second = await parts.replace(first)
    assert (await parts.token() is second, parts.sign_ins) == (True, 2)


async def test_a_token_without_a_known_end_is_replaced_with_its_credentials_once_taken(parts: Parts) -> None:
    parts.platform.life_s = math.inf
    first = await parts.token()
    parts.source.rotate("new")
    assert await parts.token() is first  # the platform does not take the new password yet
    parts.platform.password = "new"
    await anyio.sleep(1000)
    assert await parts.token() is not first


@pytest.mark.parametrize("life_s", [0.001, 0.5])
async def test_a_token_that_lives_shorter_than_its_sign_in_is_good_for_a_moment(parts: Parts, life_s: float) -> None:
    parts.platform.life_s = life_s
    token = await parts.token()
    assert parts.session.at_hand() is token
    await anyio.sleep(1)
    assert parts.session.at_hand() is None


async def test_a_failed_refresh_shows_in_its_span_and_no_secret_shows_anywhere(parts: Parts, first: Token) -> None:
    parts.platform.failure = Unavailable("down")
    with pytest.raises(Unavailable):
        await parts.replace(first)
    ended = parts.spans.all()
    assert [(span.name, span.status.status_code) for span in ended] == [
        ("token.refresh", StatusCode.UNSET),
        ("token.refresh", StatusCode.ERROR),
    ]
    shown = repr(first) + repr(parts.session) + "".join(span.to_json() for span in ended)
    assert "token-1" not in shown
    assert "old" not in shown
