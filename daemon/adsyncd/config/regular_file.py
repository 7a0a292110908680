"""Reads a file that an operator names. Opening a pipe would block for ever, and a device might never end."""

import os
import stat
from pathlib import Path


class NotRegular(OSError):
    """There is something else in the place of the file: a pipe, a device or a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.strerror = "no regular file"


def read_regular(path: Path, most_bytes: int) -> bytes:
    """Return what is in the file, but at most one byte more than `most_bytes`. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a directory is told by `open` below
            raise NotRegular
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most_bytes + 1)
    finally:
        os.close(descriptor)
