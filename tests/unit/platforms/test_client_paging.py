"""Listings of each kind of paging at a platform that may be hostile, by the client that a run has."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import AdsyncdError, BadAnswer, ListingError, ProfileMismatch, Rejected
from adsyncd.model.campaign import Page
from adsyncd.model.profile import Paging, PagingKind
from adsyncd.model.tenant import Platform
from adsyncd.platforms.call import Call
from support.records import campaign
from support.scripted import Answer, Parts, connected

NUMBER = Paging(PagingKind.NUMBER, "page", "limit")
OFFSET = Paging(PagingKind.OFFSET, "start", "limit")
CURSOR = Paging(PagingKind.CURSOR, "after", "limit", next="paging.after")
IN_BODY = replace(CURSOR, in_body=True)
LINK = Paging(PagingKind.LINK, None, "limit", next="paging.next")
SECRET = "canary-token-1"  # as the scripted platform issues it
PATH = "/v2/accounts/acme/campaigns"


def platform_of(paging: Paging, **listing: Any) -> Platform:  # noqa: ANN401 - what a listing has
    profile, body = shipped_profile(), "{}" if paging.in_body else None
    described = replace(profile.listing, path="/accounts/{account}/campaigns", paging=paging, json=body, **listing)
    described = replace(described, method="POST" if paging.in_body else "GET")
    return Platform("mixo", "http://ads.invalid/v2", replace(profile, listing=described, volatile=("updated",)))


def page(*ids: str, **beside: object) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"id": id_} for id_ in ids], **beside})


async def listed(parts: Parts) -> list[Page]:
    """List to the end as a run does."""
    pages, cursor = list[Page](), None
    while not pages or pages[-1].has_more:
        pages.append(await parts.client.page(len(pages) + 1, cursor))
        cursor = pages[-1].next
    return pages


def asked(parts: Parts) -> list[str]:
    """Return what was asked for, without the size of pages."""
    return [
        request.url.raw_path.decode().replace("?limit=10", "?").replace("&limit=10", "") + request.content.decode()
        for request in parts.platform.requests
    ]


async def refusal(*script: Answer, paging: Paging, **listing: Any) -> tuple[AdsyncdError, list[httpx.Request]]:  # noqa: ANN401
    """List in vain, and return the error, in which no secret is, and the requests."""
    async with connected(*script, platform=platform_of(paging, **listing), max_attempts=3) as parts:
        with pytest.raises(AdsyncdError) as refused:
            await listed(parts)
    assert {(request.url.scheme, request.url.netloc) for request in parts.platform.requests} == {
        ("http", b"ads.invalid")
    }
    assert SECRET not in str(refused.value)
    assert not any(SECRET in str(request.url) for request in parts.platform.requests)
    return refused.value, parts.platform.requests


# Sound listings


@pytest.mark.parametrize(
    ("paging", "script", "requests"),
    [
        (Paging(), [page("1", "2")], [PATH]),
        (NUMBER, [page("1"), page("2"), page()], [f"{PATH}?page={number}" for number in (1, 2, 3)]),
        (OFFSET, [page("1", "2"), page("3"), page()], [f"{PATH}?start={start}" for start in (0, 2, 3)]),
        (
            CURSOR,
            [page("1", paging={"after": "a/b="}), page(paging={"after": 7}), page("2", paging=None)],
            [f"{PATH}?", f"{PATH}?after=a%2Fb%3D", f"{PATH}?after=7"],
        ),
        (
            IN_BODY,
            [page("1", paging={"after": 'a"'}), page("2")],
            [f'{PATH}{{"limit":10}}', f'{PATH}{{"after":"a\\"","limit":10}}'],
        ),
        (
            LINK,
            [page("1", paging={"next": f"http://ads.invalid{PATH}?c=(a)"}), page("2", paging={"next": ""})],
            [f"{PATH}?", f"{PATH}?c=(a)"],
        ),
    ],
)
async def test_a_listing_of_each_kind_of_paging_is_whole(
    paging: Paging, script: list[Answer], requests: list[str]
) -> None:
    async with connected(*script, platform=platform_of(paging)) as parts:
        pages = await listed(parts)
    assert asked(parts) == requests
    assert {page.volatile for page in pages} == {("updated",)}
    assert pages[-1].next is None


@pytest.mark.parametrize("paging", [CURSOR, LINK, OFFSET])
async def test_a_listing_is_resumed_where_it_was_and_a_failed_page_asked_for_again(paging: Paging) -> None:
    cursors = {CURSOR: "a/b=", LINK: f"{PATH}?c=a", OFFSET: "20"}
    script = [httpx.Response(503), httpx.Response(200, html="<p>"), page()]
    async with connected(*script, platform=platform_of(paging)) as parts:
        last = await parts.client.page(3, cursors[paging])
    assert not last.has_more
    assert len(set(asked(parts))) == 1
    assert len(parts.platform.requests) == 3


async def test_a_cursor_that_the_platform_refuses_is_rejected() -> None:
    async with connected(httpx.Response(400), platform=platform_of(CURSOR)) as parts:
        with pytest.raises(Rejected):
            await parts.client.page(3, "expired")


@pytest.mark.parametrize("paging", [CURSOR, LINK, OFFSET])
async def test_only_pages_with_numbers_are_asked_for_by_their_etag(paging: Paging) -> None:
    known = Page(1, (campaign("1"),), 1, has_more=False, etag='"v1"')
    answer = httpx.Response(200, json={"data": []}, headers={"etag": '"v2"'})
    async with connected(answer, answer, platform=platform_of(paging)) as parts:
        assert (await parts.client.page(1, None, known)).etag is None
    assert "if-none-match" not in parts.platform.requests[0].headers
    async with connected(answer, platform=platform_of(NUMBER)) as parts:
        assert (await parts.client.page(1, None, known)).etag == '"v2"'
    assert parts.platform.requests[0].headers["if-none-match"] == '"v1"'


async def test_a_request_takes_as_many_permits_as_the_profile_says() -> None:
    async with connected(page(), platform=platform_of(CURSOR, cost=3)) as parts:
        assert Call.of(parts.client._listing(1, None)).cost == 3


# Hostile platforms


@pytest.mark.parametrize(
    "link",
    [
        f"http://elsewhere.invalid{PATH}?c=a",
        f"https://ads.invalid{PATH}?c=a",
        f"http://ads.invalid:8080{PATH}?c=a",
        f"http://acme:pw@ads.invalid{PATH}?c=a",
        f"http://ads.invalid@elsewhere.invalid{PATH}?c=a",
        f"//elsewhere.invalid{PATH}?c=a",
        f"/\\elsewhere.invalid{PATH}?c=a",
        "/v2/accounts/globex/campaigns?c=a",
        "/v2/accounts/acme/../globex/campaigns?c=a",
        "/v2/accounts/acme%2f..%2fglobex/campaigns?c=a",
        "http://ads.invalid/auth/token",
        f"{PATH}?c=a\r\nX-Evil: 1",
        f"{PATH}?c={'a' * 5000}",
        7,
        ["x"],
        {"href": PATH},
    ],
)
async def test_a_link_that_leads_away_costs_no_request(link: object) -> None:
    error, requests = await refusal(page("1", paging={"next": link}), page("2"), paging=LINK)
    assert isinstance(error, ListingError)
    assert "paging.next" in str(error)
    assert len(requests) == 1


@pytest.mark.parametrize("paging", [CURSOR, IN_BODY, LINK])
@pytest.mark.parametrize("secret", [SECRET, SECRET.upper(), "x" + SECRET.encode().hex(), "canary%2Dtoken%2D1"])
async def test_a_secret_that_comes_back_as_a_cursor_is_not_sent_in_an_address(paging: Paging, secret: str) -> None:
    beside = {"after": secret, "next": f"http://ads.invalid{PATH}?access_token={secret}"}
    error, requests = await refusal(page("1", paging=beside), page("2"), paging=paging)
    assert isinstance(error, ListingError)
    assert "secret" in str(error)
    assert len(requests) == 1


@pytest.mark.parametrize("paging", [CURSOR, IN_BODY, LINK])
async def test_pages_that_lead_round_in_a_circle_end_the_listing(paging: Paging) -> None:
    circle = [{"after": cursor, "next": f"{PATH}?c={cursor}"} for cursor in ("a", "b", "a", "b")]
    error, requests = await refusal(*[page("1", paging=each) for each in circle], paging=paging)
    assert isinstance(error, ListingError)
    assert "leads back" in str(error)
    assert len(requests) == 3


@pytest.mark.parametrize("paging", [Paging(), NUMBER, OFFSET, CURSOR, IN_BODY, LINK])
async def test_an_answer_without_records_is_given_up_at_once_and_told_with_what_it_has(paging: Paging) -> None:
    body = {"error": {"code": 7}, "results": [], SECRET: 1, "paging": {"after": "a", "next": "?c=a"}}
    error, requests = await refusal(httpx.Response(200, json=body), page("1"), paging=paging, records="payload.data")
    assert isinstance(error, ProfileMismatch)
    assert "payload.data leads to nothing" in str(error)
    assert "no keys that may be shown" in str(error)
    assert len(requests) == 1
    del body[SECRET]
    error, _ = await refusal(httpx.Response(200, json=body), page("1"), paging=paging, records="payload.data")
    assert "; it has error, paging, results" in str(error)


@pytest.mark.parametrize("paging", [NUMBER, OFFSET, CURSOR, IN_BODY, LINK])
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<!doctype html><title>Sign in</title>"),
        httpx.Response(200, content=b""),
        httpx.Response(200, content=b'{"data": [{"id": '),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"data": {}}),
        httpx.Response(200, json={"data": "none"}),
    ],
)
async def test_what_is_no_listing_is_asked_for_again_and_never_an_empty_one(
    paging: Paging, answer: httpx.Response
) -> None:
    error, requests = await refusal(*[answer] * 3, paging=paging)
    assert isinstance(error, BadAnswer)
    assert len(requests) == 3


@pytest.mark.parametrize(
    ("body", "empty"),
    [
        ({}, True),
        ({"data": None}, True),
        ({"fieldMask": "id"}, True),
        ({"error": {"code": 401}}, False),
        ({"errors": ["x"]}, False),
        ({"data": {"list": []}}, False),
        ([], False),
    ],
)
async def test_where_an_empty_list_may_be_left_out_an_error_is_none(body: object, empty: bool) -> None:
    absent = {"records": "data", "absent_is_empty": True}
    script = [httpx.Response(200, json=body)] * 3
    if empty:
        async with connected(*script, platform=platform_of(CURSOR, **absent)) as parts:
            assert [page.campaigns for page in await listed(parts)] == [()]
    else:
        error, _ = await refusal(*script, paging=CURSOR, **absent)
        assert isinstance(error, BadAnswer)


@pytest.mark.parametrize("paging", [CURSOR, LINK])
async def test_a_redirect_of_a_later_page_is_not_followed(paging: Paging) -> None:
    first = page("1", paging={"after": "a", "next": "?c=a"})
    away = httpx.Response(302, headers={"location": "http://elsewhere.invalid/"})
    error, requests = await refusal(first, *[away] * 3, paging=paging)
    assert isinstance(error, BadAnswer)
    assert len(requests) == 4


async def test_an_odd_record_costs_itself_alone_on_any_platform() -> None:
    odd = httpx.Response(200, json={"data": [{"id": None}, {"id": "2", "budget": []}, 7], "paging": {"after": "a"}})
    async with connected(odd, page("3"), platform=platform_of(CURSOR)) as parts:
        pages = await listed(parts)
    assert [[each.id for each in page.campaigns] for page in pages] == [["2"], ["3"]]
    assert (pages[0].odd.count, pages[0].odd.lost) == (3, 2)
    assert json.loads(pages[0].campaigns[0].payload) == {"id": "2", "budget": []}
