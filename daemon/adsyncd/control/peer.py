"""Who is at the other end of the control socket, as the kernel says: a client can't claim to be somebody else."""

import asyncio
import socket
import struct
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_EXTENSION = "adsyncd.peer"
_UCRED = struct.Struct("3i")  # unix(7), SO_PEERCRED


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected: its id, and the user and group that it ran as."""

    pid: int
    uid: int
    gid: int


class Connection(H11Protocol):
    """HTTP on a Unix socket. Hands the peer on to the application, which gets no socket from uvicorn."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Ask the kernel who connected."""
        super().connection_made(transport)
        credentials = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        app, peer = self.app, Peer(*_UCRED.unpack(credentials))

        async def with_peer(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[_EXTENSION] = peer
            await app(scope, receive, send)

        self.app = with_peer


def peer_of(request: Request) -> Peer | None:
    """Return who asks, or None where no socket is between (in tests)."""
    peer: Peer | None = request.scope.get("extensions", {}).get(_EXTENSION)
    return peer
