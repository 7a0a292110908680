"""What this process uses of the machine: CPU time, memory, open files.

From `/proc/self` and getrusage(2), which the unit's `ProcSubset=pid` leaves readable. psutil and prometheus_client read
`/proc/stat`, too, which it hides.
"""

import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SELF = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """CPU seconds since the start, by mode; physical memory in bytes; open files. None if `/proc` does not tell."""

    user_s: float
    system_s: float
    memory: int | None
    files: int | None


def process_usage() -> ProcessUsage:
    """Return what this process uses now. Safe in any thread."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    memory = files = None
    with suppress(OSError, ValueError, IndexError):  # no /proc is mounted
        memory = int((_SELF / "statm").read_text().split()[1]) * resource.getpagesize()
    with suppress(OSError):  # as above, or no descriptor is left
        files = len(os.listdir(_SELF / "fd")) - 1  # noqa: PTH208 - paths are not needed; one is the listing's own
    return ProcessUsage(used.ru_utime, used.ru_stime, memory, files)
