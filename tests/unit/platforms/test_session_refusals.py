"""What a session makes of a 401, and of credentials that are refused, rotated or gone."""

import anyio
import pytest

from adsyncd.errors import AdsyncdError, CredentialsMissing, CredentialsUnavailable, SignInRefused, Unavailable
from adsyncd.platforms.session import Refusal, Token
from support.sessions import LIFE_S, Parts, outcomes


async def test_a_refused_token_is_replaced_once_for_all_whom_it_failed(parts: Parts, first: Token) -> None:
    got: list[Token] = []

    async def refused(after_s: float) -> None:
        await anyio.sleep(after_s)
        got.append(await parts.replace(first))

    async with anyio.create_task_group() as tasks:
        for after_s in (0.0, 0.0, 0.5, 100.0):  # the last one learns of it when it is long replaced
            tasks.start_soon(refused, after_s)
    assert {token.value.get_secret_value() for token in got} == {"token-2"}
    assert parts.sign_ins == 2


async def test_a_refused_token_is_never_given_out_again_even_if_signing_in_fails(parts: Parts, first: Token) -> None:
    parts.platform.failure = Unavailable("down")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await parts.replace(first)
    with pytest.raises(Unavailable):
        await parts.token()
    parts.platform.failure = None
    assert await parts.token() is not first


async def test_a_token_refused_after_a_failed_refresh_ahead_of_its_end_is_replaced(parts: Parts, first: Token) -> None:
    await parts.to_the_end_of(first, share=0.9)
    parts.platform.failure = Unavailable("down")
    kept = await parts.token()
    parts.platform.failure = None
    assert (await parts.replace(kept)).value != first.value


async def test_a_token_refused_during_a_failing_refresh_is_not_given_out_as_good(parts: Parts, first: Token) -> None:
    await parts.to_the_end_of(first, share=0.9)
    parts.platform.failure = Unavailable("down")

    async def refused() -> None:
        await anyio.sleep(0.5)
        with pytest.raises(Unavailable):
            await parts.replace(first)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refused)
        assert [type(got) for got in await outcomes(parts, 3)] == [Unavailable] * 3


# Credentials that are refused, rotated or gone


async def test_after_a_401_rotated_credentials_are_read_before_old_ones_are_tried(parts: Parts, first: Token) -> None:
    parts.platform.password = parts.source.password = "new"
    second = await parts.replace(first)
    assert second.expires_at == anyio.current_time() - 1 + LIFE_S  # its sign-in took a second
    assert parts.platform.asked == ["old", "new"]
    assert parts.source.reads == 2


async def test_refused_credentials_are_not_sent_again_until_they_are_rotated(parts: Parts, first: Token) -> None:
    parts.platform.password = "new"
    with pytest.raises(SignInRefused):
        await parts.replace(first)
    assert (parts.platform.asked, parts.source.reads) == (["old", "old"], 2)
    parts.source.password = "new"
    await parts.token()
    assert parts.platform.asked == ["old", "old", "new"]


@pytest.mark.parametrize(("password", "asked"), [("old", ["old", "old"]), ("new", ["old", "old", "new"])])
async def test_a_refresh_that_is_refused_reads_the_password_again_and_never_sends_the_same_one_twice(
    parts: Parts, first: Token, password: str, asked: list[str]
) -> None:
    parts.platform.password, parts.source.password = "new", password
    await parts.to_the_end_of(first)
    [outcome] = await outcomes(parts, 1)
    assert (parts.platform.asked, parts.source.reads) == (asked, 2)
    if password == "old":
        assert isinstance(outcome, SignInRefused)
    else:
        assert isinstance(outcome, Token)
        assert outcome.expires_at == anyio.current_time() - 1 + LIFE_S  # from the sign-in that succeeded


async def test_credentials_just_read_and_refused_are_read_anew_the_next_time_alone(parts: Parts) -> None:
    parts.platform.password = "new"
    with pytest.raises(SignInRefused):
        await parts.token()
    assert (parts.platform.asked, parts.source.reads) == (["old"], 1)
    parts.source.password = "new"
    await parts.token()
    assert parts.platform.asked == ["old", "new"]


async def test_rotated_credentials_that_are_refused_too_end_it(parts: Parts, first: Token) -> None:
    parts.platform.password, parts.source.password = "newest", "new"
    with pytest.raises(SignInRefused):
        await parts.replace(first)
    assert parts.platform.asked == ["old", "new"]


async def test_a_new_version_that_is_seen_is_signed_in_with_at_once_and_once(parts: Parts, first: Token) -> None:
    parts.source.rotate("new")
    parts.platform.password = "new"
    got = await outcomes(parts, 6, apart_s=0.1)
    assert [token is first for token in got] == [False] * 6
    assert parts.platform.asked == ["old", "new"]
    await anyio.sleep(0.7 * LIFE_S)
    await parts.token()
    assert (parts.platform.asked, parts.source.reads) == (["old", "new"], 2)


async def test_a_token_is_not_at_hand_any_more_once_a_newer_version_of_its_credentials_is_seen(parts: Parts) -> None:
    assert parts.session.at_hand() is None
    first = await parts.token()
    assert parts.session.at_hand() is first
    parts.source.rotate("new")
    parts.platform.password = "new"
    assert parts.session.at_hand() is None
    second = await parts.token()
    assert parts.session.at_hand() is second


async def test_versions_are_looked_for_while_the_token_is_good_and_the_known_one_is_no_news(
    parts: Parts, first: Token
) -> None:
    parts.source.seen = 1
    assert await parts.token() is first
    assert parts.source.followed_until == first.expires_at


async def test_a_new_version_that_the_platform_does_not_take_yet_leaves_the_token(parts: Parts, first: Token) -> None:
    parts.source.rotate("new")
    assert [await parts.token() is first for _ in range(20)] == [True] * 20
    assert parts.platform.asked == ["old", "new"]
    parts.platform.password = "new"
    assert await parts.replace(first) is not first
    assert parts.platform.asked == ["old", "new", "new"]


async def test_a_new_version_that_can_not_be_read_just_now_is_read_with_the_next_refresh(parts: Parts) -> None:
    await parts.token()
    parts.source.rotate("new")
    parts.source.failure = CredentialsUnavailable("sealed")
    second = await parts.token()
    assert await parts.token() is second
    assert parts.platform.asked == ["old", "old"]
    parts.source.failure, parts.platform.password = None, "new"
    await parts.to_the_end_of(second, share=0.9)
    await parts.token()
    assert parts.platform.asked == ["old", "old", "new"]


async def test_credentials_that_are_gone_when_read_after_a_401_are_not_used_again(parts: Parts, first: Token) -> None:
    parts.source.failure = CredentialsMissing("deleted")
    with pytest.raises(CredentialsMissing):
        await parts.replace(first)
    assert parts.platform.asked == ["old"]


@pytest.mark.parametrize("failure", [CredentialsMissing("nothing there"), CredentialsUnavailable("sealed")])
async def test_credentials_that_can_not_be_had_are_told_as_what_they_are(parts: Parts, failure: AdsyncdError) -> None:
    parts.source.failure = failure
    assert await outcomes(parts, 4, apart_s=0.1) == [failure] * 4
    assert (parts.source.reads, parts.sign_ins) == (1, 0)


async def test_a_vault_that_is_down_keeps_nobody_from_signing_in_with_what_was_read(parts: Parts, first: Token) -> None:
    parts.source.failure = CredentialsUnavailable("sealed")
    assert await parts.replace(first) is not first


# A 401 that a new token does not help against


async def in_doubt(parts: Parts) -> Token:
    """Return a token that came after a 401 and was refused to the same request, too."""
    token = await parts.replace(await parts.token())
    parts.session.refuse_anew(token)
    return token


async def test_soon_after_a_refresh_in_vain_a_token_is_kept_that_is_good_for_others_requests(parts: Parts) -> None:
    token = await in_doubt(parts)
    assert parts.session.refuse(token, None) is Refusal.IN_DOUBT
    refused_at = anyio.current_time()
    await anyio.sleep(1)
    parts.session.accept(token, sent_at=anyio.current_time())
    assert parts.session.refuse(token, refused_at) is Refusal.OF_REQUEST
    assert await parts.token() is token


@pytest.mark.parametrize("sent_s_before", [None, 0.0, 5.0])
async def test_soon_after_a_refresh_in_vain_a_token_is_replaced_if_no_later_request_is_taken_with_it(
    parts: Parts,
    sent_s_before: float | None,
) -> None:
    token = await in_doubt(parts)
    await anyio.sleep(10)
    assert parts.session.refuse(token, None) is Refusal.IN_DOUBT
    refused_at = anyio.current_time()
    if sent_s_before is not None:  # it was under way then, and says nothing of what came after
        parts.session.accept(token, sent_at=refused_at - sent_s_before)
    assert parts.session.refuse(token, refused_at) is Refusal.OF_TOKEN
    assert parts.session.at_hand() is None


async def test_however_many_refreshes_are_in_vain_there_are_few_in_a_minute_and_then_some_again(parts: Parts) -> None:
    token = await parts.token()
    refreshed = []
    while anyio.current_time() < 3600:
        await anyio.sleep(1)
        if parts.session.refuse(token, anyio.current_time()) is Refusal.OF_TOKEN:
            token = await parts.token()
            parts.session.refuse_anew(token)
            parts.session.refuse_anew(token)  # to another request, too
            refreshed.append(anyio.current_time())
    assert len([at for at in refreshed if at < 60]) == 3
    assert 60 < len(refreshed) <= 180


async def test_a_token_is_not_taken_for_good_since_the_one_before_it_was_accepted(parts: Parts) -> None:
    parts.platform.life_s = 30.0
    token = await in_doubt(parts)
    assert parts.session.refuse(token, None) is Refusal.IN_DOUBT
    refused_at = anyio.current_time()
    await anyio.sleep(1)
    parts.session.accept(token, anyio.current_time())
    await parts.to_the_end_of(token)
    second = await parts.token()
    assert parts.session.refuse(second, refused_at) is Refusal.OF_TOKEN


async def test_a_401_a_while_after_a_refresh_in_vain_means_the_token_again(parts: Parts) -> None:
    token = await in_doubt(parts)
    await anyio.sleep(61)
    parts.session.accept(token, anyio.current_time())
    assert parts.session.refuse(token, None) is Refusal.OF_TOKEN


async def test_the_refusal_of_an_old_token_says_nothing_of_the_one_at_hand(parts: Parts, first: Token) -> None:
    second = await parts.replace(first)
    parts.session.accept(first, anyio.current_time())
    parts.session.refuse_anew(first)
    assert parts.session.refuse(first, 0.0) is Refusal.OF_TOKEN
    assert parts.session.at_hand() is second
    assert parts.session.refuse(second, None) is Refusal.OF_TOKEN
