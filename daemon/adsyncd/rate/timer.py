"""One timer for each bucket, however many wait in front of it."""

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls `ring` on the event loop at the instant that it was set to last.

    Not a task that sleeps: a gate belongs to no task group, as it outlives the runs that wait in front of it, and a
    bucket that nobody waits for costs nothing.
    """

    __slots__ = ("_at", "_handle", "_ring")

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._at: float | None = None

    def set(self, at: float | None) -> None:
        """Ring at `at`, in the loop's time, which is the clock's monotonic one, and not before; None: not at all."""
        if at == self._at:
            return
        self._at = at
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None if at is None else asyncio.get_running_loop().call_at(at, self._rings)

    def _rings(self) -> None:
        self._at = self._handle = None
        self._ring()
