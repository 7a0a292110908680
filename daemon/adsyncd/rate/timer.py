"""One timer for each gate and each pool, however many requests wait in front of it."""

import asyncio
from collections.abc import Callable


class Timer:
    """Calls `ring` on the event loop at the instant of the last `set`.

    It is no task that sleeps: a gate outlives the runs that wait in front of it, so it belongs to no task group, and a
    gate without waiting requests costs nothing.
    """

    __slots__ = ("_at", "_handle", "_ring")

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._at: float | None = None

    def set(self, at: float | None) -> None:
        """Ring at `at` alone, in the loop's time, which is the clock's monotonic one; never if None."""
        if at == self._at:
            return
        self._at = at
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None if at is None else asyncio.get_running_loop().call_at(at, self._rings)

    def _rings(self) -> None:
        self._at = self._handle = None
        self._ring()
