"""Proxies that break the rules of a tunnel, over real sockets."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
import trustme

from adsyncd.platforms.http1 import HTTP1Transport
from support.raw_server import OK, Peer, RawServer, raw_server

SERVER = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
TRUSTING = ssl.create_default_context()
_CA = trustme.CA()
_CA.issue_cert("127.0.0.1").configure_cert(SERVER)
_CA.configure_trust(TRUSTING)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def proxied(*answers: bytes, tls: ssl.SSLContext = TRUSTING) -> AsyncIterator[tuple[HTTP1Transport, RawServer]]:
    """A transport behind a proxy that answers so to each CONNECT, and opens a tunnel to a platform after the last."""

    async def tunnel(peer: Peer) -> None:
        await peer.read_request()
        for answer in answers:
            await peer.send(answer)
            await anyio.sleep(0.02)
        host, port = platform.url.removeprefix("https://").split(":")
        far = await anyio.connect_tcp(host, int(port))

        async def back() -> None:
            async for data in far:
                await peer.send(data)

        async with far, anyio.create_task_group() as tasks:
            tasks.start_soon(back)
            while data := await peer.reader.read(65536):
                await far.send(data)
            tasks.cancel_scope.cancel()

    async with (
        raw_server(tls=SERVER) as platform,
        raw_server(tunnel) as proxy,
        HTTP1Transport(tls, httpx.Limits(max_connections=1, keepalive_expiry=60), httpx.Proxy(proxy.url)) as transport,
    ):
        yield transport, platform


async def ask(transport: HTTP1Transport, url: str) -> bytes:
    request = httpx.Request("POST", url, content=b"{}", extensions={"timeout": {"connect": 0.5}})
    answer = await transport.handle_async_request(request)
    body = await answer.aread()
    await answer.aclose()
    return body


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 Connection established\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_a_tunnel_is_open_after_any_2xx_and_is_kept(answer: bytes) -> None:
    async with proxied(answer) as (transport, platform):
        assert [await ask(transport, platform.url) for _ in range(3)] == [b"ok"] * 3
        assert [len(peer.requests) for peer in platform.peers] == [3]


@pytest.mark.parametrize(
    "answers",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",),
        (b"HTTP/1.1 200 OK\r\n\r\nabc",),
        (b"HTTP/1.1 200 OK\r\n\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\n\r\n" + OK,),
        (b"HTTP/1.1 200 OK\r\n\r\n", OK),
        (b"garbage\r\n\r\n",),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",),
    ],
)
async def test_a_proxy_that_says_more_than_its_2xx_opens_no_tunnel(answers: tuple[bytes, ...]) -> None:
    async with proxied(*answers) as (transport, platform):
        for _ in range(2):
            with pytest.raises(httpx.ConnectError):
                await ask(transport, platform.url)
        assert not [peer for peer in platform.peers if peer.requests]


async def test_a_silent_proxy_is_left_when_connecting_has_lasted_too_long() -> None:
    async with raw_server(lambda _: anyio.sleep_forever()) as proxy:
        limits = httpx.Limits(max_connections=1)
        async with HTTP1Transport(TRUSTING, limits, httpx.Proxy(proxy.url)) as transport:
            for _ in range(2):
                with pytest.raises(httpx.ConnectTimeout):
                    await ask(transport, "https://ads.invalid")


async def test_a_handshake_that_fails_in_a_tunnel_leaves_nothing_that_closing_would_wait_for() -> None:
    async with proxied(b"HTTP/1.1 200 OK\r\n\r\n", tls=ssl.create_default_context()) as (transport, platform):
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(transport, platform.url)
        assert not transport._open
        with anyio.fail_after(30):
            await transport.aclose()
