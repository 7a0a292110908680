"""An event loop on which time passes only when nothing else is to be done: hours in milliseconds, always the same."""

import asyncio
import selectors
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

START = datetime(2026, 1, 1, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("all tasks wait for something that can't happen any more")
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


BACKEND: tuple[str, Mapping[str, Any]] = ("asyncio", {"loop_factory": VirtualLoop})


class VirtualClock:
    """The clock of the virtual loop that runs the caller; its wall starts at `START`."""

    def now(self) -> datetime:
        return START + timedelta(seconds=anyio.current_time())

    def monotonic(self) -> float:
        return anyio.current_time()

    def since_boot(self) -> float:
        return anyio.current_time()

    @property
    def boot_id(self) -> str:
        return "virtual"
