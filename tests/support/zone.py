"""The time zone of this process."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def in_zone(name: str) -> Iterator[None]:
    """Be in a time zone, such as `Europe/Berlin`."""
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("TZ", name)
        time.tzset()
        try:
            yield
        finally:
            environ.undo()
            time.tzset()
