"""The last 24 hours in memory: what is read, what is shown, and clocks that are put."""

import sys
from collections.abc import Mapping
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from adsyncd.control.last_day import LastDay
from adsyncd.control.overview import Mark
from adsyncd.model.half_hour import HALF_HOUR, HALF_HOURS, HalfHour, half_hour_of
from support.records import NOON

NOW = NOON + timedelta(minutes=12)
LATEST = half_hour_of(NOW)


def read(day: LastDay, found: Mapping[int, HalfHour] | None = None, now: datetime = NOW) -> list[int]:
    """Read all that is wanted, by how many half hours ago, and return what was read."""
    wanted = day.wanted(now)
    for number in wanted:
        one = (found or {}).get(half_hour_of(now) - number)
        day.put(number, [one] if one else [])
    return wanted


def test_at_first_all_of_the_day_is_read_the_latest_first_and_then_the_last_hour() -> None:
    day = LastDay()
    assert read(day) == [LATEST - number for number in range(48)]
    assert read(day) == [LATEST, LATEST - 1, LATEST - 2]
    assert read(day, now=NOW + HALF_HOUR) == [LATEST + 1, LATEST, LATEST - 1]


def test_older_half_hours_with_open_runs_are_read_again_in_turn() -> None:
    day = LastDay()
    found = {ago: HalfHour("acme", open=1) for ago in (5, 9, 47)}
    read(day, found)
    seen = {read(day, found)[-1] for _ in range(3)}
    assert seen == {LATEST - 5, LATEST - 9, LATEST - 47}
    for _ in range(3):
        read(day)
    assert len(read(day)) == 3  # they have ended


def test_a_mark_is_the_worst_of_its_half_hour() -> None:
    day = LastDay()
    read(
        day,
        {
            0: HalfHour("acme", runs_succeeded=2),
            1: HalfHour("acme", runs_succeeded=2, skipped_ticks=1),
            2: HalfHour("acme", runs_partial=1, skipped_ticks=1),
            3: HalfHour("acme", runs_partial=1, runs_failed=1),
            4: HalfHour("acme", runs_abandoned=1),
            47: HalfHour("acme", open=1),
        },
    )
    marks = day.marks("acme", NOW)
    assert len(marks) == HALF_HOURS
    assert marks[-5:] == [Mark.FAILED, Mark.FAILED, Mark.PARTIAL, Mark.LATE, Mark.SUCCEEDED]
    assert set(marks[:-5]) == {Mark.NOTHING}
    assert set(day.marks("hooli", NOW)) == {Mark.NOTHING}


def test_waits_and_429s_are_those_of_the_day_and_requests_those_of_the_last_hour() -> None:
    day = LastDay()
    one = HalfHour("acme", waited_s=1.5, refused=2, requests=10)
    read(day, {0: one, 1: one, 2: one, 3: one, 40: HalfHour("acme", refused=10**9)})
    assert day.sums("acme") == (6.0, 8 + 65535)
    assert day.requests("acme", NOW) == 10 + 10 + 6  # of the third half hour, 12 minutes have passed
    assert (day.sums("hooli"), day.requests("hooli", NOW)) == ((0.0, 0), 0)
    day.put(LATEST, [])  # read again: it replaces what was known
    assert day.sums("acme") == (4.5, 6 + 65535)


def test_history_is_summed_up_by_buckets_from_an_instant_on() -> None:
    day = LastDay()
    each = HalfHour("acme", runs_succeeded=1, requests=5, waited_s=0.5, not_pushed=1)
    read(day, dict.fromkeys(range(48), each))
    halves = day.history(datetime.min.replace(tzinfo=NOW.tzinfo), HALF_HOUR, NOW)
    assert len(halves) == 48
    assert (halves[-1].at, halves[0].at) == (NOON, NOON - 47 * HALF_HOUR)
    hours = day.history(NOON - timedelta(hours=3), timedelta(hours=1), NOW)
    assert [(one.at.hour, one.requests) for one in hours] == [(9, 10), (10, 10), (11, 10), (12, 5)]
    assert [one.waited_s for one in hours] == [1.0, 1.0, 1.0, 0.5]
    assert sum(one.runs_succeeded for one in day.history(NOON - timedelta(days=9), timedelta(days=1), NOW)) == 48
    assert day.history(NOW + timedelta(days=1), HALF_HOUR, NOW) == []


@given(st.lists(st.integers(-2000, 2000), max_size=30))
def test_wherever_the_clock_is_put_nothing_breaks_and_nothing_is_negative(hours: list[int]) -> None:
    day, now = LastDay(), NOW
    for put in [0, *hours]:
        now = NOW + timedelta(hours=put)
        read(day, {0: HalfHour("acme", runs_failed=1, requests=3, waited_s=1.0)}, now)
        assert len(day._columns) == 48
        assert day.marks("acme", now)[-1] is Mark.FAILED
        assert day.requests("acme", now) >= 3
        assert all(one.requests >= 0 for one in day.history(now - timedelta(days=2), HALF_HOUR, now))
        assert day.sums("acme")[0] <= 48


def test_a_tenant_costs_some_five_hundred_bytes() -> None:
    day, names = LastDay(), [f"tenant-{number:05}" for number in range(2000)]
    for number in day.wanted(NOW):
        day.put(number, [HalfHour(name, requests=1) for name in names])
    day.wanted(NOW)
    columns = day._columns.values()
    arrays = [part for one in columns for part in (one.marks, one.waited_s, one.refused, one.requests)]
    assert sum(map(sys.getsizeof, arrays)) + sys.getsizeof(day._places) < 500 * len(names)
