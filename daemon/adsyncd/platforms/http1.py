"""HTTP/1.1 for httpx: a pool of connections, each of which does one exchange at a time.

    wait for a place ─► an idle connection, or a new one ─► exchange ─► read the body ─► idle again, or closed
                             ▲                                  │
                             └── not one byte has left ◄────────┘

A request that may have left is never sent again here. Source: RFC 9112, 9.3 and 9.5.
"""

import asyncio
import math
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from functools import partial
from http import HTTPStatus

import anyio
import httpx

from adsyncd.host.shortage import shortage
from adsyncd.platforms.addresses import open_socket
from adsyncd.platforms.connection import Connection, NotSent

_PORTS = {"http": 80, "https": 443}
_LACKED_S = 10.0  # after a lack of this machine's resources no connection is kept idle: others wait for them

_Origin = tuple[str, bytes, int | None]


class HTTP1Transport(httpx.AsyncBaseTransport):
    """Sends requests, at most `limits.max_connections` at a time; the others wait, first come, first served.

    A connection is kept for `limits.keepalive_expiry` seconds after its latest answer. A request's time-outs `pool` and
    `connect` count; the deadline of the whole is the caller's. A cancelled request closes its connection. The extension
    `trace` is called with `http11.send_request_body.complete` once a request has been written whole.

    `proxy`: all connections are to it. It opens tunnels to https, and forwards requests to http.

    Raises httpx's errors. After `ConnectError`, `ConnectTimeout`, `PoolTimeout` and `ProxyError` the request has not
    left.
    """

    def __init__(self, tls: ssl.SSLContext, limits: httpx.Limits, proxy: httpx.Proxy | None = None) -> None:
        tls.set_alpn_protocols(["http/1.1"])
        self._tls = tls
        self._proxy = proxy
        self._proxy_headers = _proxy_headers(proxy)
        self._kept_s = limits.keepalive_expiry or 0.0
        self._places = anyio.Semaphore(limits.max_connections or 1, fast_acquire=True)
        self._idle: dict[_Origin, list[Connection]] = {}  # the latest last
        self._open: set[Connection] = set()
        self._lacked_at = -math.inf  # when this machine could not open a connection
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the answer's head with a stream of its body."""
        data = self._serialized(request)
        origin = request.url.scheme, request.url.raw_host, request.url.port
        await self._take_place(request)
        try:
            connection = await self._exchange(origin, request, data)
        except BaseException:
            self._places.release()
            raise
        stream: httpx.AsyncByteStream
        if connection.complete:
            stream = httpx.ByteStream(connection.taken())
            self._give_back(origin, connection)
        else:
            stream = _Body(connection, partial(self._give_back, origin, connection))
        return httpx.Response(connection.status, headers=connection.headers, stream=stream)

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        for connection in tuple(self._open):
            connection.abort()
        while self._open:  # noqa: ASYNC110 - asyncio does it in its next cycles
            await asyncio.sleep(0)

    async def _take_place(self, request: httpx.Request) -> None:
        if self._places.value:
            await self._places.acquire()
            return
        try:
            with anyio.fail_after(_timeout(request, "pool")):
                await self._places.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("all connections are at work") from error

    async def _exchange(self, origin: _Origin, request: httpx.Request, data: bytes) -> Connection:
        while True:
            idle = self._idle_one(origin)
            connection = idle or await self._connected(request)
            try:
                await connection.exchange(data, request.extensions.get("trace"))
            except NotSent as error:
                if idle is None:
                    raise httpx.ConnectError("the connection was closed as soon as it was open") from error
            else:
                return connection

    def _idle_one(self, origin: _Origin) -> Connection | None:
        """Return the connection that was used last, if it is still good, and close those that are not."""
        idle = self._idle.get(origin, [])
        while idle:
            connection = idle.pop()
            if connection.is_silent and asyncio.get_running_loop().time() - connection.idle_since <= self._kept_s:
                return connection
            connection.abort()
        return None

    def _give_back(self, origin: _Origin, connection: Connection) -> None:
        now = asyncio.get_running_loop().time()
        if connection.is_reusable and now - self._lacked_at > _LACKED_S:
            connection.idle_since = now
            self._idle.setdefault(origin, []).append(connection)
        else:
            connection.abort()
        self._places.release()

    async def _connected(self, request: httpx.Request) -> Connection:
        """Return a new connection. Raises `ConnectError`, `ConnectTimeout` and `ProxyError`."""
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + _timeout(request, "connect")) as scope:
                connection = await self._connect(request.url)
            if scope.cancelled_caught:
                raise TimeoutError
        except httpx.ProxyError:
            raise
        except (NotSent, httpx.TransportError) as error:
            raise httpx.ConnectError("the proxy closed the connection, or broke the HTTP protocol") from error
        except OSError as error:
            if shortage(error):
                self._lacked_at = asyncio.get_running_loop().time()
            kind = httpx.ConnectTimeout if isinstance(error, TimeoutError) else httpx.ConnectError
            raise kind(str(error) or type(error).__name__) from error
        if self._closed:
            connection.abort()
            raise httpx.ConnectError("the client was closed meanwhile")
        return connection

    async def _connect(self, url: httpx.URL) -> Connection:
        proxy = self._proxy
        first = url if proxy is None else proxy.url
        connection = await self._opened(*_place(first))
        try:
            if first.scheme == "https":
                own = None if proxy is None else proxy.ssl_context
                await connection.start_tls(own or self._tls, _place(first)[0])
            if proxy is not None and url.scheme == "https":
                await self._open_tunnel(connection, url)
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _opened(self, host: str, port: int) -> Connection:
        loop, opened = asyncio.get_running_loop(), await open_socket(host, port)
        _, connection = await loop.create_connection(partial(Connection, loop, self._open), sock=opened)
        return connection

    async def _open_tunnel(self, connection: Connection, url: httpx.URL) -> None:
        """Have the proxy connect to a server, and speak TLS with that. Source: RFC 9110, 9.3.6."""
        host, port = _place(url)
        target = f"{f'[{host}]' if ':' in host else host}:{port}".encode("ascii")
        head = _head(b"CONNECT", target, [(b"host", target), *self._proxy_headers])
        await connection.exchange(head, None, tunnels=True)
        if not HTTPStatus.OK <= connection.status < HTTPStatus.MULTIPLE_CHOICES:
            raise httpx.ProxyError(str(connection.status))
        await connection.start_tls(self._tls, host)

    def _serialized(self, request: httpx.Request) -> bytes:
        assert isinstance(request.stream, httpx.ByteStream)  # noqa: S101 - no request of ours is streamed
        url, target, headers = request.url, request.url.raw_path, request.headers.raw
        if self._proxy is not None and url.scheme == "http":
            target = b"http://" + url.netloc + target
            headers = [*headers, *self._proxy_headers]
        return _head(request.method.encode("ascii"), target, headers) + b"".join(request.stream)


class _Body(httpx.AsyncByteStream):
    """The rest of an answer. Closing it gives the connection back; a failure or a cancellation closes it."""

    def __init__(self, connection: Connection, give_back: Callable[[], None]) -> None:
        self._connection = connection
        self._give_back: Callable[[], None] | None = give_back

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._connection.body():
                yield data
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()


def _head(method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return a request's head. Raises `LocalProtocolError` if a part of it would begin another line."""
    lines = [b"%b %b HTTP/1.1" % (method, target), *[b"%b: %b" % header for header in headers], b"", b""]
    head = b"\r\n".join(lines)
    if not head.count(b"\n") == head.count(b"\r") == len(lines) - 1 or b"\0" in head:
        raise httpx.LocalProtocolError("a header holds a line break")
    return head


def _proxy_headers(proxy: httpx.Proxy | None) -> list[tuple[bytes, bytes]]:
    if proxy is None or proxy.raw_auth is None:
        return []
    return [(b"Proxy-Authorization", b"Basic " + b64encode(b"%b:%b" % proxy.raw_auth))]


def _place(url: httpx.URL) -> tuple[str, int]:
    return url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]


def _timeout(request: httpx.Request, name: str) -> float:
    """Return one of a request's time-outs in seconds, infinite without one."""
    seconds: float | None = request.extensions.get("timeout", {}).get(name)
    return math.inf if seconds is None else seconds
