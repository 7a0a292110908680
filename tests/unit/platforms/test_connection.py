"""One connection, to which a test feeds the bytes that a peer might send."""

import asyncio
from socket import socketpair

import httpx
import pytest

from adsyncd.platforms.connection import MOST_FRAMING, MOST_HEADERS, MOST_INTERIM, Connection


class Wire(asyncio.Transport):
    """The transport of a connection: takes what is written, and is closed at once."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.socket, self.far = socketpair()
        self.connection = connection
        self.closed = False
        connection.connection_made(self)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.socket if name == "socket" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            self.socket.close()
            self.far.close()
            self.connection.connection_lost(None)


async def answered(*pieces: bytes, ends: bool = False) -> tuple[int, bytes, bool]:
    """Feed an answer to a connection, and return its status, its body and whether the connection can be used again."""
    connection = Connection(asyncio.get_running_loop(), set())
    wire = Wire(connection)

    async def feed() -> None:
        for piece in pieces:
            await asyncio.sleep(0)
            if not wire.closed:
                connection.data_received(piece)
        if ends and not wire.closed:
            connection.eof_received()
            wire.abort()

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed())
            await connection.exchange(b"", None)
            body = b"".join([data async for data in connection.body()])
            return connection.status, body, connection.is_reusable
    finally:
        wire.abort()


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("pieces", "ends", "what"),
    [
        ((PLAIN,), False, (200, b"ok", True)),
        (tuple(bytes([byte]) for byte in PLAIN), False, (200, b"ok", True)),
        ((b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + PLAIN,), False, (200, b"ok", True)),
        ((PLAIN + PLAIN,), False, (200, b"ok", False)),
        ((PLAIN + b"x",), False, (200, b"ok", False)),
        ((b"HTTP/1.0 200 OK\r\n\r\n", b"all of it"), True, (200, b"all of it", False)),
        (
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",),
            False,
            (200, b"ok", True),
        ),
    ],
)
async def test_an_answer_is_read(pieces: tuple[bytes, ...], ends: bool, what: tuple[int, bytes, bool]) -> None:
    assert await answered(*pieces, ends=ends) == what


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (b"", True),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (PLAIN[:-1], True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * (MOST_INTERIM + 1), False),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * (MOST_HEADERS + 1) + b"\r\n", False),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * MOST_FRAMING, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 60_000, False),
    ],
)
async def test_an_answer_that_breaks_a_rule_closes_the_connection(answer: bytes, ends: bool) -> None:
    with pytest.raises(ExceptionGroup) as failed:
        await answered(answer, ends=ends)
    assert [type(error) for error in failed.value.exceptions] == [httpx.RemoteProtocolError]
