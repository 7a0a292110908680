"""Python's garbage collector, which with its defaults takes a fifth of a busy daemon's CPU time.

It finds objects in cycles; all others are freed without it. See docs/decisions/0022-a-collector-that-runs-seldom.md.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Objects that were made and not freed before the youngest are visited, and how often that happens before the middle
# generation is visited, and that before the oldest one is. Python's defaults are 700, 10 and 10.
_THRESHOLDS = 10_000, 2, 300


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Have the collector leave alone what exists, and visit what is made during the block more seldom."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
