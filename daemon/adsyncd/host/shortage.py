"""What this machine lacks for a connection or a file. Such an error says nothing of the other end, which never knew.

It may lie deep in the chain of what libraries make of it. A resolver hides it altogether, and SQLite, too: they are
taken at their word only if there are descriptors to be had.
"""

import errno
import math
import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import structlog

_DESCRIPTORS = "this process has no file descriptor left; raise LimitNOFILE= of its service, or ulimit -n"
_MACHINE_DESCRIPTORS = "this machine has no file descriptor left; raise fs.file-max"
_MEMORY = "this machine has no memory left for a connection; see what takes it"
_LACKS = {
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: _MACHINE_DESCRIPTORS,
    errno.ENOBUFS: _MEMORY,
    errno.ENOMEM: _MEMORY,
}
_LOOK_UP_TAKES = 4  # file descriptors at once
_TOLD_EVERY_S = 60.0

_log = structlog.stdlib.get_logger(__name__)


def shortage(error: BaseException | None) -> str | None:
    """Return what was lacking when an error arose, and what helps; None if it is of another kind."""
    for one in _chain(error, set()):
        if isinstance(one, socket.gaierror):
            return lacking()
        if isinstance(one, OSError) and one.errno in _LACKS:
            return _LACKS[one.errno]
    return None


def lacking() -> str | None:
    """Return what is lacking now for opening a few files, and what helps; None if nothing is."""
    held: list[int] = []
    try:
        for _ in range(_LOOK_UP_TAKES):
            held.append(os.open(os.devnull, os.O_RDONLY))  # noqa: PERF401 - each is to be closed if the next one fails
    except OSError as error:
        return _LACKS.get(error.errno or 0)
    finally:
        for descriptor in held:
            with suppress(OSError):
                os.close(descriptor)
    return None


class Lacks:
    """Logs what is lacking: each thing once in a while, however many tenants lack it."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}

    def tell(self, lack: str, now: float) -> None:
        """Log it, if that was not done in the last minute; `now` is monotonic, in seconds."""
        if now >= self._told_at.get(lack, -math.inf) + _TOLD_EVERY_S:
            self._told_at[lack] = now
            _log.error("no connection for want of resources", cause=lack)


def _chain(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for one in (*members, error.__cause__, error.__context__):
        yield from _chain(one, seen)
