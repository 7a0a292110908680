"""Builds the requests of one run, and sends them: what they have in common is made once.

It stands where an `httpx.AsyncClient` would, whose cookies, redirects, authentication and hooks no request may use.
"""

from collections.abc import Iterable
from functools import lru_cache

import httpx

from adsyncd import __version__
from adsyncd.platforms.call import Call
from adsyncd.platforms.parts import Url
from adsyncd.telemetry import CALL


@lru_cache
def address(base_url: str) -> httpx.URL:
    """Return the parsed address of a platform, of which there are few."""
    return httpx.URL(base_url)


class Requests:
    """The requests of one client id to the server at `base_url`. `headers` go with each, in place of the usual ones.

    `path`: all their paths are below it. `timeout_s`: the whole time of a request. Connecting has half of it, so that
    its failure is known before the end.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        base_url: str,
        headers: Iterable[tuple[bytes, bytes]],
        timeout_s: float,
    ) -> None:
        self._transport = transport
        self._base = base = address(base_url)
        self.path = base.raw_path.decode("ascii").rstrip("/")
        self._timeouts = httpx.Timeout(timeout_s, connect=timeout_s / 2).as_dict()
        usual = {
            b"host": base.netloc,
            b"user-agent": f"adsyncd/{__version__}".encode("ascii"),
            b"accept": b"application/json",
            b"accept-encoding": b"identity",
        }
        self._headers = [*{**usual, **dict(headers)}.items()]

    def build(
        self,
        method: str,
        path: str,
        call: Call,
        headers: list[tuple[bytes, bytes]],
        *,
        query: str | None = None,
        body: bytes = b"",
        media: bytes = b"application/json",
    ) -> httpx.Request:
        """Return a request for `path`, which begins with a slash; it and `query` are quoted. `media`: of the body."""
        fields = [*self._headers, *headers]
        if method != "GET":
            fields.append((b"content-length", b"%d" % len(body)))
        if body:
            fields.append((b"content-type", media))
        return httpx.Request(
            method,
            Url(self._base, self.path + path, query),
            headers=fields,
            stream=httpx.ByteStream(body),
            extensions={CALL: call, "timeout": self._timeouts},
        )

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return the answer, read whole. See `GovernedTransport`."""
        return await self._transport.handle_async_request(request)
