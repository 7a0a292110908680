import base64
import json

import anyio
import httpx
import pytest

from adsyncd.errors import BadAnswer, Stopping
from adsyncd.model.campaign import Page
from support.records import campaign
from support.scripted import PASSWORD, away, connected, ok


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
        assert await parts.client.page(3, known=KNOWN) is KNOWN
    assert [request.headers["if-none-match"] for request in parts.platform.requests] == ['W/"v1"'] * 2
    assert parts.tally.requests == 2


async def test_a_page_that_has_changed_is_read() -> None:
    async with connected(named('"v2"')) as parts:
        page = await parts.client.page(3, known=KNOWN)
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


async def test_the_listing_has_a_connection_of_its_own_beside_those_of_the_pushes() -> None:
    async with connected(concurrency=7) as parts:
        assert parts.platform.limits == httpx.Limits(
            max_connections=8, max_keepalive_connections=8, keepalive_expiry=90
        )


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


# Ends


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
