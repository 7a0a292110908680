"""When a tenant is due, as APScheduler's own trigger objects, which are pure: they compute, they don't wait.

Crontab expressions mean what crontab(5) says, where APScheduler differs: 0 and 7 are Sunday, a range may wrap around
the week, and where day of month and day of week are both restricted, either one is enough. When clocks go back, a job
at a fixed hour runs once, one at every hour runs in both; when they go forward, a time that does not exist moves on
by the hour that was skipped.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from adsyncd.duration import LONGEST
from adsyncd.tenant import Every, Schedule

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS = ("minute", "hour", "day", "month", "day_of_week")
_A_DAY = timedelta(days=1)
_SAMPLE = 32  # fire times that tell a crontab's rhythm: of sparse ones months, of dense ones hours
_WEEK = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def share(tenant_id: str) -> float:
    """Return a number in [0, 1) that is fixed by the tenant's id, to spread tenants evenly over a span of time."""
    digest = hashlib.blake2b(tenant_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def trigger(schedule: Schedule, tenant_id: str) -> BaseTrigger:
    """Return the trigger of a tenant's schedule. An interval's phase is fixed by the tenant's id, to the millisecond.

    Raises ValueError, in words fit for an operator, for a crontab expression or a time zone that means nothing.
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
    """Return the first fire time later than `after`, in UTC, or None if there is none any more."""
    fire_time: datetime | None = of.get_next_fire_time(None, after + timedelta(microseconds=1))
    return fire_time and fire_time.astimezone(UTC)


def missed(of: BaseTrigger, last_fire: datetime | None, now: datetime) -> datetime | None:
    """Return the fire time that a tenant should catch up on, or None when it is up to date.

    A tenant that never ran is due now. However many fire times were missed, one run makes up for all of them.
    """
    if last_fire is None:
        return now
    due = next_fire(of, last_fire)
    return due if due is not None and due <= now else None


@lru_cache(maxsize=1024)
def intervals(schedule: Schedule, since: datetime) -> tuple[timedelta, timedelta]:
    """Return the shortest and the longest time between two fire times, as a day has them, and 32 fire times.

    Of a crontab that comes up once or never, such as 30 February, both are the longest duration that there is.
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


class _OnceADay(CronTrigger):  # type: ignore[misc]  # apscheduler ships no types
    """A crontab with fixed hours: of a wall-clock time that comes twice, the second one is left out."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        fire_time: datetime | None = super().get_next_fire_time(previous_fire_time, now)
        while fire_time is not None and fire_time.fold:
            # In UTC: adding to a local time would lose its fold, and find the same instant for ever.
            fire_time = super().get_next_fire_time(None, fire_time.astimezone(UTC) + timedelta(microseconds=1))
        return fire_time


def _crontab(expression: str, zone: ZoneInfo) -> BaseTrigger:
    values = expression.split()
    if len(values) != len(_FIELDS):
        raise ValueError(
            f"a crontab expression has five fields (minute hour day month weekday), this one has {len(values)}"
        )
    fields = dict(zip(_FIELDS, values, strict=True))
    fields["day_of_week"] = _weekdays(fields["day_of_week"])
    kind = CronTrigger if fields["hour"].startswith("*") else _OnceADay
    try:
        if fields["day"].startswith("*") or fields["day_of_week"] == "*":
            return kind(**fields, timezone=zone)
        by_day, by_weekday = fields | {"day_of_week": "*"}, fields | {"day": "*"}
        return OrTrigger([kind(**by_day, timezone=zone), kind(**by_weekday, timezone=zone)])
    except ValueError as error:
        raise ValueError(f'the crontab expression "{expression}" means nothing: {error}') from error


def _weekdays(field: str) -> str:
    """Translate crontab's days of the week to APScheduler's, which count from Monday: by name, one by one."""
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
            raise ValueError(f'"{element}" is no day of the week: use 0 to 7 or sun to sat') from error
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
        raise ValueError(f'"{name}" is no time zone: use an IANA name such as "Europe/Berlin"') from error
