"""The client signs in, authorizes and judges answers as a profile says: static tokens, secrets in headers, codes."""

import json
from collections.abc import Callable
from dataclasses import replace

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from adsyncd.config.profile_file import shipped_profile
from adsyncd.credentials import Credentials
from adsyncd.errors import (
    BadAnswer,
    CredentialsUnavailable,
    PlatformError,
    ProfileMismatch,
    Rejected,
    SignInRefused,
    Unauthorized,
    Unavailable,
    Unconfirmed,
)
from adsyncd.model.profile import Answer, Means, Profile, StaticToken, TokenRequest
from adsyncd.model.tenant import Platform
from adsyncd.rate.dialect import Rule
from support.scripted import Parts, away, connected

BUILT_IN = shipped_profile()
HEADERS = (("x-account", "{account}"), ("developer-token", "dev={secret.developer}"))
THROTTLED = Rule(200, "code", (40100,))
CODED = replace(
    BUILT_IN,
    sign_in=StaticToken("access_token"),
    token_header="access-token",
    token_scheme="",
    headers=HEADERS,
    expect=Rule(None, "code", (0,)),
    answers=(
        Answer(Means.SIGN_IN, Rule(None, "code", (40105,))),
        Answer(Means.LATER, Rule(None, "code", (50000,))),
        Answer(Means.REFUSED, Rule(None, "code", (40300,))),
    ),
    dialect=replace(BUILT_IN.dialect, throttling=(THROTTLED,)),
)
CANARIES = {"access_token": "canary-access-1", "developer": "canary-developer"}


def platform(profile: Profile = CODED) -> Platform:
    return Platform("mixo", "http://ads.invalid", profile)


def coded(code: int, **more: object) -> httpx.Response:
    """Return a page, or a receipt, that has a code; the status is 200."""
    page = {"data": [], "pagination": {"total": 0, "has_more": False}}
    return httpx.Response(200, json={"code": code, **page, **more})


def holding(parts: Parts, **secrets: str) -> None:
    parts.platform.credentials = Credentials.of(CANARIES | secrets)


async def listed(parts: Parts) -> PlatformError:
    with pytest.raises(PlatformError) as error:
        await parts.client.page(1)
    assert "canary" not in str(error.value)
    return error.value


async def test_a_static_token_and_the_headers_secrets_are_sent_without_any_sign_in() -> None:
    async with connected(coded(0), coded(0), platform=platform()) as parts:
        holding(parts)
        await parts.client.page(1)
        await parts.client.push("cmp-1", "key")
    for request in parts.platform.requests:
        assert request.headers["access-token"] == "canary-access-1"
        assert (request.headers["developer-token"], request.headers["x-account"]) == ("dev=canary-developer", "acme")
        assert "authorization" not in request.headers
    assert (parts.platform.sign_ins, parts.platform.reads) == ([], 1)


@pytest.mark.parametrize("refusal", [httpx.Response(401), coded(40105), httpx.Response(403, json={"code": 40105})])
async def test_a_refused_static_token_is_read_again_and_used_if_it_has_changed(refusal: httpx.Response) -> None:
    def refused(_: httpx.Request) -> httpx.Response:
        holding(parts, access_token="canary-access-2", developer="canary-developer-2")
        return refusal

    async with connected(refused, coded(0), platform=platform()) as parts:
        holding(parts)
        await parts.client.page(1)
    sent = [
        (request.headers["access-token"], request.headers["developer-token"]) for request in parts.platform.requests
    ]
    assert sent == [("canary-access-1", "dev=canary-developer"), ("canary-access-2", "dev=canary-developer-2")]


async def test_a_refused_static_token_that_is_still_the_same_is_told_with_its_fix() -> None:
    async with connected(*[coded(40105)] * 9, platform=platform()) as parts:
        holding(parts)
        error = await listed(parts)
        assert type(error) is SignInRefused
        assert str(error) == (
            "the platform refused access_token, and the credentials hold no other; "
            "write a new one where the drop-in's credentials point"
        )
        assert (len(parts.platform.requests), parts.platform.reads) == (1, 2)


async def test_one_odd_answer_does_not_end_the_use_of_a_static_token() -> None:
    async with connected(coded(40105), coded(0), platform=platform()) as parts:
        holding(parts)
        assert type(await listed(parts)) is SignInRefused
        assert (await parts.client.page(1)).number == 1


async def test_a_refused_static_token_waits_for_credentials_that_can_t_be_read_now() -> None:
    def refused(_: httpx.Request) -> httpx.Response:
        parts.platform.credentials_failure = CredentialsUnavailable("sealed")
        return coded(40105)

    async with connected(refused, platform=platform(), max_attempts=2) as parts:
        holding(parts)
        with pytest.raises(CredentialsUnavailable):
            await parts.client.page(1)
        parts.platform.credentials_failure = None
        assert type(await listed(parts)) is SignInRefused
    assert len(parts.platform.requests) == 1


async def test_a_new_token_that_is_refused_too_fails_the_request_alone() -> None:
    sign_in = replace(CODED, sign_in=BUILT_IN.sign_in)
    async with connected(*[coded(40105)] * 2, platform=platform(sign_in)) as parts:
        parts.platform.credentials = Credentials.of(CANARIES | {"email": "canary@mail", "password": "canary-pass"})
        error = await parts.failed()
        assert type(error) is Unauthorized
        assert str(error) == "the platform answered 200 to a token that it had just issued"
        assert len(parts.platform.sign_ins) == 2


async def test_a_limit_under_the_status_200_closes_the_gate_and_costs_no_attempt() -> None:
    refusals = [coded(40100, retry_after=30)] * 7
    async with connected(*refusals, coded(0), platform=platform(), max_attempts=1) as parts:
        holding(parts)
        start = anyio.current_time()
        assert (await parts.client.page(1)).number == 1
        assert anyio.current_time() - start == pytest.approx(7 * 30)
    assert (parts.tally.refused, len(parts.platform.requests)) == (7, 8)


async def test_a_limit_that_any_status_may_have_is_seen_in_a_page() -> None:
    anywhere = replace(BUILT_IN, dialect=replace(BUILT_IN.dialect, throttling=(Rule(None, "error.code", (17,)),)))
    limited = httpx.Response(200, json={"error": {"code": 17}, "retry_after": 5})
    async with connected(limited, platform=platform(anywhere), max_attempts=1) as parts:
        assert (await parts.client.page(1)).number == 1
    assert parts.tally.refused == 1


async def test_later_is_tried_again_after_the_wait_that_it_states() -> None:
    later = coded(50000)
    later.headers["retry-after"] = "40"
    async with connected(later, coded(0), platform=platform()) as parts:
        holding(parts)
        await parts.client.page(1)
        assert parts.platform.waits == [pytest.approx(40, abs=1)]


@pytest.mark.parametrize(
    ("code", "listing", "push"),
    [(40300, Rejected, Rejected), (7, Rejected, Unconfirmed), (50000, Unavailable, Unavailable)],
)
async def test_a_code_under_the_status_200_is_no_success(
    code: int, listing: type[PlatformError], push: type[PlatformError]
) -> None:
    answers = [coded(code, message="no such account"), coded(code, message="canary-access-1 may not")]
    async with connected(*answers, platform=platform(), max_attempts=1) as parts:
        holding(parts)
        error = await listed(parts)
        assert type(error) is listing
        assert str(error).endswith(": no such account")
        error = await parts.failed()
        assert type(error) is push
        assert "canary" not in str(error)
        assert "may not" not in str(error)
    assert len(parts.platform.requests) == 2


async def test_a_page_that_rules_may_match_is_parsed_once_and_off_the_loop_if_it_is_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = [{"id": f"cmp-{number}", "name": "x" * 200} for number in range(400)]
    whole = {"code": 0, "data": records, "pagination": {"total": 400, "has_more": False}}
    parsings = list[int]()
    loads = json.JSONDecoder.decode

    def counting(self: json.JSONDecoder, text: str, *more: Callable[..., object]) -> object:
        parsings.append(len(text))
        return loads(self, text, *more)

    monkeypatch.setattr(json.JSONDecoder, "decode", counting)
    async with connected(httpx.Response(200, json=whole), platform=platform()) as parts:
        holding(parts)
        parsings.clear()
        page = await parts.client.page(1)
    assert len(page.campaigns) == 400
    assert len([size for size in parsings if size > 50_000]) == 1
    assert parts.platform.off_loop_calls == 2


# A sign-in at a hostile host

TOKENS = TokenRequest(
    "POST",
    "https://id.invalid/token",
    form=(("client_secret", "{secret.client_secret}"), ("refresh_token", "{secret.refresh_token}")),
    expires_in="expires_in",
)
OAUTH = replace(BUILT_IN, sign_in=TOKENS)
FORM_SECRETS = {"client_secret": "canary secret/é", "refresh_token": "1//canary-refresh"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (away(302), BadAnswer),
        (away(307, "https://id.invalid/1//canary-refresh"), BadAnswer),
        (httpx.Response(200, html="<h1>1//canary-refresh</h1>"), BadAnswer),
        (httpx.Response(200, content=b'{"access_token": "' + b"x" * 70_000 + b'"}'), BadAnswer),
        (httpx.Response(200, content=b"[" * 60_000), BadAnswer),
        (httpx.Response(200, json={"token": "canary-token"}), ProfileMismatch),
        (httpx.Response(200, json={"1//canary-refresh": 1}), ProfileMismatch),
        (httpx.Response(200, json={"access_token": "canary\n"}), BadAnswer),
        (httpx.Response(400, json={"error": "invalid_grant", "error_description": "1//canary-refresh"}), SignInRefused),
        (httpx.Response(401, json={"error": "canary+secret%2F%C3%A9"}), SignInRefused),
        (httpx.Response(500, json={"error": "canary secret/\\u00e9"}), Unavailable),
        (httpx.Response(429, json={"error": "canary-refresh"}), Unavailable),
    ],
)
async def test_whatever_a_sign_in_s_host_answers_no_secret_shows_and_nothing_goes_elsewhere(
    answer: httpx.Response, error: type[PlatformError]
) -> None:
    with capture_logs() as logs:
        async with connected(sign_ins=[answer] * 9, platform=platform(OAUTH), max_attempts=1) as parts:
            parts.platform.credentials = Credentials.of(FORM_SECRETS)
            raised = await listed(parts)
            assert type(raised) is error
            text = str(raised) + "".join(parts.connector.open_breakers) + repr(parts.client._session.failure)
            assert not [part for part in ("refresh_1", "1//", "secret/", "canary", "xxx") if part in text]
    assert "canary" not in str(logs)
    assert {str(request.url) for request in parts.platform.sign_ins} == {"https://id.invalid/token"}
    assert parts.platform.requests == []
