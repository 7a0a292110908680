"""A web server in this process, for answers that a test wants to write itself."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import anyio
import uvicorn
from starlette.types import ASGIApp


class _Server(uvicorn.Server):
    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]  # signals are the test's
        return nullcontext()


@asynccontextmanager
async def serving(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """Serve `app` on 127.0.0.1, at a free port or at `port`, and yield its address, without a slash at its end."""
    listener = socket.create_server(("127.0.0.1", port))
    # What is accepted inherits it. Else an answer in two parts takes 40 ms more: asyncio overlooks sockets made so.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = _Server(uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1))

    async def serve() -> None:
        with anyio.CancelScope(shield=True):  # ends in order, by `should_exit`
            await server.serve([listener])

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
