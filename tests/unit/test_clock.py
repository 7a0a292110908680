from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from adsyncd.clock import SystemClock


async def test_the_clock_counts_on_the_event_loops_line() -> None:
    before = anyio.current_time()
    now = SystemClock().monotonic()
    assert before <= now <= anyio.current_time()


def test_wall_clock_times_are_in_utc() -> None:
    assert SystemClock().now().utcoffset() == timedelta(0)


def test_processes_of_one_boot_agree_on_it() -> None:
    one, other = SystemClock(), SystemClock()
    assert one.boot_id == other.boot_id
    assert one.since_boot() <= other.since_boot()


def test_where_the_boot_can_not_be_told_every_process_is_the_first_after_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    one, other = SystemClock(), SystemClock()
    assert one.boot_id != other.boot_id
