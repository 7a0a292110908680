import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.duration import LONGEST
from adsyncd.model.schedule import intervals, missed, next_fire, share, trigger
from adsyncd.model.tenant import Cron, Every

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


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 9 1 * mon", ["Mon 30 09:00", "Tue 01 09:00", "Mon 07 09:00"]),  # either is enough
        ("0 9 */2 * mon", ["Mon 07 09:00", "Mon 21 09:00", "Mon 11 09:00"]),  # but with a step of days both count
        ("0 9 28,last * *", ["Sat 28 09:00", "Mon 30 09:00", "Mon 28 09:00", "Thu 31 09:00"]),
        ("0 9 last 2 *", ["Sun 28 09:00", "Tue 29 09:00"]),
    ],
)
def test_days_of_the_month_count_as_crontab_counts_them(expression: str, expected: list[str]) -> None:
    assert fires(expression, len(expected)) == expected


def test_a_leap_day_comes_and_a_date_that_is_in_no_year_never_does() -> None:
    leap_day, before_2100 = trigger(Cron("0 0 29 2 *", "UTC"), "acme"), datetime(2096, 3, 1, tzinfo=UTC)
    assert next_fire(leap_day, START) == datetime(2028, 2, 29, tzinfo=UTC)
    assert next_fire(leap_day, before_2100) == datetime(2104, 2, 29, tzinfo=UTC)
    assert next_fire(trigger(Cron("0 0 30 2 *", "UTC"), "acme"), START) is None
    assert next_fire(trigger(Cron("0 0 31 4,6,9,11 *", "Asia/Tokyo"), "acme"), START) is None


def test_a_fixed_time_keeps_its_wall_clock_and_fires_at_the_first_of_the_two_that_autumn_has() -> None:
    before = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert fires("0 9 * * *", 2, "Europe/Berlin", before) == ["Sun 25 09:00", "Mon 26 09:00"]
    assert fires("30 2 * * *", 2, "Europe/Berlin", before) == ["Sun 25 02:30", "Mon 26 02:30"]
    first = next_fire(trigger(Cron("30 2 * * *", "Europe/Berlin"), "acme"), before)
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(("hours", "spring"), [("*", "03:30"), ("*/2", "04:30")])
def test_a_cron_of_every_hour_or_every_second_one_fires_in_both_of_the_hours_that_autumn_repeats(
    hours: str, spring: str
) -> None:
    before = datetime(2026, 10, 24, 23, 40, tzinfo=UTC)
    repeated = ["Sun 25 02:30", "Sun 25 02:30", f"Sun 25 {spring}"]
    assert fires(f"30 {hours} * * *", 3, "Europe/Berlin", before) == repeated


def test_a_time_that_spring_skips_fires_at_the_end_of_the_gap() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert fires("30 2 * * *", 2, "Europe/Berlin", before) == ["Sun 29 03:00", "Mon 30 02:30"]
    assert fires("*/20 2,3 * * *", 3, "Europe/Berlin", before) == ["Sun 29 03:00", "Sun 29 03:20", "Sun 29 03:40"]
    assert fires("30 9 * * *", 3, "Pacific/Apia", datetime(2011, 12, 29, 12, tzinfo=UTC)) == [
        "Thu 29 09:30", "Sat 31 00:00", "Sat 31 09:30",
    ]  # fmt: skip


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Los_Angeles", "Australia/Sydney", "America/Santiago"])
@pytest.mark.parametrize("hour", [0, 2, 3])
def test_no_day_week_or_month_is_lost_to_a_change_of_the_clock(zone: str, hour: int) -> None:
    start, end = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2028, 12, 31, tzinfo=UTC)
    days = [(start + timedelta(days=n)).date() for n in range(1, 1095)]
    for crontab, dates in (
        (f"0 {hour} * * *", days),
        (f"30 {hour} * * sun", [day for day in days if day.weekday() == 6]),
        (f"0 {hour} 8 * *", [day for day in days if day.day == 8]),
    ):
        fire_times = times(crontab, zone, start, end)
        assert [at.astimezone(ZoneInfo(zone)).date() for at in fire_times][: len(dates)] == dates


def times(expression: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    of, found, at = trigger(Cron(expression, zone), "acme"), list[datetime](), after
    while (following := next_fire(of, at)) is not None and following < until:
        at = following
        found.append(at)
    return found


@dataclass(frozen=True)
class Crontab:
    """A crontab as text, and as the sets of numbers that its fields mean."""

    texts: tuple[str, str, str, str]
    minutes: Collection[int]
    hours: Collection[int]
    days: Collection[int]
    weekdays: Collection[int]

    @property
    def expression(self) -> str:
        minute, hour, day, weekday = self.texts
        return f"{minute} {hour} {day} * {weekday}"

    def shows(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours:
            return False
        by_day, by_weekday = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        both = self.texts[2].startswith("*") or self.texts[3] == "*"
        return by_day and by_weekday if both else by_day or by_weekday


def by_hand(crontab: Crontab, zone: ZoneInfo, after: datetime, until: datetime) -> list[datetime]:
    """Look at a wall clock each minute. `after` is far enough from a change before it."""
    found, seen, minute = [], set(), timedelta(minutes=1)
    instant, last = after, after.astimezone(zone).replace(tzinfo=None)
    while (instant := instant + minute) < until:
        wall = instant.astimezone(zone).replace(tzinfo=None)
        skipped = [last + minute * n for n in range(1, (wall - last) // minute)]
        comes = crontab.shows(wall) and (crontab.texts[1].startswith("*") or wall not in seen)
        if comes or any(crontab.shows(one) for one in skipped):
            found.append(instant)
        seen.add(wall)
        last = wall
    return found


def changes(zone: ZoneInfo, first_year: int, last_year: int) -> Iterator[datetime]:
    """Return the instants at which a zone changes its clock, by the hour."""

    def offset(hours: int) -> timedelta | None:
        return datetime.fromtimestamp(hours * 3600, UTC).astimezone(zone).utcoffset()

    begin, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) // 3600 for year in (first_year, last_year + 1))
    fortnight, behind = 336, offset(begin)  # no zone changes twice in one
    for start in range(begin, end, fortnight):
        before, behind = behind, offset(start + fortnight)
        if before != behind:
            low, high = start, start + fortnight
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == before else (low, middle)
            yield datetime.fromtimestamp(high * 3600, UTC)


DENSE = (
    Crontab(("*/15", "*", "*", "*"), range(0, 60, 15), range(24), range(1, 32), range(7)),
    Crontab(("30", "*/2", "*", "*"), (30,), range(0, 24, 2), range(1, 32), range(7)),
    Crontab(("0,45", "0-3,23", "*", "*"), (0, 45), (0, 1, 2, 3, 23), range(1, 32), range(7)),
    Crontab(("10", "1,2", "1-15", "sun"), (10,), (1, 2), range(1, 16), (0,)),
)


def test_around_each_change_of_each_zone_until_2040_no_fire_time_is_lost_or_comes_twice() -> None:
    """Zones whose wall clocks show the same around a change are one."""
    around = timedelta(hours=5)
    kinds = {}
    for name in available_timezones():
        zone = ZoneInfo(name)
        for change in changes(zone, 2024, 2040):
            before, behind = ((change + sign * around).astimezone(zone).replace(tzinfo=None) for sign in (-1, 1))
            kinds[before, behind] = zone, change
    assert len(kinds) > 100
    for number, (zone, change) in enumerate(kinds.values()):
        crontab = DENSE[number % len(DENSE)]
        expected = by_hand(crontab, zone, change - around, change + around)
        found = times(crontab.expression, zone.key, change - around, change + around)
        assert found == expected, (zone, change, crontab)


ODD_ZONES = (
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Apia", "Asia/Beirut",
    "Africa/Casablanca", "Africa/Cairo", "America/Havana", "Atlantic/Azores", "America/Nuuk", "Pacific/Chatham",
    "America/Scoresbysund", "America/Santiago", "Europe/Dublin", "Asia/Almaty", "Asia/Kathmandu",
)  # fmt: skip


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> tuple[str, Collection[int]]:
    kind = draw(st.sampled_from(["*", "step", "list", "range"]))
    if kind == "*":
        return "*", range(low, high + 1)
    if kind == "step":
        step = draw(st.integers(1, high - low))
        return f"*/{step}", range(low, high + 1, step)
    if kind == "list":
        numbers = draw(st.lists(st.integers(low, high), min_size=1, max_size=3))
        return ",".join(map(str, numbers)), numbers
    first, last = sorted(draw(st.tuples(st.integers(low, high), st.integers(low, high))))
    return f"{first}-{last}", range(first, last + 1)


@st.composite
def crontabs(draw: st.DrawFn) -> Crontab:
    drawn = [draw(fields(*limits)) for limits in ((0, 59), (0, 23), (1, 31), (0, 6))]
    minute, hour, day, weekday = drawn
    every_day = "*" if len(set(weekday[1])) == 7 else weekday[0]  # 0-6 restricts nothing
    return Crontab((minute[0], hour[0], day[0], every_day), minute[1], hour[1], day[1], weekday[1])


@given(crontabs(), st.sampled_from(ODD_ZONES), st.integers(2009, 2040), st.integers(6, 30), st.data())
def test_any_crontab_fires_as_somebody_who_watches_a_wall_clock_would(
    crontab: Crontab, name: str, year: int, hours: int, data: st.DataObject
) -> None:
    zone = ZoneInfo(name)
    change = data.draw(st.sampled_from([*changes(zone, year, year), datetime(year, 2, 28, 12, tzinfo=UTC)]))
    start, end = change - timedelta(hours=hours), change + timedelta(hours=30)
    assert times(crontab.expression, name, start, end) == by_hand(crontab, zone, start, end)


@pytest.mark.parametrize(
    ("expression", "zone", "words"),
    [
        ("* * * *", "UTC", "has five fields .* this one has 4"),
        ("61 * * * *", "UTC", "is invalid"),
        ("* * * * 8", "UTC", '"8" is not a day of the week'),
        ("* * * * mondays", "UTC", '"mondays" is not a day of the week'),
        ("* * * * */0", "UTC", "a step is at least 1"),
        ("* * * * *", "Europe/Berlyn", '"Europe/Berlyn" is not a time zone'),
        ("* * * * *", "../etc/passwd", "is not a time zone"),
    ],
)
def test_a_schedule_that_means_nothing_is_explained(expression: str, zone: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trigger(Cron(expression, zone), "acme")


@pytest.mark.parametrize(
    ("last", "due"),
    [
        (None, START),  # it never ran
        (START - timedelta(days=2), datetime(2026, 11, 23, 11, tzinfo=UTC)),  # one run makes up for all
        (datetime(2026, 11, 25, 10, tzinfo=UTC), None),
    ],
)
def test_a_tenant_catches_up_once_on_all_that_it_missed(last: datetime | None, due: datetime | None) -> None:
    assert missed(trigger(Cron("0 * * * *", "UTC"), "acme"), last, START) == due


def test_the_intervals_of_a_schedule_are_its_shortest_and_longest_and_endless_if_it_never_comes_up() -> None:
    minute, hour, day = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
    assert intervals(Every(15 * minute), START) == (15 * minute, 15 * minute)
    assert intervals(Cron("0 9,10,17 * * *", "UTC"), START) == (hour, 16 * hour)
    assert intervals(Cron("0 3 * * 1", "UTC"), START) == (7 * day, 7 * day)
    assert intervals(Cron("0 8 * * tue,fri", "UTC"), START) == (3 * day, 4 * day)
    assert intervals(Cron("*/5 9 * * *", "UTC"), START) == (5 * minute, 23 * hour + 5 * minute)
    assert intervals(Cron("* * * * *", "UTC"), START) == (minute, minute)
    assert intervals(Cron("0 3 30 2 *", "UTC"), START) == (LONGEST, LONGEST)
