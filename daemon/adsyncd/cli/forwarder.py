"""Forwards connections from a TCP port of this machine to a Unix socket, since browsers can't open one.

A socket's file mode says who may connect; a port has none, and every user of the machine can connect to 127.0.0.1.
So the kernel is asked to whom the other end of each connection belongs. Decision 31 says why this way.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import SocketAttribute, SocketStream

from adsyncd.errors import AdsyncdError
from adsyncd.host.tcp_peer import peer_uid
from adsyncd.tasks import beside

HOST = "127.0.0.1"
MOST = 64  # connections; the daemon serves no more
_ANSWER = "HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}"


class Forwarder:
    """Passes connections of the users `uids` on to the Unix socket at `place`, byte by byte, `MOST` at once."""

    def __init__(self, place: Path, uids: Collection[int]) -> None:
        self._place = place
        self._uids = uids
        self._open = 0

    async def serve(self, browser: SocketStream) -> None:
        """Forward a connection until one of its ends closes it."""
        async with browser:
            with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                if not self._may(browser):
                    await browser.send(_answer("403 Forbidden", "this page is served to the user who started it alone"))
                elif self._open >= MOST:
                    await browser.send(_answer("503 Service Unavailable", "too many connections; try again"))
                else:
                    self._open += 1
                    try:
                        await self._forward(browser)
                    finally:
                        self._open -= 1

    def _may(self, browser: SocketStream) -> bool:
        ours = browser.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's
        return peer_uid(ours.getsockname(), ours.getpeername()) in self._uids

    async def _forward(self, browser: SocketStream) -> None:
        try:
            daemon = await anyio.connect_unix(self._place)
        except OSError as error:
            reason = error.strerror or str(error)
            await browser.send(_answer("502 Bad Gateway", f"no daemon answers at {self._place}: {reason}"))
            return
        async with daemon, anyio.create_task_group() as both:
            both.start_soon(_pass, browser, daemon)
            await _pass(daemon, browser)
            both.cancel_scope.cancel()  # the daemon has closed: nothing that the browser sends counts any more


async def _pass(one: SocketStream, other: SocketStream) -> None:
    """Pass on what `one` sends until it sends no more, or one of both breaks off."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for chunk in one:
            await other.send(chunk)
        await other.send_eof()


@asynccontextmanager
async def forwarding(place: Path, uids: Collection[int], port: int = 0) -> AsyncIterator[str]:
    """Forward connections to `place` while the block runs, and yield the address to open, at a free port or at `port`.

    Raises AdsyncdError if the port can't be used.
    """
    try:
        listener = await anyio.create_tcp_listener(local_host=HOST, local_port=port)
    except OSError as error:
        raise AdsyncdError(
            f"can't listen at {HOST}:{port}: {error.strerror or error}; name another --port, or none for a free one"
        ) from error
    async with listener, beside(listener.serve, Forwarder(place, uids).serve):
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
        yield f"http://{HOST}:{port}/"


def _answer(status: str, text: str) -> bytes:
    return _ANSWER.format(status, len(text.encode()), text).encode()
