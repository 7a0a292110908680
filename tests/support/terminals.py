"""Terminals in which commands run."""

import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio


def open_terminal(rows: int, columns: int) -> tuple[int, int]:
    """Return the two ends of a new terminal of that size: the test's, and the command's."""
    ours, theirs = pty.openpty()
    resize(theirs, rows, columns)
    return ours, theirs


def resize(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


async def reading(ours: int) -> AsyncIterator[bytes]:
    """Yield what comes out of a terminal or a pipe, until nobody has its other end."""
    with suppress(OSError):  # how Linux says that of a terminal
        while True:
            await anyio.wait_readable(ours)
            if not (more := os.read(ours, 65536)):
                return  # and of a pipe
            yield more
