"""Connections that fail or misbehave: nobody there, bad certificates, peers that break the protocol."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trustme
from anyio.abc import SocketStream
from anyio.streams.tls import TLSStream

from adsyncd.clock import SystemClock
from adsyncd.errors import BadAnswer, Unavailable
from adsyncd.rate.quota import Quota
from support.connected import QUOTA, connected
from support.platform import HEALTHY, accounts, running_platform


async def test_a_name_that_does_not_exist_is_told_and_counts_as_no_request() -> None:
    async with connected("http://nowhere.invalid", max_attempts=2) as run:
        error = await run.failed()
    assert isinstance(error, Unavailable)
    assert str(error).startswith("no connection to nowhere.invalid")
    assert (error.attempts, run.tally.requests, run.gate.free) == (2, 0, QUOTA.requests)


async def test_a_refused_connection_is_told_and_takes_nothing_of_the_quota_however_often() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with connected(base_url, max_attempts=20, quota=Quota(1, timedelta(hours=1))) as run:
            error = await run.failed()
    assert isinstance(error, Unavailable)
    assert str(error).startswith(f"no connection to {base_url.removeprefix('http://')}: ")
    assert (error.attempts, run.tally.requests, run.gate.free) == (20, 0, 1)


def certificate(folder: Path, host: str = "127.0.0.1", **validity: Any) -> tuple[ssl.SSLContext, tuple[str, ...]]:  # noqa: ANN401 - of `issue_cert`
    """A context that trusts a private CA, and the options of a platform with a certificate from it."""
    authority = trustme.CA()
    issued = authority.issue_cert(host, **validity)
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return trusting, ("--certfile", str(folder / "cert.pem"), "--keyfile", str(folder / "key.pem"))


SETTINGS = {"accounts": accounts("acme"), "everyone": HEALTHY}


async def test_a_certificate_of_a_private_ca_is_trusted_by_who_is_told_to(tmp_path: Path) -> None:
    trusting, options = certificate(tmp_path)
    async with running_platform(SETTINGS, *options) as platform:
        async with connected(platform.base_url, tls=trusting) as run:
            assert (await run.client.page(1)).total == 100
        async with connected(platform.base_url, max_attempts=1) as run:
            error = await run.failed()
            assert isinstance(error, Unavailable)
            assert "certificate verify failed" in str(error)
            assert run.tally.requests == 0


async def test_an_expired_certificate_is_told_as_that(tmp_path: Path) -> None:
    now, day = SystemClock().now(), timedelta(days=1)
    trusting, options = certificate(tmp_path, not_before=now - 2 * day, not_after=now - day)
    async with (
        running_platform(SETTINGS, *options) as platform,
        connected(platform.base_url, tls=trusting, max_attempts=1) as run,
    ):
        assert "certificate has expired" in str(await run.failed())


async def test_a_certificate_of_another_host_is_told_as_that(tmp_path: Path) -> None:
    trusting, options = certificate(tmp_path, host="elsewhere.invalid")
    async with (
        running_platform(SETTINGS, *options) as platform,
        connected(platform.base_url, tls=trusting, max_attempts=1) as run,
    ):
        assert "certificate is not valid for '127.0.0.1'" in str(await run.failed())


async def test_plain_http_where_tls_is_spoken_and_tls_where_it_is_not_are_told(tmp_path: Path) -> None:
    async with (
        running_platform(SETTINGS) as plain,
        connected(plain.base_url.replace("http:", "https:"), max_attempts=1) as run,
    ):
        assert "no connection to 127.0.0.1:" in str(await run.failed())
    _, options = certificate(tmp_path)
    async with (
        running_platform(SETTINGS, *options) as secure,
        connected(secure.base_url.replace("https:", "http:"), max_attempts=1) as run,
    ):
        assert "127.0.0.1" in str(await run.failed())


@asynccontextmanager
async def peer(speak: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """A server that hands each connection to `speak`; its port."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            try:
                await speak(stream)
            except (anyio.BrokenResourceError, anyio.EndOfStream):
                return

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 999 High\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 200_000,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Later\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff\xfe=;;;=\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_no_answer_makes_anything_but_an_error_of_the_platform_s(answer: bytes) -> None:
    async def speak(stream: SocketStream) -> None:
        await stream.receive()
        await stream.send(answer)

    async with (
        peer(speak) as port,
        connected(f"http://127.0.0.1:{port}", max_attempts=2, timeout=timedelta(seconds=2)) as run,
    ):
        assert isinstance(await run.failed(), Unavailable | BadAnswer)


async def test_an_answer_that_drips_is_given_up_at_the_deadline_of_the_whole() -> None:
    async def speak(stream: SocketStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await stream.send(b"x")
            await anyio.sleep(0.02)

    async with (
        peer(speak) as port,
        connected(f"http://127.0.0.1:{port}", max_attempts=1, timeout=timedelta(seconds=0.3)) as run,
    ):
        with anyio.fail_after(30):
            assert "did not answer within 0.3 s" in str(await run.failed())


async def test_a_peer_that_falls_out_of_tls_makes_a_bad_answer(tmp_path: Path) -> None:
    trusting, _ = certificate(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def speak(stream: SocketStream) -> None:
        secure = await TLSStream.wrap(stream, server_side=True, ssl_context=server)
        await secure.receive()
        await stream.send(b"this is no record of TLS")

    async with peer(speak) as port, connected(f"https://127.0.0.1:{port}", tls=trusting, max_attempts=1) as run:
        assert isinstance(await run.failed(), BadAnswer)


async def test_a_peer_that_is_silent_while_tls_is_set_up_is_no_connection_and_no_request() -> None:
    async def speak(stream: SocketStream) -> None:
        while True:
            await stream.receive()

    async with (
        peer(speak) as port,
        connected(f"https://127.0.0.1:{port}", max_attempts=1, timeout=timedelta(seconds=0.4)) as run,
    ):
        assert str(await run.failed()) == f"no connection to 127.0.0.1:{port} within 0.2 s"
        assert (run.tally.requests, run.gate.free) == (0, QUOTA.requests)
