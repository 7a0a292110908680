"""Who holds what is on record, and whether that process still lives.

For as long as it lives, a process has a Unix socket bound to a name of its own in Linux's abstract namespace. The
kernel frees the name when the process ends, in whatever way: who looks for it from the same network namespace, of the
same boot, knows at once.
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
    """This process. `id`: words for people, a semicolon, and the boot, network namespace and name to look for it by."""

    id: str

    def is_gone(self, other: str) -> bool:
        """Say whether another owner's process is known to have ended; not where that can't be told from here."""
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
    """Be an owner that others can tell to be alive for as long as the block lasts; `random` names it."""
    name = f"{random.getrandbits(128):032x}"
    try:
        namespace = str(Path("/proc/self/ns/net").readlink())
    except OSError:
        namespace = name  # nobody's but ours: from nowhere can be told whether we live
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as alive:
        alive.bind(_socket_name(name))
        yield ProcessOwner(f"process {os.getpid()} on {socket.gethostname()}; {boot_id} {namespace} {name}")


def _address(owner: str) -> tuple[str, str]:
    """Return the place that an owner can be looked for from, and the name; nothing where its id tells neither."""
    place, _, name = owner.partition("; ")[2].rpartition(" ")
    return place, name


def _socket_name(name: str) -> str:
    return f"\0adsyncd-{name}"
