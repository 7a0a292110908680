"""A process that runs out of file descriptors."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from resource import RLIMIT_NOFILE, getrlimit, setrlimit


@contextmanager
def exhausted(*, left: int = 0) -> Iterator[None]:
    """Let this process have no file descriptor, but for so many."""
    before = getrlimit(RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    setrlimit(RLIMIT_NOFILE, (free + 50, before[1]))
    held: list[int] = []
    try:
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            for descriptor in held[:left]:
                os.close(descriptor)
            del held[:left]
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        setrlimit(RLIMIT_NOFILE, before)
