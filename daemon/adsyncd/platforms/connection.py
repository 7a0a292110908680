"""One HTTP/1.1 connection: it sends a request, reads the answer to it, and is good for the next one or closed.

What the peer sends is bounded in number and size, whatever it means, and is worked through in pieces of what one read
of the socket brings. So no peer holds the event loop or memory.

    idle ──exchange──► awaits the head ──► reads the body ──► complete ──► idle, if nothing speaks against it
                             └──────────────────┴── the peer breaks off, or breaks the protocol ──► closed
"""

import asyncio
import re
import select
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import cast

import httpx
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

MOST_HEADERS = 256  # of one head
MOST_INTERIM = 16  # answers (1xx) before the final one
MOST_FRAMING = 64 * 1024  # by how many bytes all else of an answer (heads, sizes of chunks, trailers) exceeds its body
_MOST_UNREAD = 256 * 1024  # bytes of a body that wait for its reader
_AT_ONCE = 16 * 1024  # bytes between two looks at the bounds
_LOOK_AGAIN_S = 0.005
_VERSIONS = frozenset({"1.0", "1.1"})
_FRAMED_BY = frozenset({b"content-length", b"transfer-encoding"})
_BEGINNING, _HEAD_ENDS = b"HTTP/", b"\r\n\r\n"
_CONTROLS = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]")
_MORE = "there is more than the answer"

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
        self._layers: list[asyncio.Transport] = []  # TCP, and each TLS over it
        self._socket = select.poll()
        self._parser: HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._lost = False
        self._tunnels = False
        self._begun = False  # the final answer's head is complete
        self._ends_with_connection = False  # the answer's body does
        self._reusable = True
        self._reading = True
        self._body = bytearray()  # what has arrived and was not taken
        self._head = b""  # what has arrived up to the end of the final head, and maybe more
        self._framing = 0
        self._interim = 0

    # What its owner asks for

    async def exchange(self, request: bytes, trace: Trace | None, *, tunnels: bool = False) -> None:
        """Send a request, and return once the head of the answer is in `status` and `headers`.

        `trace` is told once the request has been written whole, unless the answer begins before. After a request that
        `tunnels`, an answer of 2xx has no body (RFC 9110, 9.3.6). Raises `NotSent` and httpx's errors, which close the
        connection, as a cancellation does.
        """
        self.complete = self._begun = self._ends_with_connection = False
        self._tunnels = tunnels
        self._framing = self._interim = 0
        self._head = b""
        self.headers = []
        self._parser = HttpResponseParser(self)
        try:
            self._send(request)
            if await self._written() and trace is not None:
                await trace("http11.send_request_body.complete", {})
            while not self._begun:
                await self._change()
        except BaseException:
            self.abort()
            raise

    def taken(self) -> bytes:
        """Return what has arrived of the body since the last call."""
        data = bytes(self._body)
        self._body.clear()
        if not self._reading and not self._lost:
            self._reading = True
            self._layers[-1].resume_reading()
        return data

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
        """Whether another request may follow: the answer is complete and was taken, and nothing but it has arrived."""
        return self.complete and self._reusable and not self._lost and not self._body and not self._unwritten

    @property
    def is_silent(self) -> bool:
        """Whether an idle connection has nothing to say: neither bytes that nobody asked for nor its end."""
        return self.is_reusable and not self._is_closing and not self._socket.poll(0)

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Speak TLS from now on. Raises `OSError`, also if the peer has spoken before."""
        try:
            transport = await self._secured(context, host)
        except BaseException:
            self._forget()  # after a failed handshake asyncio tells nobody of the connection's end
            raise
        self._layers.append(transport)

    def abort(self) -> None:
        """Close at once."""
        self._reusable = False
        self._parser = None
        self._layers[-1].abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection's transport."""
        self._socket.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._layers.append(cast("asyncio.Transport", transport))  # uvloop's is none by its classes
        self._among.add(self)

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
        elif len(self._body) > _MOST_UNREAD and self._reading:
            self._reading = False
            self._layers[-1].pause_reading()
        if self._begun:
            self._wake()

    def eof_received(self) -> None:
        """End a body that has no other end, and fail any other answer; asyncio closes the connection."""
        if self.complete:
            return
        if self._begun and self._ends_with_connection and not self._is_cut_off:
            self.complete, self._reusable = True, False
            self._wake()
        else:
            self._break_off()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is still awaited."""
        self._forget()
        if not self.complete and self._error is None:
            self._break_off(error)

    # What the parser calls

    def on_message_begin(self) -> None:
        """Refuse a second answer."""
        if self.complete:
            raise _Refused(_MORE)

    def on_status(self, reason: bytes) -> None:
        """Refuse a reason that is no text. Source: RFC 9112, 4."""
        if _CONTROLS.search(reason):
            raise _Refused("the answer's first line holds control characters")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, and drop a trailer. Raises `_Refused` for one too many."""
        if self._begun:
            return
        self.headers.append((name, value.strip(b" \t")))
        if len(self.headers) > MOST_HEADERS:
            raise _Refused(f"the answer has more than {MOST_HEADERS} headers")

    def on_headers_complete(self) -> None:
        """Begin the answer, unless it is an interim one. Raises `_Refused`."""
        assert self._parser is not None  # noqa: S101 - who else calls
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        head = self._head.split(_HEAD_ENDS, self._interim + 1)[self._interim]  # interim answers have no body
        if version not in _VERSIONS or status < HTTPStatus.CONTINUE or not head.startswith(_BEGINNING):
            raise _Refused("the answer's first line is not that of HTTP/1.1")  # the parser takes RTSP, too
        framed_by = [(name.lower(), value.lower()) for name, value in self.headers if name.lower() in _FRAMED_BY]
        codings = [value for name, value in framed_by if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            raise _Refused("the answer's transfer coding is not chunked alone")
        if status < HTTPStatus.OK:
            self._go_on_after_interim(status)
            return
        self.status, self._begun, self._head = status, True, b""
        self.complete = self._tunnels and status < HTTPStatus.MULTIPLE_CHOICES
        self._ends_with_connection = not framed_by
        if version == "1.0" and codings:  # RFC 9112, 6.1
            self._reusable = False

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body. Raises `_Refused` if there should be none."""
        if self.complete:
            raise _Refused(_MORE)
        self._body += data
        self._framing -= 2 * len(data)  # it is counted among all bytes, and may be framed by as many

    def on_message_complete(self) -> None:
        """End the answer, unless it is an interim one."""
        if self._begun and not self.complete:
            assert self._parser is not None  # noqa: S101 - who else calls
            self.complete = True
            self._reusable = self._reusable and self._parser.should_keep_alive()

    def _go_on_after_interim(self, status: int) -> None:
        self.headers = []
        self._interim += 1
        if self._interim > MOST_INTERIM or status == HTTPStatus.SWITCHING_PROTOCOLS:
            raise _Refused("an interim answer ends HTTP or is one too many")

    def _feed(self, parser: HttpResponseParser, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if self.complete:
                raise _Refused(_MORE)
            size = min(len(rest), _AT_ONCE)
            if size == len(rest) > 1 and data.endswith((b"\r", b"\n")):
                size -= 1  # the parser would skip a line's end that follows the answer
            piece, rest = rest[:size], rest[size:]
            if not self._begun:
                self._head += piece
            self._framing += size
            parser.feed_data(piece)
            if self._framing > MOST_FRAMING:
                raise _Refused(f"the answer is framed by {MOST_FRAMING} bytes more than it has")

    async def _secured(self, context: ssl.SSLContext, host: str) -> asyncio.Transport:
        if not self.is_reusable or self._is_closing:
            raise ConnectionResetError(f"{host} spoke before the TLS handshake, or closed the connection")
        transport = await self._loop.start_tls(self._layers[-1], self, context, server_hostname=host)
        if transport is None:
            raise ConnectionResetError(f"{host} closed the connection during the TLS handshake")
        return transport

    def _send(self, request: bytes) -> None:
        if not self._is_closing:
            self._layers[-1].write(request)
        if self._is_closing:  # the socket refused the first byte
            raise NotSent

    async def _written(self) -> bool:
        """Wait until the socket has taken the request, or the answer begins. Return whether the socket has."""
        delay_s = 0.0  # uvloop writes at the end of its cycle
        while self._unwritten and not self._begun:
            look_again = self._loop.call_later(delay_s, self._wake)  # asyncio's TLS tells of it too early
            delay_s = _LOOK_AGAIN_S
            try:
                await self._change()
            finally:
                look_again.cancel()
        return not self._unwritten

    async def _change(self) -> None:
        """Wait until something arrives, or the connection fails. Raises the failure."""
        if self._error is None:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._error is not None:
            raise self._error

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break_off(self, error: Exception | None = None) -> None:
        if error is None:
            what = "during its answer" if self._begun else "before it answered"
            self._fail(httpx.RemoteProtocolError(f"the peer closed the connection {what}"))
        else:
            kind = httpx.RemoteProtocolError if isinstance(error, ssl.SSLError) else httpx.ReadError
            self._fail(kind(str(error)))

    def _fail(self, error: Exception) -> None:
        self._error = error
        self.abort()
        self._wake()

    def _forget(self) -> None:
        self._lost = True
        self._among.discard(self)

    @property
    def _is_closing(self) -> bool:
        return any(layer.is_closing() for layer in self._layers)

    @property
    def _unwritten(self) -> bool:
        """Whether a part of the request waits for the socket."""
        return any(layer.get_write_buffer_size() for layer in self._layers)

    @property
    def _is_cut_off(self) -> bool:
        """Whether TLS ended without saying so, as it does if somebody else cuts the connection (RFC 9112, 9.8)."""
        tls = self._layers[-1].get_extra_info("ssl_object")
        try:
            return tls is not None and bool(tls.read(1))
        except ssl.SSLError:
            return True
