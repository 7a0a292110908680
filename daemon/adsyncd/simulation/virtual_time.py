"""An event loop with virtual time: time advances only when no task is ready, deterministically.

No sockets and no threads: events from outside never arrive. `anyio.run(main, backend=..., backend_options=...)` with
the values of `BACKEND` runs on such a loop.
"""

import asyncio
import selectors
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

START = datetime(2026, 1, 1, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    """Advances the time instead of waiting; does not poll the system."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("all tasks wait for something that can't happen any more")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time starts at 0."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the virtual seconds since the start."""
        return self._virtual.now


BACKEND: tuple[str, Mapping[str, Any]] = ("asyncio", {"loop_factory": VirtualLoop})


class VirtualClock:
    """The clock of the running virtual loop. Its wall clock starts at `START` and can be set and rebooted."""

    def __init__(self) -> None:
        self._offset = timedelta()
        self._booted_at = 0.0
        self._boots = 0

    def now(self) -> datetime:
        """Return the wall-clock time."""
        return START + self._offset + timedelta(seconds=anyio.current_time())

    def monotonic(self) -> float:
        """Return the loop's time."""
        return anyio.current_time()

    def since_boot(self) -> float:
        """Return the seconds since the last reboot."""
        return anyio.current_time() - self._booted_at

    @property
    def boot_id(self) -> str:
        """An id that changes with each reboot. Clocks with the same id count from the same instant."""
        return f"virtual-{self._boots}-{self._booted_at}"

    def jump(self, by: timedelta) -> None:
        """Set the wall clock forward or back; the monotonic time is unchanged."""
        self._offset += by

    def reboot(self) -> None:
        """Begin a new boot. Call it when no life is running."""
        self._booted_at = anyio.current_time()
        self._boots += 1
