"""An event loop on which time passes only when nothing else is to be done: hours in milliseconds, always the same.

Nothing may come from outside: no sockets, no threads. `anyio.run(main, backend=..., backend_options=...)` with what
`BACKEND` holds runs on such a loop.
"""

import asyncio
import selectors
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

START = datetime(2026, 1, 1, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    """Does not wait, but moves the time; it asks the system for nothing, as nothing can have come from there."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("all tasks wait for something that can't happen any more")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Counts its time from 0."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the seconds that have passed on this loop."""
        return self._virtual.now


BACKEND: tuple[str, Mapping[str, Any]] = ("asyncio", {"loop_factory": VirtualLoop})


class VirtualClock:
    """The clock of the virtual loop that runs the caller. Its wall starts at `START`; it can be set, and rebooted."""

    def __init__(self) -> None:
        self._offset = timedelta()
        self._booted_at = 0.0
        self._boots = 0

    def now(self) -> datetime:
        """Return what the wall says."""
        return START + self._offset + timedelta(seconds=anyio.current_time())

    def monotonic(self) -> float:
        """Return the loop's time."""
        return anyio.current_time()

    def since_boot(self) -> float:
        """Return the seconds since the last reboot."""
        return anyio.current_time() - self._booted_at

    @property
    def boot_id(self) -> str:
        """A name that changes with each reboot."""
        return f"virtual-{self._boots}"

    def jump(self, by: timedelta) -> None:
        """Set the wall, forward or back. Nothing else notices."""
        self._offset += by

    def reboot(self) -> None:
        """Begin a new boot: what ran is to be stopped before."""
        self._booted_at = anyio.current_time()
        self._boots += 1
