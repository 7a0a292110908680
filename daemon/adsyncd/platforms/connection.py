"""One HTTP/1.1 connection: it sends a request, reads the answer to it, and is good for the next one or closed.

What the peer sends is bounded in number and size, whatever it means, and is worked through in pieces of what one read
of the socket brings. So no peer holds the event loop or memory.

    idle ──exchange──► awaits the head ──► reads the body ──► complete ──► idle, if nothing speaks against it
                             └──────────────────┴── the peer breaks off, or breaks the protocol ──► closed
"""

import asyncio
import select
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

MOST_HEADERS = 256
MOST_INTERIM = 16  # answers (1xx) before the final one
MOST_FRAMING = 256 * 1024  # bytes of one answer that are not its body: all heads, sizes of chunks, trailers
_MOST_UNREAD = 256 * 1024  # bytes of a body that wait for its reader
_FRAMED_BY = frozenset({b"content-length", b"transfer-encoding"})
_VERSIONS = frozenset({"1.0", "1.1"})
_BEGINNING = b"HTTP/"  # the parser takes RTSP, too

Trace = Callable[[str, object], Awaitable[None]]


class NotSent(Exception):
    """The connection broke before one byte of the request had left."""


class _Refused(Exception):
    """An answer breaks a rule of ours."""


class Connection(asyncio.Protocol):
    """A connection to one server, with one exchange at a time. While it is open it is in the set `among`.

    `idle_since`: the event loop's time at the end of the latest exchange.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, among: set["Connection"]) -> None:
        self.idle_since = 0.0
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = True  # no answer is awaited
        self._loop = loop
        self._among = among
        self._transport: asyncio.Transport
        self._socket = select.poll()
        self._parser: HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._lost = False
        self._tunnels = False
        self._begun = False  # the final answer's head is complete
        self._reusable = True
        self._writing = False  # part of the request waits for the socket
        self._reading = True
        self._chunks: list[bytes] = []
        self._unread = 0
        self._first = b""  # bytes of the answer
        self._framing = 0
        self._interim = 0

    # What its owner asks for

    async def exchange(self, request: bytes, trace: Trace | None, *, tunnels: bool = False) -> None:
        """Send a request, and return once the head of the answer is in `status` and `headers`.

        `trace` is told when the request has been written whole. After a request that `tunnels`, an answer of 2xx has no
        body (RFC 9110, 9.3.6). Raises `NotSent` and httpx's errors, which close the connection, as a cancellation does.
        """
        self.complete = self._begun = False
        self._tunnels = tunnels
        self._framing = self._interim = 0
        self._first = b""
        self.headers = []
        self._parser = HttpResponseParser(self)
        try:
            self._write(request)
            while self._writing and not self._begun:
                await self._change()
            if trace is not None and not self._writing:
                await trace("http11.send_request_body.complete", {})
            while not self._begun:
                await self._change()
        except BaseException:
            self.abort()
            raise

    def taken(self) -> bytes:
        """Return what has arrived of the body since the last call."""
        chunks, self._chunks, self._unread = self._chunks, [], 0
        if not self._reading and not self._lost:
            self._reading = True
            self._transport.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises httpx's errors."""
        while True:
            if data := self.taken():
                yield data
            elif self.complete:
                return
            else:
                await self._change()

    @property
    def is_reusable(self) -> bool:
        """Whether another request may follow: the answer is complete, and nothing but it has arrived."""
        return self.complete and self._reusable and not self._writing and not self._lost

    @property
    def is_silent(self) -> bool:
        """Whether an idle connection has nothing to say: neither bytes that nobody asked for nor its end."""
        return self.is_reusable and not self._transport.is_closing() and not self._socket.poll(0)

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on."""
        transport = await self._loop.start_tls(self._transport, self, context, server_hostname=host)
        if transport is None:
            raise ConnectionResetError("the connection was closed during the TLS handshake")
        self._set_transport(transport)

    def abort(self) -> None:
        """Close at once."""
        self._reusable = False
        self._parser = None
        self._transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection's transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what streams have
        self._socket.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._set_transport(transport)
        self._among.add(self)

    def pause_writing(self) -> None:
        """Note that the socket takes no more for now."""
        self._writing = True

    def resume_writing(self) -> None:
        """Note that all is written."""
        self._writing = False
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Work through what one read of the socket brought."""
        parser = self._parser
        if parser is None:  # an answer to nothing
            self.abort()
            return
        try:
            self._feed(parser, data)
        except (HttpParserError, HttpParserUpgrade, _Refused) as error:
            self._reusable = False
            if not self.complete:  # else it is what follows the answer
                self._fail(httpx.RemoteProtocolError(str(error.__context__ or error)))
                return
        if self.complete:
            self._parser = None
        elif self._unread > _MOST_UNREAD and self._reading:
            self._reading = False
            self._transport.pause_reading()
        if self._begun:
            self._wake()

    def eof_received(self) -> None:
        """End a body that has no other end; asyncio closes the connection."""
        if self._begun and not self.complete and not any(name.lower() in _FRAMED_BY for name, _ in self.headers):
            self.complete, self._reusable = True, False
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is still awaited."""
        self._lost = True
        if not self.complete:
            what = "during its answer" if self._begun else "before it answered"
            self._fail(
                httpx.RemoteProtocolError(f"the peer closed the connection {what}")
                if error is None
                else httpx.ReadError(str(error))
            )
        self._among.discard(self)

    # What the parser calls

    def on_message_begin(self) -> None:
        """Refuse a second answer."""
        if self.complete:
            raise _Refused("there is more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, and drop a trailer. Raises `_Refused` for one too many."""
        if self._begun:
            return
        if len(self.headers) == MOST_HEADERS:
            raise _Refused(f"the answer has more than {MOST_HEADERS} headers")
        self.headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Begin the answer, unless it is an interim one. Raises `_Refused`."""
        assert self._parser is not None  # noqa: S101 - who else calls
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        if version not in _VERSIONS or status < HTTPStatus.CONTINUE:
            raise _Refused("the answer's first line is not that of HTTP/1.1")
        if status >= HTTPStatus.OK:
            self.status, self._begun = status, True
            self.complete = self._tunnels and status < HTTPStatus.MULTIPLE_CHOICES
            return
        self.headers = []
        self._interim += 1
        if self._interim > MOST_INTERIM or status == HTTPStatus.SWITCHING_PROTOCOLS:
            raise _Refused("there is no end of interim answers")

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body. Raises `_Refused` if there should be none."""
        if self.complete:
            raise _Refused("there is more than the answer")
        self._chunks.append(data)
        self._unread += len(data)
        self._framing -= len(data)

    def on_message_complete(self) -> None:
        """End the answer, unless it is an interim one."""
        if self._begun:
            assert self._parser is not None  # noqa: S101 - who else calls
            self.complete = True
            self._reusable = self._reusable and self._parser.should_keep_alive()

    def _feed(self, parser: HttpResponseParser, data: bytes) -> None:
        if len(self._first) < len(_BEGINNING):
            self._first = (self._first + data)[: len(_BEGINNING)]
            if not _BEGINNING.startswith(self._first):
                raise _Refused("it is not an answer of HTTP")
        self._framing += len(data)
        parser.feed_data(data)
        if self._framing > MOST_FRAMING:
            raise _Refused(f"more than {MOST_FRAMING} bytes of an answer are not its body")

    def _write(self, request: bytes) -> None:
        self._transport.write(request)
        if self._transport.is_closing():  # the socket refused the first byte
            raise NotSent

    async def _change(self) -> None:
        """Wait until something arrives, the socket takes more, or the connection fails. Raises the failure."""
        if self._error is None:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        self._error = error
        self.abort()
        self._wake()

    def _set_transport(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        # So that `_writing` tells whether anything is left. A TLS transport would be paused at a limit of 0 for good.
        transport.set_write_buffer_limits(high=1 if transport.get_extra_info("ssl_object") else 0, low=0)
