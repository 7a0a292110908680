import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.duration import LONGEST
from adsyncd.schedule import intervals, missed, next_fire, share, trigger
from adsyncd.tenant import Cron, Every

START = datetime(2026, 11, 25, 10, 0, 30, tzinfo=UTC)  # a Wednesday
names = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,20}\Z")
instants = st.integers(0, 10**8).map(lambda seconds: START + timedelta(seconds=seconds))


def fires(expression: str, count: int, zone: str = "UTC", start: datetime = START) -> list[str]:
    at, found = start, []
    of = trigger(Cron(expression, zone), "acme")
    for _ in range(count):
        following = next_fire(of, at)
        assert following is not None
        at = following
        found.append(at.astimezone(ZoneInfo(zone)).strftime("%a %d %H:%M"))
    return found


@given(names, instants, st.integers(1000, 10**8))
def test_an_interval_fires_at_the_same_instants_whenever_it_is_asked(name: str, at: datetime, ms: int) -> None:
    interval = timedelta(milliseconds=ms)
    of = trigger(Every(interval), name)
    first = next_fire(of, at)
    assert first is not None
    assert timedelta(0) < first - at <= interval
    assert next_fire(of, first) == first + interval
    assert next_fire(trigger(Every(interval), name), first - timedelta(milliseconds=1)) == first


def test_tenants_of_one_interval_are_spread_over_it() -> None:
    shares = sorted(share(f"tenant-{number}") for number in range(1000))
    gaps = [after - before for before, after in itertools.pairwise(shares)]
    assert max(gaps) < 0.02
    assert shares[0] < 0.02
    assert shares[-1] > 0.98


@pytest.mark.parametrize(
    ("weekday", "days"),
    [
        ("0", "Sun Sun"),
        ("7", "Sun Sun"),
        ("1", "Mon Mon"),
        ("sat", "Sat Sat"),
        ("1-5", "Thu Fri Mon"),
        ("5-0", "Fri Sat Sun Fri"),
        ("fri-mon", "Fri Sat Sun Mon Fri"),
        ("*/3", "Sat Sun Wed"),
        ("1/2", "Fri Mon Wed"),
        ("MON,thu", "Thu Mon"),
        ("0-6", "Thu Fri"),
    ],
)
def test_days_of_the_week_count_as_crontab_counts_them(weekday: str, days: str) -> None:
    expected = days.split()
    assert [fire.split()[0] for fire in fires(f"0 9 * * {weekday}", len(expected))] == expected


def test_day_of_month_or_day_of_week_is_enough_when_both_are_restricted() -> None:
    assert fires("0 9 1 * mon", 3) == ["Mon 30 09:00", "Tue 01 09:00", "Mon 07 09:00"]


def test_a_cron_keeps_the_wall_clock_of_its_time_zone_across_daylight_saving() -> None:
    before = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert fires("0 9 * * *", 2, "Europe/Berlin", before) == ["Sun 25 09:00", "Mon 26 09:00"]


def test_a_fixed_time_that_comes_twice_in_autumn_fires_once() -> None:
    before = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert fires("30 2 * * *", 2, "Europe/Berlin", before) == ["Sun 25 02:30", "Mon 26 02:30"]


def test_a_cron_of_every_hour_fires_in_both_of_the_hours_that_autumn_repeats() -> None:
    before = datetime(2026, 10, 24, 23, 40, tzinfo=UTC)
    assert fires("30 * * * *", 4, "Europe/Berlin", before) == [
        "Sun 25 02:30", "Sun 25 02:30", "Sun 25 03:30", "Sun 25 04:30",
    ]  # fmt: skip


def test_a_time_that_spring_skips_fires_an_hour_later() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert fires("30 2 * * *", 2, "Europe/Berlin", before) == ["Sun 29 03:30", "Mon 30 02:30"]


@pytest.mark.parametrize(
    ("expression", "zone", "words"),
    [
        ("* * * *", "UTC", "has five fields .* this one has 4"),
        ("61 * * * *", "UTC", "means nothing"),
        ("* * * * 8", "UTC", '"8" is no day of the week'),
        ("* * * * mondays", "UTC", '"mondays" is no day of the week'),
        ("* * * * */0", "UTC", "a step is at least 1"),
        ("* * * * *", "Europe/Berlyn", '"Europe/Berlyn" is no time zone'),
        ("* * * * *", "../etc/passwd", "is no time zone"),
    ],
)
def test_a_schedule_that_means_nothing_is_explained(expression: str, zone: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trigger(Cron(expression, zone), "acme")


def test_a_tenant_that_never_ran_is_due_now() -> None:
    assert missed(trigger(Every(timedelta(hours=1)), "acme"), None, START) == START


def test_one_run_makes_up_for_all_that_were_missed() -> None:
    of = trigger(Cron("0 * * * *", "UTC"), "acme")
    due = missed(of, START - timedelta(days=2), START)
    assert due == datetime(2026, 11, 23, 11, tzinfo=UTC)


def test_a_tenant_that_is_up_to_date_has_missed_nothing() -> None:
    of = trigger(Cron("0 * * * *", "UTC"), "acme")
    assert missed(of, datetime(2026, 11, 25, 10, tzinfo=UTC), START) is None


def test_the_intervals_of_a_schedule_are_its_shortest_and_longest() -> None:
    minute, hour, day = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
    assert intervals(Every(15 * minute), START) == (15 * minute, 15 * minute)
    assert intervals(Cron("0 9,10,17 * * *", "UTC"), START) == (hour, 16 * hour)
    assert intervals(Cron("0 3 * * 1", "UTC"), START) == (7 * day, 7 * day)
    assert intervals(Cron("0 8 * * tue,fri", "UTC"), START) == (3 * day, 4 * day)
    assert intervals(Cron("*/5 9 * * *", "UTC"), START) == (5 * minute, 23 * hour + 5 * minute)
    assert intervals(Cron("* * * * *", "UTC"), START) == (minute, minute)


def test_a_crontab_that_never_comes_up_has_the_longest_intervals() -> None:
    assert intervals(Cron("0 3 30 2 *", "UTC"), START) == (LONGEST, LONGEST)
