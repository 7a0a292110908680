"""Measures how late the event loop is: code that holds it delays every tenant."""

from collections import deque

import anyio

from adsyncd.clock import Clock

_EVERY_S = 0.25
_KEPT_S = 60.0


class LoopLag:
    """The longest delay of the event loop within the last minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: float | None = None  # None while nothing measures
        self._delays: deque[tuple[float, float]] = deque()  # instant and delay; the longest first, then later ones

    async def run(self) -> None:
        """Measure, until cancelled."""
        try:
            while True:
                self._due = self._clock.monotonic() + _EVERY_S
                await anyio.sleep(_EVERY_S)
                self._note(self._clock.monotonic(), self._due)
        finally:
            self._due = None

    def longest_s(self) -> float:
        """Return the longest delay, one in progress included. Safe in any thread."""
        now, due = self._clock.monotonic(), self._due
        ongoing = 0.0 if due is None else max(0.0, now - due)
        return max([ongoing, *(delay for at, delay in list(self._delays) if at > now - _KEPT_S)])

    def _note(self, now: float, due: float) -> None:
        delay = max(0.0, now - due)
        while self._delays and self._delays[-1][1] <= delay:
            self._delays.pop()
        self._delays.append((now, delay))
        while self._delays[0][0] <= now - _KEPT_S:
            self._delays.popleft()
