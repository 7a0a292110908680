"""HTTP on the control socket, where no client can keep the others out.

uvicorn has no time limit for the head of a request or for reading an answer, and its limit counts clients that it waits
for like requests that it works on. So adsyncd counts the two apart.
"""

import asyncio

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from adsyncd.control import peer

HEAD_WITHIN_S = 5.0
HEAD_ON_ITS_WAY_S = 0.1  # a client that connected less than this ago may have sent what is not read yet

_BUSY = PlainTextResponse("adsyncd answers too many others; try again", 503, {"connection": "close"})


class Connection(H11Protocol):
    """A connection. It is closed if the next request's head takes too long.

    If more than `limit_concurrency` connections are open, those that have waited for their clients longest are closed.
    If adsyncd works on that many requests, the next one is answered 503. A request that adsyncd works on is never cut
    off; it counts until the work is done, even if its client has gone.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Ask the kernel who connected, for the application, which gets no socket from uvicorn."""
        super().connection_made(transport)
        assert self.limit_concurrency is not None  # noqa: S101 - `server` sets it
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._working = 0
        app, who = self.app, peer.connected_by(transport.get_extra_info("socket"))

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            peer.note(scope, who)
            respond = _BUSY if sum(one.is_at_work for one in self._all()) >= self._most else app
            self._working += 1
            try:
                await respond(scope, receive, send)
            finally:
                self._working -= 1
                if self.cycle.disconnected:
                    self.connections.discard(self)

        self.app = answer
        self._expect_head()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep counting the connection while adsyncd works on its request."""
        is_answering = not self.waits_for_client
        self._patience.cancel()
        super().connection_lost(exc)
        if is_answering:
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

    def _make_room(self) -> None:
        """Close connections that wait for their clients, the longest first; of the newest only what is beyond twice."""
        now = self.loop.time()
        self._close(len(self.connections) - self._most, now - HEAD_ON_ITS_WAY_S)
        self._close(len(self.connections) - 2 * self._most, now)

    def _close(self, excess: int, waiting_since: float) -> None:
        if excess <= 0:
            return
        waiting = [one for one in self._all() if one is not self and one.waits_for_client]
        for one in sorted(waiting, key=lambda one: one.waits_since)[:excess]:
            if one.waits_since <= waiting_since:
                self.connections.discard(one)  # uvicorn does so only at the loop's next turn
                one.transport.abort()

    def _all(self) -> "list[Connection]":
        return [one for one in self.connections if isinstance(one, Connection)]

    @property
    def is_at_work(self) -> bool:
        """Whether adsyncd works on a request, and its client is not what it waits for."""
        return self._working > 0 and not self.waits_for_client

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def waits_for_client(self) -> bool:
        """Whether it is the client's turn: to ask, to send the rest of a body, or to read the answer."""
        return not self._is_answering or self.cycle.more_body or self.flow.write_paused
