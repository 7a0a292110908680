"""The user at the other end of a TCP connection from this machine, as the kernel reports it (proc_pid_net(5)).

Unix sockets have SO_PEERCRED for that. For TCP, the kernel lists the sockets of the machine with their owners.
"""

import socket
import sys
from contextlib import suppress
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"
_TRIES = 3  # the kernel does not list all sockets of one instant: others that end meanwhile may hide one
_MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address in a socket for IPv6

Address = tuple[str, int]


def peer_uid(ours: Address, theirs: Address) -> int | None:
    """Return the user of the socket at `theirs` that is connected to `ours`, or None if the kernel names none.

    Both are IPv4 addresses. Blocks for a moment: the kernel lists all sockets.
    """
    for _ in range(_TRIES):
        for table in _TABLES:
            with suppress(OSError):  # without IPv6 there is no second table
                if (uid := owner(table.read_text(encoding="ascii"), theirs, ours)) is not None:
                    return uid
    return None


def owner(table: str, local: Address, remote: Address) -> int | None:
    """Return the owner of an established connection in a table of sockets. A socket without a file has none."""
    ends = {tuple(f"{_hex(prefix, ip)}:{port:04X}" for ip, port in (local, remote)) for prefix in (b"", _MAPPED)}
    for line in table.splitlines()[1:]:
        _, here, there, state, _, _, _, uid, _, inode, *_ = line.split()
        if state == _ESTABLISHED and (here, there) in ends and inode != "0":
            return int(uid)
    return None


def _hex(prefix: bytes, ip: str) -> str:
    """Return an address as the kernel prints it: words of 32 bits in the machine's order of bytes."""
    address = prefix + socket.inet_aton(ip)
    words = (address[at : at + 4] for at in range(0, len(address), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
