"""Serves all metrics to Prometheus, by the SDK's exporter, in a thread with an event loop of its own.

So the event loop of the runs goes on during a scrape of thousands of tenants, and metrics show a daemon whose event
loop is stuck. Connections are bounded in number and time; of too many, the oldest is closed. Only a process that is
scraped imports this.
"""

import gzip
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from http import HTTPStatus
from typing import Any, NamedTuple

import anyio
import anyio.from_thread
import structlog
from anyio.abc import SocketListener, SocketStream, TaskGroup
from anyio.lowlevel import EventLoopToken, current_token
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from adsyncd.clock import Clock, SystemClock
from adsyncd.errors import ConfigError, Problem
from adsyncd.telemetry.metric_readers import Joined
from adsyncd.telemetry.series import SeriesTable
from adsyncd.telemetry.standard_variables import PROMETHEUS_HOST, PROMETHEUS_PORT, scrape_address

_log = structlog.get_logger(__name__)

_FIX_HOST = "use localhost, 0.0.0.0 or an address of this machine"
_BACKLOG = 100
_MOST_CONNECTIONS = 32
_HEAD_S, _HEAD_BYTES = 5.0, 16_384  # for a request
_SENDING_S, _CHUNK_BYTES = 30.0, 65_536  # for an answer
_PAUSE_S = 1.0  # after a connection could not be accepted
_CLOSING_S = 2.0
_COMPRESSION = 1  # levels above save a tenth, and take several times as long
_REST = 4  # times as long as it took to make, an answer is used again: a fifth of a core is the most


def serve(
    environ: Mapping[str, str], series: SeriesTable, resource: Resource
) -> tuple[MetricReader, Callable[[], None]]:
    """Serve all metrics from now on; return the reader for the provider, and a function that ends it.

    Raises ConfigError if the address of the variables can't be used.
    """
    registry = CollectorRegistry()
    listeners = listen(environ)
    reader = ScrapedReader(Joined(series, resource), registry)
    return reader, ScrapeServer(listeners, Pages(registry, SystemClock())).close


class ScrapedReader(PrometheusMetricReader):
    """Collects all metrics whenever `registry` is asked, without labels for scopes."""

    def __init__(self, joined: Joined, registry: CollectorRegistry) -> None:
        self._joined = joined
        super().__init__(scope_info_enabled=False, registry=registry)

    def collect(self, timeout_millis: float = 10_000) -> None:  # type: ignore[misc]  # it is final, without another way
        """Collect all metrics."""
        collect: Any = self._collect  # None until a provider has the reader
        self._receive_metrics(self._joined.with_series(collect and collect(self, timeout_millis=timeout_millis)))


class _Page(NamedTuple):
    """All metrics in one format. `good_until`: the monotonic instant up to which it is sent again."""

    content: bytes
    zipped: bytes
    good_until: float


class Pages:
    """Renders the metrics. Not thread-safe."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._pages: dict[str, _Page] = {}  # by content type, of which there are few

    def render(self, accept: str, *, zipped: bool) -> tuple[bytes, str]:
        """Return all metrics in the format that an `Accept` header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        began = self._clock.monotonic()
        page = self._pages.get(content_type)
        if page is None or page.good_until < began:
            self._pages.clear()
            content = encode(self._registry)
            compressed = gzip.compress(content, _COMPRESSION)
            ended = self._clock.monotonic()
            page = self._pages[content_type] = _Page(content, compressed, ended + _REST * (ended - began))
        return page.zipped if zipped else page.content, content_type


def listen(environ: Mapping[str, str]) -> list[socket.socket]:
    """Listen at the address of the variables. Raises ConfigError if that is impossible."""
    host, port = scrape_address(environ)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        what = f"{host!r} can't be looked up: {error.strerror}"
        raise ConfigError([Problem(None, None, PROMETHEUS_HOST, what, _FIX_HOST)]) from error
    with ExitStack() as opened:
        listeners = []
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                listeners.append(opened.enter_context(_listener(family, address)))
            except OSError as error:
                if error.errno in (EADDRNOTAVAIL, EAFNOSUPPORT):
                    continue  # localhost has two addresses, and a machine without IPv6 lacks one
                what = f"can't listen at {host}:{port} for Prometheus: {error.strerror}"
                fix = "choose a free port, or stop the program that has it"
                raise ConfigError([Problem(None, None, PROMETHEUS_PORT, what, fix)]) from error
        if not listeners:
            what = f"{host!r} is no address of this machine"
            raise ConfigError([Problem(None, None, PROMETHEUS_HOST, what, _FIX_HOST)])
        opened.pop_all()
        return listeners


def _listener(family: int, address: Any) -> socket.socket:  # noqa: ANN401 - as getaddrinfo returns it
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class ScrapeServer:
    """Answers `GET /metrics` at its listeners, from its creation until it is closed."""

    def __init__(self, listeners: Sequence[socket.socket], pages: Pages) -> None:
        self._listeners = listeners
        self._pages = pages
        self._open: dict[anyio.CancelScope, None] = {}  # connections, the oldest first
        self._serving = threading.Event()
        self._token: EventLoopToken
        self._scope: anyio.CancelScope
        self._thread = threading.Thread(target=anyio.run, args=(self._serve,), name="scrapes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close all connections and listeners. An answer in progress may be finished within two seconds."""
        if self._serving.wait(_CLOSING_S):
            with suppress(anyio.RunFinishedError):
                anyio.from_thread.run_sync(self._scope.cancel, token=self._token)
        self._thread.join(_CLOSING_S)

    async def _serve(self) -> None:
        async with anyio.create_task_group() as tasks:
            self._scope, self._token = tasks.cancel_scope, current_token()
            for listener in self._listeners:
                tasks.start_soon(self._accept, await SocketListener.from_socket(listener), tasks)
            self._serving.set()

    async def _accept(self, listener: SocketListener, tasks: TaskGroup) -> None:
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError:  # no file descriptor is free
                    await anyio.sleep(_PAUSE_S)
                    continue
                scope = anyio.CancelScope()
                self._open[scope] = None
                if len(self._open) > _MOST_CONNECTIONS:
                    next(iter(self._open)).cancel()
                tasks.start_soon(self._answer, stream, scope)

    async def _answer(self, stream: SocketStream, scope: anyio.CancelScope) -> None:
        """Answer one request, and close the connection. Raises nothing: the next scrape matters, not this client."""
        try:
            with scope:
                async with stream:
                    with anyio.fail_after(_HEAD_S):
                        head = await _head(stream)
                    answer = self._answered(head)
                    with anyio.fail_after(_SENDING_S):
                        for start in range(0, len(answer), _CHUNK_BYTES):  # a slow client holds one chunk in memory
                            await stream.send(answer[start : start + _CHUNK_BYTES])
        except (TimeoutError, OSError, anyio.BrokenResourceError, anyio.EndOfStream):
            pass
        except Exception:  # noqa: BLE001 - a mistake of ours costs one scrape
            _log.exception("metrics can't be served")
        finally:
            self._open.pop(scope, None)

    def _answered(self, head: bytes) -> bytes:
        """Return the answer to a request."""
        request, *fields = head.decode("latin-1").split("\r\n")
        method, _, rest = request.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path != "/metrics":
            return _response(HTTPStatus.NOT_FOUND, b"metrics are at /metrics\n")
        if method != "GET":
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, b"", {"Allow": "GET"})
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        zipped = "gzip" in headers.get("accept-encoding", "")
        content, content_type = self._pages.render(headers.get("accept", ""), zipped=zipped)
        encoding = {"Content-Encoding": "gzip"} if zipped else {}
        return _response(HTTPStatus.OK, content, {"Content-Type": content_type, **encoding})


async def _head(stream: SocketStream) -> bytes:
    """Return the head of a request. Raises EndOfStream for anything too long."""
    head = b""
    while b"\r\n\r\n" not in head:
        if len(head) > _HEAD_BYTES:
            raise anyio.EndOfStream
        head += await stream.receive()
    return head.partition(b"\r\n\r\n")[0]


def _response(status: HTTPStatus, content: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    fields = {"Content-Type": "text/plain; charset=utf-8", **(headers or {}), "Content-Length": len(content)}
    lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + content
