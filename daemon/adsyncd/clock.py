"""The only module that reads time and randomness; all others get a `Clock` or a `Random` as an argument.

Code sleeps by `anyio.sleep`, on the event loop's time; `monotonic()` is that same time, so a test on a virtual loop
passes a clock that reads the loop.
"""

import random
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time and the event loop's time."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware and in UTC."""

    def monotonic(self) -> float:
        """Return seconds of the event loop's time: only differences mean anything."""

    def since_boot(self) -> float:
        """Return seconds since the machine's boot, which later processes continue."""

    @property
    def boot_id(self) -> str:
        """An id of the machine's current boot."""


class SystemClock:
    """The machine's clocks.

    If the boot id is unreadable (a service may have no access to `/proc/sys`), each process counts as the first after a
    boot: records of earlier processes count as just written.
    """

    def __init__(self) -> None:
        try:
            self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            self._boot_id = str(uuid.uuid4())

    def now(self) -> datetime:
        """Return the wall-clock time, aware and in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the only place

    def monotonic(self) -> float:
        """Return `time.monotonic()`, which asyncio's event loops use, too."""
        return time.monotonic()

    def since_boot(self) -> float:
        """Return Linux's CLOCK_BOOTTIME, which includes suspended time."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    @property
    def boot_id(self) -> str:
        """The random UUID that Linux generates at each boot."""
        return self._boot_id


def entropy() -> random.Random:
    """Return a randomly seeded generator, for jitter."""
    return random.Random()  # noqa: S311 - jitter, not a secret
