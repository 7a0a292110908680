"""The process at the other end of the control socket, as the kernel reports it (SO_PEERCRED)."""

import socket
import struct
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Scope

_EXTENSION = "adsyncd.peer"
_UCRED = struct.Struct("3i")  # unix(7), SO_PEERCRED


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected: its pid, and the uid and gid that it ran as."""

    pid: int
    uid: int
    gid: int


def connected_by(connection: socket.socket) -> Peer:
    """Return the process that connected, as the kernel reports it."""
    return Peer(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def note(scope: Scope, peer: Peer) -> None:
    """Store the peer in a request's scope."""
    scope.setdefault("extensions", {})[_EXTENSION] = peer


def peer_of(request: Request) -> Peer | None:
    """Return the request's peer, or None without a socket (in tests)."""
    peer: Peer | None = request.scope.get("extensions", {}).get(_EXTENSION)
    return peer
