"""Python's garbage collector, which with its defaults takes a fifth of a busy daemon's CPU time.

It finds objects in cycles; all others are freed without it. See docs/decisions/0022-a-collector-that-runs-seldom.md.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_COLLECTED_AFTER = 10_000  # objects that were made and not freed; Python's default is 700


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Have the collector leave alone what exists, and visit what is made during the block more seldom."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
