"""The process that owns a record in the store, and whether it is still alive.

While it is alive, a process has a Unix socket bound to a unique name in Linux's abstract namespace. The kernel frees
the name when the process ends, in whatever way. Processes in the same network namespace and boot see that at once.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random


@dataclass(frozen=True, slots=True)
class ProcessOwner:
    """A process. `id`: a description for humans, a semicolon, and its boot, network namespace and unique name."""

    id: str

    def is_gone(self, other: str) -> bool:
        """Return whether the process with the id `other` has certainly ended; False if that can't be seen from here."""
        place, name = _address(other)
        if not place or place != _address(self.id)[0]:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
                probe.connect(_socket_name(name))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False


@contextmanager
def open_owner(boot_id: str, random: Random) -> Iterator[ProcessOwner]:
    """Yield this process' owner, which others can see to be alive while the block runs; `random` makes its name."""
    name = f"{random.getrandbits(128):032x}"
    try:
        namespace = str(Path("/proc/self/ns/net").readlink())
    except OSError:
        namespace = name  # a namespace of its own: no process can see whether this one is alive
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as alive:
        alive.bind(_socket_name(name))
        yield ProcessOwner(f"process {os.getpid()} on {socket.gethostname()}; {boot_id} {namespace} {name}")


def _address(owner: str) -> tuple[str, str]:
    """Return the boot and network namespace of an owner, and its name; empty if its id has neither."""
    place, _, name = owner.partition("; ")[2].rpartition(" ")
    return place, name


def _socket_name(name: str) -> str:
    return f"\0adsyncd-{name}"
