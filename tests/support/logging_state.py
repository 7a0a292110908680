"""Logging belongs to the whole process: a test that configures it has to give it back."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def restored_logging() -> Iterator[None]:
    """Begin without handlers; afterwards all is as before, structlog included."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.getLogger("adsyncd").setLevel(logging.NOTSET)
        structlog.reset_defaults()
