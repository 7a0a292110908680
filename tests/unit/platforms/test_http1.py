"""The pool of connections, over real sockets and in real time."""

import ssl
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from adsyncd.platforms.http1 import HTTP1Transport
from support.raw_server import OK, Peer, raw_server

TLS = ssl.create_default_context()


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def transport() -> AsyncIterator[HTTP1Transport]:
    async with a_transport() as transport:
        yield transport


def a_transport(most: int = 2, kept_s: float = 60.0) -> HTTP1Transport:
    return HTTP1Transport(TLS, httpx.Limits(max_connections=most, keepalive_expiry=kept_s))


async def ask(transport: httpx.AsyncBaseTransport, url: str, **extensions: object) -> httpx.Response:
    answer = await transport.handle_async_request(httpx.Request("POST", url, content=b"{}", extensions=extensions))
    await answer.aread()
    await answer.aclose()
    return answer


async def test_one_connection_does_one_request_after_another(transport: HTTP1Transport) -> None:
    async with raw_server() as server:
        assert [(await ask(transport, server.url)).content for _ in range(3)] == [b"ok"] * 3
        assert [len(peer.requests) for peer in server.peers] == [3]


async def test_a_connection_that_was_idle_for_too_long_is_not_used_again() -> None:
    async with raw_server() as server, a_transport(kept_s=0.0) as transport:
        for _ in range(3):
            await ask(transport, server.url)
        assert len(server.peers) == 3


async def test_a_connection_that_the_server_has_closed_meanwhile_costs_no_request(transport: HTTP1Transport) -> None:
    async def once(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)

    async with raw_server(once) as server:
        for _ in range(3):
            assert (await ask(transport, server.url)).status_code == 200
        assert len(server.peers) == 3


async def test_a_request_that_may_have_left_is_not_sent_again(transport: HTTP1Transport) -> None:
    async def second_unanswered(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        await peer.read_request()

    async with raw_server(second_unanswered) as server:
        await ask(transport, server.url)
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(transport, server.url)
        assert sum(len(peer.requests) for peer in server.peers) == 2


async def test_requests_wait_for_a_place_and_for_no_longer_than_they_may() -> None:
    async def never(peer: Peer) -> None:
        await peer.read_request()
        await anyio.sleep_forever()

    async with raw_server(never) as server, a_transport(most=1) as transport, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, transport, server.url)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(httpx.PoolTimeout):
            await ask(transport, server.url, timeout={"pool": 0.01})
        tasks.cancel_scope.cancel()
