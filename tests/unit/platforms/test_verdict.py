import base64
import json
from dataclasses import replace

import httpx
import pytest
from pydantic import SecretStr

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import BadAnswer, PlatformError, Rejected, Unauthorized, Unavailable, Unconfirmed
from adsyncd.model.profile import Answer, Means, StaticToken
from adsyncd.platforms import transport, wire
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.verdict import accepted, confirm, in_progress, is_later, meaning, refuses_token
from adsyncd.platforms.words import Secrets
from adsyncd.rate.dialect import Rule
from adsyncd.rate.feedback import Said
from adsyncd.telemetry import CALL
from support.scripted import PASSWORD, away, connected

WORDS = {"error": "Oh", "message": "no"}


BUILT_IN = shipped_profile()


def answer(
    status: int, data: object = None, *, wait_s: float | None = None, means: Means | None = None, **more: object
) -> httpx.Response:
    """An answer as the transport hands it over."""
    call = Call(Kind.PUSH, said=Said(wait_s), means=means, data=data)
    return httpx.Response(status, extensions={CALL: call}, **{"content": b"{}", **more})  # type: ignore[arg-type]  # a Response's


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((status, Rejected) for status in (400, 402, 403, 404, 405, 409, 410, 422, 451, 499)),
        *((status, Unavailable) for status in (408, 423, 425, 429, 500, 501, 502, 503, 504, 529, 599)),
        (401, Unauthorized),
        *((status, BadAnswer) for status in (300, 304, 399)),
    ],
)
def test_each_status_means_what_may_be_done_about_it(status: int, error: type[PlatformError]) -> None:
    with pytest.raises(PlatformError) as raised:
        accepted(answer(status, WORDS), BUILT_IN, Secrets())
    assert type(raised.value) is error
    assert str(raised.value).startswith(f"the platform answered {status}")
    assert str(raised.value).endswith(": Oh no") == (status >= 400)


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_refusal_with_a_wait_asks_to_be_tried_again_after_it(status: int) -> None:
    with pytest.raises(Unavailable) as later:
        accepted(answer(status, wait_s=7), BUILT_IN, Secrets())
    assert later.value.after_s == 7
    assert is_later(answer(status, headers={"Retry-After": "0"}))
    assert not is_later(answer(status))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_success_is_a_yes(status: int) -> None:
    assert accepted(answer(status), BUILT_IN, Secrets()).status_code == status
    confirm(answer(status, BadAnswer("not JSON"), content=b" \n"), "cmp-1", BUILT_IN, Secrets())
    confirm(answer(status, {"success": True, "campaign_id": "cmp-1"}), "cmp-1", BUILT_IN, Secrets())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (BadAnswer("a page"), "the platform answered 200 to the push, but it can't be read: a page"),
        ({"success": False} | WORDS, "200 to the push, but it reports a failure: Oh no"),
        ({"success": False, "message": "not token-4711"}, "but it reports a failure"),
        ({"campaign_id": "cmp-2"}, "but it is the receipt of another campaign"),
    ],
)
def test_a_success_whose_body_denies_it_is_none(data: object, said: str) -> None:
    secrets = Secrets()
    secrets.learn(SecretStr("token-4711"))
    with pytest.raises(Unconfirmed) as denied:
        confirm(answer(200, data), "cmp-1", BUILT_IN, secrets)
    assert str(denied.value).endswith(said)


def test_what_is_in_progress_is_given_as_long_as_a_request_unless_the_platform_says_how_long() -> None:
    assert in_progress(answer(409), 10, Secrets()).after_s == 10
    assert in_progress(answer(409, wait_s=3), 10, Secrets()).after_s == 3


# By the rules of a profile

CODES = replace(
    BUILT_IN,
    expect=Rule(None, "code", (0,)),
    answers=(
        Answer(Means.SIGN_IN, Rule(None, "code", (range(40101, 40106),))),
        Answer(Means.LATER, Rule(200, "code", (50000,))),
        Answer(Means.REFUSED, Rule(None, "code", (50000,))),
        Answer(Means.REFUSED, Rule(503)),
    ),
)


@pytest.mark.parametrize(
    ("status", "data", "means"),
    [
        (200, {"code": 40105}, Means.SIGN_IN),
        (403, {"code": 40101}, Means.SIGN_IN),
        (200, {"code": 50000}, Means.LATER),
        (500, {"code": 50000}, Means.REFUSED),  # the first that matches counts
        (503, None, Means.REFUSED),
        (200, {"code": 0}, None),
        (200, [], None),
        (401, None, None),
    ],
)
def test_the_first_rule_that_matches_an_answer_says_what_it_means(
    status: int, data: object, means: Means | None
) -> None:
    assert meaning(CODES, status, data) is means
    assert meaning(BUILT_IN, status, data) is None


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_a_meaning_counts_whatever_the_status_is(status: int) -> None:
    for means, error in ((Means.LATER, Unavailable), (Means.REFUSED, Rejected), (Means.SIGN_IN, Unauthorized)):
        with pytest.raises(PlatformError, match=f"^the platform answered {status}.*: Oh no$") as raised:
            accepted(answer(status, WORDS, means=means, wait_s=7), CODES, Secrets())
        assert type(raised.value) is error
        assert getattr(raised.value, "after_s", 7) == 7
        with pytest.raises(error):
            confirm(answer(status, WORDS, means=means), "cmp-1", CODES, Secrets())
    assert refuses_token(answer(200, means=Means.SIGN_IN))
    assert refuses_token(answer(401))
    assert not refuses_token(answer(401, means=Means.LATER))


@pytest.mark.parametrize("data", [{"code": 7} | WORDS, {"code": True, "error": "Oh no"}, {"error": "Oh no"}])
def test_a_success_that_the_profile_does_not_expect_is_refused_and_a_push_unconfirmed(data: object) -> None:
    problem = "its code is not what the profile adsyncd expects of a success: Oh no"
    with pytest.raises(Rejected, match=f"^the platform answered 200, but {problem}$"):
        accepted(answer(200, data), CODES, Secrets())
    with pytest.raises(Unconfirmed, match=f"^the platform answered 200 to the push, but {problem}$"):
        confirm(answer(200, data), "cmp-1", CODES, Secrets())
    assert accepted(answer(200, {"code": 0} | WORDS), CODES, Secrets())
    confirm(answer(200, {"code": 0}), "cmp-1", CODES, Secrets())


def test_a_page_that_is_no_json_may_be_a_proxy_s_and_is_no_refusal() -> None:
    with pytest.raises(BadAnswer, match="an HTML page"):
        accepted(answer(200, BadAnswer("an HTML page")), CODES, Secrets())
    with pytest.raises(Unconfirmed, match="its code is not what"):
        confirm(answer(200, BadAnswer("nothing"), content=b""), "cmp-1", CODES, Secrets())


def test_a_static_token_is_not_said_to_have_been_issued() -> None:
    static = replace(BUILT_IN, sign_in=StaticToken("access_token"))
    with pytest.raises(Unauthorized, match=r"401 to the token in the credentials$"):
        accepted(answer(401), static, Secrets())


# In the platform's words


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
