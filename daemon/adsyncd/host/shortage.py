"""Recognizes errors caused by exhausted resources of this machine, which say nothing about the other end.

The original error may be deep in a library's chain of exceptions. The resolver and SQLite hide it completely: their
errors count as the other end's only if file descriptors are available.
"""

import errno
import math
import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import structlog

from adsyncd.errors import OutOfResources

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
    """Return the resource that an error lacked and the fix; None for other errors."""
    for one in _chain(error, set()):
        if isinstance(one, OutOfResources):
            return str(one)  # found when it was raised; it may be over by now
        if isinstance(one, socket.gaierror):
            return lacking()
        if isinstance(one, OSError) and one.errno in _LACKS:
            return _LACKS[one.errno]
    return None


def lacking() -> str | None:
    """Return the resource that is missing now for opening a few files, and the fix; None if none is."""
    held: list[int] = []
    try:
        for _ in range(_LOOK_UP_TAKES):
            held.append(os.open(os.devnull, os.O_RDONLY))  # noqa: PERF401 - all opened so far are closed if one fails
    except OSError as error:
        return _LACKS.get(error.errno or 0)
    finally:
        for descriptor in held:
            with suppress(OSError):
                os.close(descriptor)
    return None


class Lacks:
    """Logs each missing resource once a minute, however many tenants lack it."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}

    def tell(self, lack: str, now: float) -> None:
        """Log `lack` unless it was logged within the last minute; `now` is monotonic, in seconds."""
        if now >= self._told_at.get(lack, -math.inf) + _TOLD_EVERY_S:
            self._told_at[lack] = now
            _log.error("out of resources for connections", cause=lack)


def _chain(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for one in (*members, error.__cause__, error.__context__):
        yield from _chain(one, seen)
