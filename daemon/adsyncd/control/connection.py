"""HTTP on the control socket, where no client can keep the others out.

uvicorn gives a client any time to send the head of a request or to read an answer, and all the while counts it, and the
task that waits to write to it, among those that it serves at once.
"""

import asyncio

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from adsyncd.control import peer

HEAD_WITHIN_S = 5.0

_BUSY = PlainTextResponse("adsyncd answers too many others; try again", 503, {"connection": "close"})


class Connection(H11Protocol):
    """A connection. It is closed if the next request's head takes too long, or if there is no room for a newer one.

    Then the one that has waited for its client longest goes. A request that adsyncd is at work on is never cut off, and
    counts until the work is done, also if its client has gone.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Ask the kernel who connected, for the application, which gets no socket from uvicorn."""
        super().connection_made(transport)
        assert self.limit_concurrency is not None  # noqa: S101 - `server` sets it
        self._most, self.limit_concurrency = self.limit_concurrency, None
        app, who = self.app, peer.connected_by(transport.get_extra_info("socket"))

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            peer.note(scope, who)
            try:
                await (app if self._makes_room() else _BUSY)(scope, receive, send)
            finally:
                if self.cycle.disconnected:
                    self.connections.discard(self)

        self.app = answer
        self._expect_head()
        self._makes_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client, but not what adsyncd does for it."""
        works = not self.waits_for_client
        self._patience.cancel()
        super().connection_lost(exc)
        if works:
            self.connections.add(self)

    def handle_events(self) -> None:
        """Begin to answer a request whose head is complete."""
        super().handle_events()
        if self._is_answering:
            self._patience.cancel()

    def on_response_complete(self) -> None:
        """Wait for the next request, or begin with it if it is there already."""
        self._expect_head()
        super().on_response_complete()

    def _expect_head(self) -> None:
        self.waits_since = self.loop.time()
        self._patience = self.loop.call_later(HEAD_WITHIN_S, self._lose_patience)

    def _lose_patience(self) -> None:
        if self.transport.get_write_buffer_size():  # it may read the last answer as slowly as it likes
            self._patience = self.loop.call_later(HEAD_WITHIN_S, self._lose_patience)
        else:
            self.transport.abort()

    def _makes_room(self) -> bool:
        """Close who waits for its client, until there is room for this one. Return whether there is."""
        while len(self.connections) >= self._most:
            others = [one for one in self.connections if isinstance(one, Connection) and one is not self]
            idle = min((one for one in others if one.waits_for_client), key=lambda one: one.waits_since, default=None)
            if idle is None:
                return False
            self.connections.discard(idle)  # uvicorn does so only at the loop's next turn
            idle.transport.abort()
        return True

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def waits_for_client(self) -> bool:
        """Whether it is the client's turn: to ask, to send the rest of a body, or to read the answer."""
        return not self._is_answering or self.cycle.more_body or self.flow.write_paused
