"""A simulated network to the ad platforms: ASGI applications in this process, behind links with latency.

    client ──there──► arrives: the platform counts it ──► answers ──back──► client

A sent request continues in a task of the platform, even if its client gives up or its process is killed: it may still
take effect. `load_factory` loads applications by name, as uvicorn does.
"""

import importlib
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from email.utils import formatdate
from random import Random
from typing import Any, Protocol, cast

import anyio
import httpx
from anyio.abc import TaskGroup

from adsyncd.errors import ConfigError, Problem
from adsyncd.simulation.virtual_time import START
from mock_api.answers import DROP

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
Factory = Callable[[Any, Callable[[], float]], Application]
"""Creates a platform from its settings (a JSON document) and a clock: seconds since the epoch, never going back."""


def load_factory(name: str) -> Factory:
    """Return the factory that `module:attribute` names. Raises ConfigError if it can't be imported."""
    module, _, attribute = name.partition(":")
    try:
        return cast("Factory", getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        fix = "write MODULE:FACTORY of something that can be imported here"
        raise ConfigError([Problem(None, None, None, f"there is no platform {name} ({error})", fix)]) from error


class Observer(Protocol):
    """Observes the requests that arrive at platforms, and their answers."""

    def arrived(self, request: httpx.Request) -> None:
        """Observe a request that arrives at a platform."""

    def answered(self, request: httpx.Request, status: int, body: bytes) -> None:
        """Observe the answer of a platform."""

    def delivered(self, answer: httpx.Response, owner: str) -> None:
        """Observe an answer that is delivered to a process."""


@dataclass(frozen=True, slots=True)
class Link:
    """A client id's link to its platform: latency in seconds, one way, and shares of failing requests.

    `unreachable`: no connection, the request is not sent. `lost`: it is sent and never arrives.
    """

    shortest_s: float = 0.02
    longest_s: float = 0.2
    unreachable: float = 0.0
    lost: float = 0.0


@dataclass(slots=True)
class _Exchange:
    """A request in flight. `left`: the client has given up; `over`: it has its answer, or never will."""

    request: httpx.Request
    left: anyio.Event = field(default_factory=anyio.Event)
    over: anyio.Event = field(default_factory=anyio.Event)
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)


class Network:
    """All links to the platforms, by the addresses that they answer at. Each client id has its own random numbers.

    `client_of` returns the client id that a request is for.
    """

    def __init__(
        self,
        platforms: Mapping[str, Application],
        links: Mapping[str, Link],
        seed: int,
        client_of: Callable[[httpx.Request], str],
        observer: Observer,
        tasks: TaskGroup,
    ) -> None:
        self._platforms = {httpx.URL(address).netloc: application for address, application in platforms.items()}
        self._client_of = client_of
        self._links = links
        self._random = {client_id: Random(f"{seed}/{client_id}") for client_id in links}  # noqa: S311 - a simulation
        self._observer = observer
        self._tasks = tasks

    def heal(self) -> None:
        """Make all links reliable."""
        self._links = {client_id: Link(link.shortest_s, link.longest_s) for client_id, link in self._links.items()}

    async def send(self, request: httpx.Request, owner: str) -> httpx.Response:
        """Send a process's request and return its answer. Raises httpx's errors; waits for ever without an answer."""
        client_id = self._client_of(request)
        link, random = self._links[client_id], self._random[client_id]
        there_s, back_s = (random.uniform(link.shortest_s, link.longest_s) for _ in range(2))
        draw = random.random()
        if draw < link.unreachable:
            await anyio.sleep(there_s)
            raise httpx.ConnectError("unreachable")
        exchange = _Exchange(request)
        if draw >= link.unreachable + link.lost:
            self._tasks.start_soon(self._serve, exchange, there_s, back_s)
        try:
            await exchange.over.wait()
        finally:
            exchange.left.set()
        if not exchange.status:
            raise httpx.RemoteProtocolError("hung up")
        status, headers, body = exchange.status, exchange.headers, bytes(exchange.body)
        self._observer.delivered(httpx.Response(status, headers=headers, content=body, request=request), owner)
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body), request=request)

    async def ask(self, base_url: str, method: str, path: str, content: object = None) -> Any:  # noqa: ANN401 - JSON
        """Send a request to a platform without latency, metering and observation; return its JSON."""
        origin = httpx.URL(base_url)
        exchange = _Exchange(httpx.Request(method, origin.join(path), json=content))
        await self._answer(exchange)
        assert exchange.status < 300, bytes(exchange.body)  # noqa: S101, PLR2004 - what this program asks for is right
        return json.loads(exchange.body) if exchange.body else None

    async def _serve(self, exchange: _Exchange, there_s: float, back_s: float) -> None:
        await anyio.sleep(there_s)
        self._observer.arrived(exchange.request)
        await self._answer(exchange)
        if exchange.status:
            self._observer.answered(exchange.request, exchange.status, bytes(exchange.body))
        await anyio.sleep(back_s)
        exchange.over.set()

    async def _answer(self, exchange: _Exchange) -> None:
        request = exchange.request
        url = request.url
        unread = [{"type": "http.request", "body": request.read(), "more_body": False}]

        async def receive() -> Message:
            if unread:
                return unread.pop()
            await exchange.left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                # As every server does that has a clock: RFC 9110, 6.6.1.
                date = formatdate(START.timestamp() + anyio.current_time(), usegmt=True)
                exchange.headers = [*message["headers"], (b"date", date.encode())]
            else:
                exchange.body += message.get("body", b"")

        def drop() -> None:
            exchange.over.set()

        scope: Message = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "server": (url.host, url.port),
            "client": None,
            "extensions": {DROP: drop},
        }
        await self._platforms[url.netloc](scope, receive, send)


class Wire(httpx.AsyncBaseTransport):
    """The network of one life of the daemon, its `owner`: once `cut`, no request is sent."""

    def __init__(self, network: Network, owner: str) -> None:
        self._network = network
        self._owner = owner
        self.cut = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; see `Network.send`."""
        if self.cut:
            raise httpx.ConnectError("cut")
        return await self._network.send(request, self._owner)
