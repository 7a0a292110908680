"""Fire times of schedules, as trigger objects for APScheduler. They are pure: they compute and do not wait.

Crontab expressions follow crontab(5), where APScheduler differs: 0 and 7 are Sunday, a range may wrap around the week,
and if day of month and day of week are both restricted, either one is enough. They are times of a wall clock. A time
that a clock skips in spring moves to the end of the gap. When clocks go back, a fixed hour fires once, at the first of
the two times; an hour field that begins with `*`, such as `*/2`, fires at both.
"""

import hashlib
import math
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.cron.expressions import LastDayOfMonthExpression
from apscheduler.triggers.cron.fields import BaseField
from apscheduler.triggers.interval import IntervalTrigger

from adsyncd.duration import LONGEST
from adsyncd.model.tenant import Every, Schedule

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS = ("minute", "hour", "day", "month", "day_of_week")
_A_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)
_LONGEST_GAP_YEARS = 41  # from one 29 February on a given weekday to the next, where a century has no leap year
_SAMPLE = 32  # fire times that show a crontab's intervals: months of a sparse one, hours of a dense one
_WEEK = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def share(tenant_id: str) -> float:
    """Return a number in [0, 1), a hash of the tenant's id, that spreads tenants evenly over a span of time."""
    digest = hashlib.blake2b(tenant_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def trigger(schedule: Schedule, tenant_id: str) -> BaseTrigger:
    """Return the trigger of a tenant's schedule. An interval's phase depends on the tenant's id, to the millisecond.

    Raises ValueError, in words fit for an operator, if the crontab expression or the time zone is invalid.
    """
    if isinstance(schedule, Every):
        phase = timedelta(milliseconds=int(share(tenant_id) * schedule.interval / timedelta(milliseconds=1)))
        return IntervalTrigger(
            seconds=schedule.interval.total_seconds(),
            start_date=_EPOCH + phase,
            timezone=UTC,
        )
    return _crontab(schedule.expression, _zone(schedule.timezone))


def next_fire(of: BaseTrigger, after: datetime) -> datetime | None:
    """Return the first fire time later than `after`, in UTC, or None if there is none."""
    fire_time: datetime | None = of.get_next_fire_time(None, after + timedelta(microseconds=1))
    return fire_time and fire_time.astimezone(UTC)


def missed(of: BaseTrigger, last_fire: datetime | None, now: datetime) -> datetime | None:
    """Return the fire time that a tenant should catch up on, or None if it is up to date.

    A tenant that never ran is due now. One run catches up on any number of missed fire times.
    """
    if last_fire is None:
        return now
    due = next_fire(of, last_fire)
    return due if due is not None and due <= now else None


@lru_cache(maxsize=1024)
def intervals(schedule: Schedule, since: datetime) -> tuple[timedelta, timedelta]:
    """Return the shortest and the longest time between the fire times of a day, or of 32 fire times if longer.

    A crontab that fires once or never, such as 30 February, has the longest possible duration for both.
    """
    if isinstance(schedule, Every):
        return schedule.interval, schedule.interval
    of = trigger(schedule, "")
    fire_times: list[datetime] = []
    following = next_fire(of, since)
    while following and (len(fire_times) < _SAMPLE or following < since + _A_DAY):
        fire_times.append(following)
        following = next_fire(of, following)
    between = [later - earlier for earlier, later in pairwise(fire_times)] or [LONGEST]
    return min(between), max(between)


@dataclass(frozen=True, slots=True)
class _Calendar:
    """The times of a crontab, without time zones."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    on_last_day: bool
    months: frozenset[int]
    weekdays: frozenset[int]  # as `date.weekday` counts them
    either_day: bool

    def first(self, since: datetime) -> datetime | None:
        """Return the first time that is not before `since`, both without a time zone, or None if there is none."""
        day = since.date()
        try:
            end = day.replace(day=1, year=day.year + _LONGEST_GAP_YEARS)
            while day < end:
                if day.month not in self.months:
                    day = (day.replace(day=1) + 31 * _A_DAY).replace(day=1)
                    continue
                if self._includes(day):
                    earliest = since if day == since.date() else datetime.combine(day, time())
                    if (found := self._first_of_day(earliest)) is not None:
                        return found
                day += _A_DAY
        except (OverflowError, ValueError):  # the calendar ends with the year 9999
            pass
        return None

    def _includes(self, day: date) -> bool:
        by_day = day.day in self.days or (self.on_last_day and (day + _A_DAY).day == 1)
        by_weekday = day.weekday() in self.weekdays
        return by_day or by_weekday if self.either_day else by_day and by_weekday

    def _first_of_day(self, since: datetime) -> datetime | None:
        for hour in self.hours[bisect_left(self.hours, since.hour) :]:
            for minute in self.minutes:
                found = since.replace(hour=hour, minute=minute, second=0, microsecond=0)
                if found >= since:
                    return found
        return None


class _Crontab(BaseTrigger):  # type: ignore[misc]  # apscheduler ships no types
    """The instants at which a wall clock shows the times of a `_Calendar`. `repeats`: also when it shows them again."""

    def __init__(self, calendar: _Calendar, zone: ZoneInfo, *, repeats: bool) -> None:
        self._calendar = calendar
        self._zone = zone
        self._repeats = repeats

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the first fire time after the previous one, or without one the first that is not before `now`."""
        after = (previous_fire_time or now - _TICK).astimezone(UTC)
        found = [self._first(after)] + [self._again(after)] * self._repeats
        return min((instant for instant in found if instant is not None), default=None)

    def _first(self, after: datetime) -> datetime | None:
        """Return the first instant after `after` at which a time of the calendar is shown for the first time."""
        wall = after.astimezone(self._zone).replace(tzinfo=None)
        while (following := self._calendar.first(wall + _TICK)) is not None:
            if (instant := self._instant(following)) > after:
                return instant
            wall = following  # `after` is within the hours that are shown a second time
        return None

    def _again(self, after: datetime) -> datetime | None:
        """Return the first instant after `after` at which a time of the calendar is shown for the second time."""
        before, behind = self._offset(after - _A_DAY), self._offset(after + _A_DAY)
        if before <= behind:
            return None
        set_back = self._change(after - _A_DAY, after + _A_DAY)
        first = self._calendar.first((max(set_back, after + _TICK) + behind).replace(tzinfo=None))
        if first is None or first >= (set_back + before).replace(tzinfo=None):
            return None
        return first.replace(tzinfo=UTC) - behind

    def _instant(self, wall: datetime) -> datetime:
        instant = wall.replace(tzinfo=self._zone).astimezone(UTC)
        if instant.astimezone(self._zone).replace(tzinfo=None) == wall:
            return instant
        skips = wall.replace(tzinfo=self._zone, fold=1).astimezone(UTC)  # PEP 495: now by the offset behind the gap
        return self._change(skips, instant)

    def _change(self, before: datetime, behind: datetime) -> datetime:
        """Return the instant, after `before` and not after `behind`, from which on the offset is that of `behind`."""
        early, late = math.floor(before.timestamp()), math.ceil(behind.timestamp())
        offset = self._offset(behind)
        while late - early > 1:
            middle = (early + late) // 2
            if self._offset(datetime.fromtimestamp(middle, UTC)) == offset:
                late = middle
            else:
                early = middle
        return datetime.fromtimestamp(late, UTC)

    def _offset(self, instant: datetime) -> timedelta:
        offset = instant.astimezone(self._zone).utcoffset()
        assert offset is not None  # noqa: S101 - every ZoneInfo has one
        return offset


@lru_cache(maxsize=1024)
def _crontab(expression: str, zone: ZoneInfo) -> BaseTrigger:
    texts = expression.split()
    if len(texts) != len(_FIELDS):
        raise ValueError(
            f"a crontab expression has five fields (minute hour day month weekday), this one has {len(texts)}"
        )
    by_name = dict(zip(_FIELDS, texts, strict=True))
    by_name["day_of_week"] = _weekdays(by_name["day_of_week"])
    try:
        fields = {field.name: field for field in CronTrigger(**by_name, timezone=UTC).fields}
    except ValueError as error:
        raise ValueError(f'the crontab expression "{expression}" is invalid: {error}') from error
    sunday = datetime(2023, 1, 1, tzinfo=UTC)
    calendar = _Calendar(
        minutes=tuple(n for n in range(60) if _matches(fields["minute"], sunday.replace(minute=n))),
        hours=tuple(n for n in range(24) if _matches(fields["hour"], sunday.replace(hour=n))),
        days=frozenset(n for n in range(1, 32) if _matches(fields["day"], sunday.replace(day=n))),
        on_last_day=any(isinstance(one, LastDayOfMonthExpression) for one in fields["day"].expressions),
        months=frozenset(n for n in range(1, 13) if _matches(fields["month"], sunday.replace(month=n))),
        weekdays=frozenset(n for n in range(7) if _matches(fields["day_of_week"], sunday.replace(day=2 + n))),
        either_day=not (by_name["day"].startswith("*") or by_name["day_of_week"] == "*"),
    )
    return _Crontab(calendar, zone, repeats=by_name["hour"].startswith("*"))


def _matches(field: BaseField, at: datetime) -> bool:
    return bool(field.get_next_value(at) == field.get_value(at))


def _weekdays(field: str) -> str:
    """Translate crontab's days of the week to names, one by one, since APScheduler counts from Monday."""
    if field == "*":
        return field
    days: set[int] = set()
    for element in field.split(","):
        span, _, step = element.partition("/")
        first, dash, last = span.partition("-")
        try:
            stride = int(step) if step else 1
            start = 0 if first == "*" else _weekday(first)
            end = 6 if first == "*" or (step and not dash) else _weekday(last or first)
        except ValueError as error:
            raise ValueError(f'"{element}" is not a day of the week: use 0 to 7 or sun to sat') from error
        if stride < 1:
            raise ValueError(f'"{element}" has a step of {stride}: a step is at least 1')
        days.update((start + offset) % 7 for offset in range(0, (end - start) % 7 + 1, stride))
    return "*" if len(days) == len(_WEEK) else ",".join(_WEEK[day] for day in sorted(days))


def _weekday(text: str) -> int:
    name = text.lower()
    if name in _WEEK:
        return _WEEK.index(name)
    number = int(text)
    if not 0 <= number <= len(_WEEK):
        raise ValueError(text)
    return number % 7


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f'"{name}" is not a time zone: use an IANA name such as "Europe/Berlin"') from error
