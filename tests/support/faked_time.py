"""libfaketime: clocks of a program's processes that a test sets while they run."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.program import Program


@dataclass(frozen=True, slots=True)
class FakedTime:
    """The time of a program's processes. They see a change within a second, at the next call that reads a clock."""

    _file: Path

    def set(self, time: str) -> None:
        """Set the clocks: `@2026-11-29 02:00:00`, or an offset of the machine's time in seconds, such as `+3600`."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{time}\n")
        new.replace(self._file)


def faked_time(program: Program, time: str, *, monotonic: bool) -> FakedTime:
    """Have the program's later processes see this time, as `FakedTime.set` takes it. `monotonic`: also by that clock.

    Their threads are slow.
    """
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("no libfaketime here: apt-get install libfaketime")
    file = program.folder / "time"
    program.environ.update(
        LD_PRELOAD=str(library), FAKETIME_TIMESTAMP_FILE=str(file), FAKETIME_CACHE_DURATION="1", TZ="UTC"
    )
    if not monotonic:
        program.environ["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
    faked = FakedTime(file)
    faked.set(time)
    return faked
