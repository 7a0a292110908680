"""Instants as text output shows them: local time with its offset. JSON has UTC."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

TO_THE_SECOND = "%Y-%m-%d %H:%M:%S"
TO_THE_MINUTE = "%Y-%m-%d %H:%M"

_DAY = timedelta(days=1)
_WITHOUT_OFFSET = len("2026-12-01T15:04:05")


def aware(instant: datetime) -> datetime:
    """Return an instant with a time zone: UTC if it has none. adsyncd sends none such, but another server might."""
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def local(instant: datetime) -> datetime:
    """Return an instant in local time, by the offset in force at that instant."""
    instant = aware(instant)
    try:
        return instant.astimezone()
    except OverflowError:  # beyond the calendar's ends
        return instant


def full(instant: datetime) -> str:
    """Return an instant with its date: `2026-12-01 15:04:05+01:00`."""
    return _with_offset(local(instant), TO_THE_SECOND)


def brief(instant: datetime, now: datetime) -> str:
    """Return the time of day of an instant, `15:04:05+01:00`; with its date if it is a day or more away."""
    form = "%H:%M:%S" if abs(aware(instant) - aware(now)) < _DAY else TO_THE_MINUTE
    return _with_offset(local(instant), form)


def column(title: str, instants: Iterable[datetime | None], form: str = TO_THE_SECOND) -> tuple[str, list[str]]:
    """Return the heading and the cells of a column of instants.

    The heading has the offset: `started (+01:00)`. If it changes between the instants, each cell has its own.
    """
    found = [None if instant is None else local(instant) for instant in instants]
    offsets = {_offset(instant) for instant in found if instant is not None}
    if len(offsets) > 1:
        return title, ["" if instant is None else _with_offset(instant, form) for instant in found]
    heading = " ".join([title, *(f"({offset})" for offset in offsets)])
    return heading, ["" if instant is None else f"{instant:{form}}" for instant in found]


def _with_offset(instant: datetime, form: str) -> str:
    return f"{instant:{form}}{_offset(instant)}"


def _offset(instant: datetime) -> str:
    return instant.isoformat(timespec="seconds")[_WITHOUT_OFFSET:]
