"""Who is at the other end of the control socket, as the kernel says: a client can't claim to be somebody else."""

import socket
import struct
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Scope

_EXTENSION = "adsyncd.peer"
_UCRED = struct.Struct("3i")  # unix(7), SO_PEERCRED


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected: its id, and the user and group that it ran as."""

    pid: int
    uid: int
    gid: int


def connected_by(connection: socket.socket) -> Peer:
    """Ask the kernel who connected."""
    return Peer(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def note(scope: Scope, peer: Peer) -> None:
    """Say in a request's scope who asks."""
    scope.setdefault("extensions", {})[_EXTENSION] = peer


def peer_of(request: Request) -> Peer | None:
    """Return who asks, or None where no socket is between (in tests)."""
    peer: Peer | None = request.scope.get("extensions", {}).get(_EXTENSION)
    return peer
