"""A platform whose pages lead to another server or another account, with real connections."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import ListingError
from adsyncd.model.profile import Paging, PagingKind
from adsyncd.model.tenant import Platform
from support.connected import connected
from support.raw_server import Answer, Peer, RawServer, raw_server

TOKEN = "canary-token-0123456789"
LINK = Paging(PagingKind.LINK, None, "limit", next="next")
CURSOR = Paging(PagingKind.CURSOR, "after", "limit", next="next")


def answer(body: object) -> bytes:
    content = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


def leading_to(following: Callable[[], str]) -> Answer:
    """Serve a platform whose every page says that it is followed by `following`."""

    async def serve(peer: Peer) -> None:
        while request := await peer.read_request():
            if request.startswith(b"POST /auth/token "):
                await peer.send(answer({"access_token": TOKEN, "expires_in": 3600}))
            else:
                await peer.send(answer({"data": [{"id": "c-1"}], "next": following()}))

    return serve


def listings(server: RawServer) -> list[bytes]:
    requests = [request for peer in server.peers for request in peer.requests]
    return [request.split(b" ")[1] for request in requests if request.startswith(b"GET ")]


@pytest.mark.parametrize(
    ("paging", "following"),
    [
        (LINK, "{other}/api/campaigns?c=a"),
        (LINK, "//{other_host}/api/campaigns?c=a"),
        (LINK, "http://{host}@{other_host}/api/campaigns?c=a"),
        (LINK, "http://user:pw@{host}/api/campaigns?c=a"),
        (LINK, "http://{other_host}\\@{host}/api/campaigns?c=a"),
        (LINK, "{url}/api/accounts/globex/campaigns?c=a"),
        (LINK, "{url}/api/campaigns/../../auth/token"),
        (LINK, "{url}/api/campaigns?access_token=" + TOKEN),
        (LINK, "{url}/api/campaigns?limit=10"),
        (CURSOR, TOKEN),
    ],
)
async def test_a_page_that_leads_astray_costs_one_request_and_no_other_server_gets_one(
    paging: Paging, following: str
) -> None:
    profile = shipped_profile()
    described = replace(profile, listing=replace(profile.listing, paging=paging))
    told = ""
    async with raw_server() as other, raw_server(leading_to(lambda: told)) as server:
        hosts = {"host": server.url.partition("//")[2], "other_host": other.url.partition("//")[2]}
        told = following.format(url=server.url, other=other.url, **hosts)
        async with connected(server.url, platform=Platform("mixo", server.url, described)) as run:
            with pytest.raises(ListingError) as refused:
                await run.client.page(1)
    assert TOKEN not in str(refused.value)
    assert listings(server) == [b"/api/campaigns?limit=10"]
    assert other.peers == []


async def test_a_link_to_the_same_place_is_followed_with_the_token_in_its_header_alone() -> None:
    profile = shipped_profile()
    described = replace(profile, listing=replace(profile.listing, paging=LINK))
    links = iter(["/api/campaigns?c=(a)", "?c=b", ""])
    cursor, has_more, number = None, True, 0
    async with (
        raw_server(leading_to(lambda: next(links))) as server,
        connected(server.url, platform=Platform("mixo", server.url, described)) as run,
    ):
        while has_more:
            number += 1
            page = await run.client.page(number, cursor)
            cursor, has_more = page.next, page.has_more
    assert listings(server) == [b"/api/campaigns?limit=10", b"/api/campaigns?c=(a)", b"/api/campaigns?c=b"]
    requests = [request for peer in server.peers for request in peer.requests if request.startswith(b"GET ")]
    assert all(b"Bearer %b\r\n" % TOKEN.encode() in request for request in requests)
