"""HTTP connections on the control socket, with limits so that no client can block the others.

uvicorn has no timeout for a request's head or for a client that reads slowly, and its `limit_concurrency` counts idle
connections as requests. This module has the timeouts, and counts connections and requests separately.
"""

import asyncio

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from adsyncd.control import peer

HEAD_WITHIN_S = 5.0
HEAD_ON_ITS_WAY_S = 0.1  # a younger connection may have sent a request that is not read yet

_BUSY = PlainTextResponse("adsyncd is busy with too many requests; try again", 503, {"connection": "close"})


class LimitedConnection(H11Protocol):
    """A connection, closed if the head of its next request takes longer than `HEAD_WITHIN_S`.

    If more than `limit_concurrency` connections are open, those that have waited for their clients longest are closed.
    If as many requests are in progress, the next one is answered 503. A request in progress is never cut off. It counts
    until it is done, even if its client has disconnected.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Read the peer's identity from the socket, and pass it to the application."""
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
        """Keep counting the connection while its request is in progress."""
        is_answering = not self.waits_for_client
        self._head_timer.cancel()
        super().connection_lost(exc)
        if is_answering:
            self.connections.add(self)

    def handle_events(self) -> None:
        """Stop the timer once a request's head is complete."""
        super().handle_events()
        if self._is_answering:
            self._head_timer.cancel()

    def on_response_complete(self) -> None:
        """Start the timer for the next request's head."""
        self._expect_head()
        super().on_response_complete()

    def _expect_head(self) -> None:
        self.waits_since = self.loop.time()
        self._head_timer = self.loop.call_later(HEAD_WITHIN_S, self._head_timed_out)

    def _head_timed_out(self) -> None:
        if self.transport.get_write_buffer_size():  # no limit for reading the last answer
            self._head_timer = self.loop.call_later(HEAD_WITHIN_S, self._head_timed_out)
        else:
            self.transport.abort()

    def _make_room(self) -> None:
        """Close idle connections beyond the limit, oldest first; new ones only beyond twice the limit."""
        now = self.loop.time()
        self._close(len(self.connections) - self._most, now - HEAD_ON_ITS_WAY_S)
        self._close(len(self.connections) - 2 * self._most, now)

    def _close(self, excess: int, waiting_since: float) -> None:
        if excess <= 0:
            return
        waiting = [one for one in self._all() if one is not self and one.waits_for_client]
        for one in sorted(waiting, key=lambda one: one.waits_since)[:excess]:
            if one.waits_since <= waiting_since:
                self.connections.discard(one)  # uvicorn does so only in the next cycle of the event loop
                one.transport.abort()

    def _all(self) -> "list[LimitedConnection]":
        return [one for one in self.connections if isinstance(one, LimitedConnection)]

    @property
    def is_at_work(self) -> bool:
        """Whether a request is in progress, and does not wait for its client."""
        return self._working > 0 and not self.waits_for_client

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def waits_for_client(self) -> bool:
        """Whether the client must act: send a request or the rest of its body, or read the answer."""
        return not self._is_answering or self.cycle.more_body or self.flow.write_paused
