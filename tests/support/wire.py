"""A connection without a socket: a test is the peer, and no event loop runs."""

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

import httpx

from adsyncd.platforms.connection import Connection
from support.hostile import Answer, Outcome, Read, Then

LOOP = asyncio.new_event_loop()  # for futures; it never runs
LOOP.close()


class _NoSocket:
    def fileno(self) -> int:
        return 0  # it is noted, and not used


class Wire(asyncio.Transport):
    """The transport of a connection: keeps what is written, and is closed at once."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.written = b""
        self.closed = False
        self.reading = True
        connection.connection_made(self)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return _NoSocket() if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            self.connection.connection_lost(error)

    def receive(self, data: bytes) -> None:
        if not self.closed:
            self.connection.data_received(data)

    def end(self) -> None:
        if not self.closed:
            self.connection.eof_received()
            self.lose(None)


class Exchange:
    """An exchange of a new connection, and the reading of the body unless `reads` is False."""

    def __init__(self, *, reads: bool = True, connection: Connection | None = None) -> None:
        self.connection = connection or Connection(LOOP, set())
        self.wire = Wire(self.connection)
        self.error: Exception | None = None
        self.body: bytes | None = None
        self._steps = self._ask(reads=reads)
        self._awaited = self._steps.send(None)

    def receive(self, data: bytes) -> None:
        self.wire.receive(data)
        self.step()

    def step(self) -> None:
        """Go on as far as possible."""
        with suppress(StopIteration):
            while self._awaited is not None and self._awaited.done():
                self._awaited = None
                self._awaited = self._steps.send(None)

    def result(self) -> Read | type[Exception] | Outcome:
        if self.error is not None:
            return type(self.error)
        if self.body is None:
            return Outcome.WAITS
        return Read(self.connection.status, self.body, self.connection.is_reusable)

    def close(self) -> None:
        self._steps.close()
        self.wire.abort()

    async def _steps_of_body(self) -> bytes:
        return b"".join([data async for data in self.connection.body()])

    def _ask(self, *, reads: bool) -> Coroutine[Any, None, None]:
        async def ask() -> None:
            try:
                await self.connection.exchange(b"request", None)
                if reads:
                    self.body = await self._steps_of_body()
            except httpx.TransportError as error:
                self.error = error

        return ask()


def exchanged(pieces: Iterable[bytes], then: Then = Then.STAYS) -> Exchange:
    """Have a peer send an answer to a request, and end so."""
    exchange = Exchange()
    pieces = list(pieces)
    for piece in pieces:
        exchange.receive(piece)
    if then in (Then.ENDLESSLY, Then.DRIPS):
        for _ in range(100 if then is Then.ENDLESSLY else 10):
            exchange.receive(pieces[-1])
    elif then is Then.RESETS:
        exchange.wire.lose(ConnectionResetError(104, "Connection reset by peer"))
    elif then in (Then.CLOSES, Then.HALF_CLOSES):
        exchange.wire.end()
    exchange.step()
    return exchange


def result(answer: Answer, body: bytes) -> Read | type[Exception] | Outcome:
    """Return what becomes of an answer with this body."""
    exchange = exchanged(answer.sent(body), answer.then)
    try:
        return exchange.result()
    finally:
        exchange.close()
