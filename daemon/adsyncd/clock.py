"""The only place that reads time and randomness; everybody else is handed a `Clock` or a `Random`.

Sleeping is `anyio.sleep`, whose time is the event loop's; `monotonic()` is that same time line, so a test that runs
on a virtual loop hands in a clock that reads the loop.
"""

import random
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """What time it is, twice: on the wall and on the event loop's line."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware and in UTC."""

    def monotonic(self) -> float:
        """Return seconds on the event loop's time line: only differences mean anything."""

    def since_boot(self) -> float:
        """Return seconds since the machine's boot: like `monotonic`, but the same for processes after this one."""

    @property
    def boot_id(self) -> str:
        """What tells one boot of the machine from another."""


class SystemClock:
    """The machine's clocks.

    Where the boot can't be told (a service may be kept from `/proc/sys`), each process takes itself for the first one
    after a boot: what others had on record then counts as if it had just been written.
    """

    def __init__(self) -> None:
        try:
            self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            self._boot_id = str(uuid.uuid4())

    def now(self) -> datetime:
        """Return the wall-clock time, aware and in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one place

    def monotonic(self) -> float:
        """Return `time.monotonic()`, which is also what asyncio's event loops count by."""
        return time.monotonic()

    def since_boot(self) -> float:
        """Return Linux's CLOCK_BOOTTIME, which goes on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    @property
    def boot_id(self) -> str:
        """The random UUID that Linux draws at each boot."""
        return self._boot_id


def entropy() -> random.Random:
    """Return a randomly seeded generator, for jitter."""
    return random.Random()  # noqa: S311 - jitter, no secret
