"""Serves the ad platform on 127.0.0.1 until it is killed."""

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from mock_api.answers import DROP
from mock_api.app import create_app
from mock_api.options import READY, document, parser

_KEEP_ALIVE_S = 75


class _PlatformServer(uvicorn.Server):
    """Leaves signals to the system, so that a hanging request can't delay the end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class _DroppableConnection(H11Protocol):
    """HTTP, with a way for the app to close the connection without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Hand the transport's `abort` to the app."""
        super().connection_made(transport)
        app = self.app

        async def with_drop(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[DROP] = transport.abort
            await app(scope, receive, send)

        self.app = with_drop


def main() -> None:
    """Serve until SIGINT or SIGTERM; exit 2 with the reason if the options or the settings are wrong."""
    arguments = parser()
    options = arguments.parse_args()
    started = time.time() - time.monotonic()  # noqa: TID251 - the only place that reads the clock
    try:
        app = create_app(document(options), lambda: started + time.monotonic())
        listener = socket.create_server(("127.0.0.1", options.port))
    except (OSError, ValueError) as error:
        arguments.error(str(error))
    # asyncio does it only for sockets that name their protocol, and create_server's don't: 40 ms a request.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    config = uvicorn.Config(
        app,
        http=_DroppableConnection,
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_level="error",
        timeout_keep_alive=_KEEP_ALIVE_S,
        ssl_certfile=options.certfile,
        ssl_keyfile=options.keyfile,
    )
    scheme = "https" if options.certfile else "http"
    print(f"{READY}{scheme}://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # noqa: T201 - a promise
    _PlatformServer(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
