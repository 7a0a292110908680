"""How the pool ends what it began: cancelled requests, failures, closing. Nothing is left open, nothing sent twice."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx
import pytest
import trustme

from adsyncd.host.shortage import shortage
from adsyncd.platforms import http1
from adsyncd.platforms.http1 import HTTP1Transport
from support.descriptors import exhausted
from support.hostile import LINE
from support.raw_server import OK, Peer, raw_server
from support.waiting import until

SERVER = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
TRUSTING = ssl.create_default_context()
_CA = trustme.CA()
_CA.issue_cert("127.0.0.1").configure_cert(SERVER)
_CA.configure_trust(TRUSTING)
LARGE = b"x" * 20_000_000  # more than any socket takes


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    if request.param:
        pytest.importorskip("uvloop", reason="pip install adsyncd[dev]")
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def transport() -> AsyncIterator[HTTP1Transport]:
    """One place."""
    async with HTTP1Transport(TRUSTING, httpx.Limits(max_connections=1, keepalive_expiry=60.0)) as transport:
        yield transport


async def ask(transport: HTTP1Transport, url: str, content: bytes = b"{}", **extensions: object) -> httpx.Response:
    request = httpx.Request("POST", url, content=content, extensions=extensions)
    with anyio.fail_after(30):
        answer = await transport.handle_async_request(request)
        await answer.aread()
    await answer.aclose()
    return answer


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def silent(peer: Peer) -> None:
    await peer.read_request()
    await anyio.sleep_forever()


async def unread(_: Peer) -> None:
    await anyio.sleep_forever()


async def half_a_head(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(LINE + b"X: ")
    await anyio.sleep_forever()


async def half_a_body(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(OK[:-1])
    await anyio.sleep_forever()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("peers", [silent, half_a_head, half_a_body, unread])
async def test_a_cancelled_request_closes_its_connection_and_gives_its_place_back(
    transport: HTTP1Transport, secure: bool, peers: Callable[[Peer], Awaitable[None]]
) -> None:
    async with raw_server(peers, SERVER if secure else None) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, transport, server.url, LARGE if peers is unread else b"{}")
        await until(lambda: server.peers and (server.peers[0].requests or peers is unread))
        await anyio.sleep(0.02)
        tasks.cancel_scope.cancel()
    await until(lambda: not transport._open)
    async with raw_server(tls=SERVER if secure else None) as server:
        assert (await ask(transport, server.url)).content == b"ok"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_request_that_is_cancelled_while_it_connects_gives_its_place_back(
    transport: HTTP1Transport, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scheme == "http":  # in the look-up of the address
        monkeypatch.setattr(http1, "open_socket", lambda *_: anyio.sleep_forever())
    async with raw_server(unread) as server:  # it says nothing in a TLS handshake
        with anyio.move_on_after(0.05):
            await ask(transport, server.url.replace("http", scheme, 1))
        monkeypatch.undo()
        with pytest.raises(httpx.ConnectTimeout):
            await ask(transport, server.url.replace("http:", "https:"), timeout={"connect": 0.05})
        await until(lambda: not transport._open)
    async with raw_server() as server:
        assert (await ask(transport, server.url)).content == b"ok"


async def test_places_are_given_in_the_order_of_asking_and_a_waiter_that_is_cancelled_takes_none(
    transport: HTTP1Transport,
) -> None:
    order, go_on = list[bytes](), anyio.Event()

    async def noting(peer: Peer) -> None:
        while request := await peer.read_request():
            order.append(request[-1:])
            await go_on.wait()
            await peer.send(OK)

    async with raw_server(noting) as server, anyio.create_task_group() as tasks:
        scopes = [anyio.CancelScope() for _ in range(5)]

        async def numbered(number: int) -> None:
            with scopes[number]:
                await ask(transport, server.url, b"%d" % number)

        for number in range(5):
            tasks.start_soon(numbered, number)
            await anyio.wait_all_tasks_blocked()
        await until(lambda: order)
        scopes[2].cancel()
        go_on.set()
    assert order == [b"0", b"1", b"3", b"4"]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_request_is_told_as_written_once_it_is_written_whole(transport: HTTP1Transport, secure: bool) -> None:
    told, read = list[str](), anyio.Event()

    async def reading_later(peer: Peer) -> None:
        await read.wait()
        await peer.read_request()
        await until(lambda: told)
        await peer.send(OK)

    async def trace(event: str, _: object) -> None:
        told.append(event)

    async with raw_server(reading_later, SERVER if secure else None) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: ask(transport, server.url, LARGE, trace=trace))
        await until(lambda: server.peers)
        await anyio.sleep(0.05)
        assert not told
        read.set()
    assert told == ["http11.send_request_body.complete"]


async def test_an_answer_to_half_a_request_is_read_and_ends_the_connection(transport: HTTP1Transport) -> None:
    async def hasty(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(OK.replace(b"200", b"413"))
        await anyio.sleep_forever()

    async with raw_server(hasty) as server:
        for _ in range(2):
            assert (await ask(transport, server.url, LARGE)).status_code == 413
        assert len(server.peers) == 2


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_what_a_closed_connection_did_not_take_goes_by_another_one(
    transport: HTTP1Transport, secure: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer closes in the moment in which the connection was found to be silent."""
    closed = anyio.Event()

    async def once(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(OK)
        if peer.number == 1:
            await closed.wait()
        else:
            await peer.read_request()

    async with raw_server(once, SERVER if secure else None) as server:
        await ask(transport, server.url)
        [connection] = transport._open
        connection.abort()
        monkeypatch.setattr(type(connection), "is_silent", property(lambda one: not one._lost))
        assert (await ask(transport, server.url)).content == b"ok"
        closed.set()
        assert [len(peer.requests) for peer in server.peers] == [1, 1]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_thousand_failures_leave_nothing_open(transport: HTTP1Transport, secure: bool) -> None:
    async def failing(peer: Peer) -> None:
        if peer.number % 4 == 1:
            return
        await peer.read_request()
        if peer.number % 4 == 2:
            await peer.send(b"garbage\r\n\r\n")
        elif peer.number % 4 == 3:
            await peer.send(LINE)

    before = open_files()
    async with raw_server(failing, SERVER if secure else None) as server:
        for _ in range(1000 if not secure else 200):
            with pytest.raises(httpx.TransportError):
                await ask(transport, server.url)
    await transport.aclose()
    assert not transport._open
    await until(lambda: open_files() < before + 10)  # uvloop opens some of its own


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_thousand_connections_that_do_not_come_about_leave_nothing_open(
    transport: HTTP1Transport, trusted: bool
) -> None:
    before = open_files()
    stranger = HTTP1Transport(ssl.create_default_context(), httpx.Limits(max_connections=1))
    async with raw_server(tls=SERVER) as server:
        url = server.url.replace("https", "http") if trusted else server.url
        for _ in range(200):
            with pytest.raises(httpx.TransportError):
                await ask(transport if trusted else stranger, url)
            with pytest.raises(httpx.ConnectError):
                await ask(transport, "http://127.0.0.1:1")
    await stranger.aclose()
    await transport.aclose()
    await until(lambda: open_files() < before + 10)  # uvloop opens some of its own


async def test_without_a_file_descriptor_the_error_says_so(transport: HTTP1Transport) -> None:
    async with raw_server() as server:
        with exhausted(), pytest.raises(httpx.ConnectError) as failed:
            await ask(transport, server.url)
        assert "no file descriptor left" in (shortage(failed.value) or "")
        assert (await ask(transport, server.url)).content == b"ok"
    assert isinstance(failed.value.__cause__, OSError)
    assert failed.value.__cause__.errno == errno.EMFILE


@pytest.mark.parametrize("peers", [silent, half_a_body])
async def test_closing_fails_the_requests_that_are_in_flight_and_those_that_wait(
    transport: HTTP1Transport, peers: Callable[[Peer], Awaitable[None]]
) -> None:
    failures = list[str]()

    async def failing() -> None:
        with pytest.raises(httpx.TransportError) as failed:
            await ask(transport, server.url)
        failures.append(type(failed.value).__name__)

    async with raw_server(peers) as server, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(failing)
        await until(lambda: server.peers and server.peers[0].requests)
        await anyio.sleep(0.02)
        await transport.aclose()
    assert failures == ["RemoteProtocolError", "ConnectError", "ConnectError"]
    assert not transport._open


async def test_a_tls_handshake_shows_one_protocol_and_a_connection_is_kept(
    transport: HTTP1Transport,
) -> None:
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _CA.issue_cert("127.0.0.1").configure_cert(shown)
    shown.set_alpn_protocols(["h2", "http/1.1"])
    async with raw_server(tls=shown) as server:
        for _ in range(3):
            await ask(transport, server.url)
        [peer] = server.peers
        assert peer.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


async def test_the_end_of_tls_is_told_from_a_cut(transport: HTTP1Transport) -> None:
    """Source: RFC 9112, 9.8."""

    async def until_closed(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(LINE + b"\r\nall of it")
        if peer.number == 1:
            peer.writer.close()  # with an alert that says so
            await asyncio.wait_for(peer.writer.wait_closed(), 10)
        else:
            plain = peer.writer.transport.get_extra_info("socket")
            with socket.socket(fileno=os.dup(plain.fileno())) as cut:
                cut.shutdown(socket.SHUT_WR)
            await anyio.sleep_forever()

    async with raw_server(until_closed, SERVER) as server:
        assert (await ask(transport, server.url)).content == b"all of it"
        with pytest.raises(httpx.RemoteProtocolError, match="closed the connection during its answer"):
            await ask(transport, server.url)


@pytest.mark.parametrize(
    "record", [OK, b"\x15\x03\x03\0\x02\x02\x50", b"\x16\x03\x03\0\x04\0\0\0\0", b"\x17\x03\x03\0\x01x"]
)
@pytest.mark.parametrize("begun", [False, True])
async def test_a_peer_that_falls_out_of_tls_breaks_the_protocol(
    transport: HTTP1Transport, record: bytes, begun: bool
) -> None:
    """Plain bytes, an alert, a wish to negotiate anew and a record that nobody can read, in the middle of TLS."""

    async def falling(peer: Peer) -> None:
        await peer.read_request()
        if begun:
            await peer.send(OK[:-1])
            await anyio.sleep(0.02)
        with socket.socket(fileno=os.dup(peer.writer.get_extra_info("socket").fileno())) as plain:
            plain.send(record)
            await anyio.sleep_forever()

    async with raw_server(falling, SERVER) as server:
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                await ask(transport, server.url)
        assert [len(peer.requests) for peer in server.peers] == [1, 1]
