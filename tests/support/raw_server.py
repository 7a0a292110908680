"""A server that writes the bytes that a test gives it, and what it read."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Answer = Callable[["Peer"], Awaitable[None]]


@dataclass
class Peer:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int  # of the connection, from 1
    requests: list[bytes] = field(default_factory=list)

    async def read_request(self) -> bytes:
        """Return the next request, head and body; b"" once the client has closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        request = head + await self.reader.readexactly(int(length[0].partition(b":")[2]) if length else 0)
        self.requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


@dataclass
class RawServer:
    """Its address, and the connections that it has had."""

    url: str = ""
    peers: list[Peer] = field(default_factory=list)


async def always_ok(peer: Peer) -> None:
    while await peer.read_request():
        await peer.send(OK)


@asynccontextmanager
async def raw_server(answer: Answer = always_ok, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Serve on 127.0.0.1: `answer` is called with each connection, which is closed after it."""
    served = RawServer()
    answering = set[asyncio.Task[object]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, len(served.peers) + 1)
        served.peers.append(peer)
        task = asyncio.current_task()
        assert task is not None
        answering.add(task)
        try:
            await answer(peer)
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass  # the client has gone, or the test has ended
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        served.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        try:
            yield served
        finally:
            for task in answering:
                task.cancel()
