"""Reads JSON values that are not quite as the API promises, if they can mean only one thing.

None stands for no value. All functions raise ValueError; its text continues the field's name and quotes no value.
What is as the API promises is recognized first: a page has thousands of values.
"""

import math
import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

_BIGINT = 2**63 - 1  # what a database's integer holds
_LONGEST_ID = 255
_NEVER = datetime.min.replace(tzinfo=UTC)
_DAY = timedelta(days=1)  # from the ends of the calendar, so that the instant exists in each time zone
_FIRST, _LAST = _NEVER + _DAY, datetime.max.replace(tzinfo=UTC) - _DAY
_NUMBER = re.compile(r"[+-]?\d{1,400}(\.\d{0,400})?([eE][+-]?\d{1,4})?", re.ASCII)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # as text, in PostgreSQL
_INSTANT = re.compile(
    r"(?P<year>\d{4})-?(?P<month>\d\d)-?(?P<day>\d\d)"
    r"((T|\s*)(?P<hour>\d\d):?(?P<minute>\d\d)(:?(?P<second>\d\d)([.,](?P<fraction>\d{1,18}))?)?)?"
    r"\s*(Z|UTC|GMT|(?P<sign>[+-])(?P<hours>\d\d)(:?(?P<minutes>\d\d))?)?",
    re.ASCII | re.IGNORECASE,
)
_USUAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3}(?:\d{3})?)?(?:Z|[+-]\d\d:?\d\d)", re.ASCII)
_HTTP_DATE = re.compile(r"[a-z]{3}, .{20,30}", re.ASCII | re.IGNORECASE)  # RFC 5322, 3.3
# Seconds, milliseconds, microseconds and nanoseconds since the epoch can't be confused from 1973 to 2286.
_EPOCHS = {(10.0 ** (8 + digits), 10.0 ** (10 + digits)): 10**digits for digits in (0, 3, 6, 9)}


def identity(value: object) -> str:
    """Return a campaign's id, which becomes a path segment of a URL and a key of the store."""
    if type(value) is str and len("..") < len(value) <= _LONGEST_ID and value.isprintable():
        return value
    if value is None:
        raise ValueError("is missing")
    if isinstance(value, str):
        text = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        text = str(_whole(value))
    else:
        raise ValueError("is neither text nor a number")  # noqa: TRY004 - all say ValueError
    if text in {"", ".", ".."} or len(text) > _LONGEST_ID:
        raise ValueError("is empty, too long, or a relative path")
    return _storable(text)


def text(value: object) -> str | None:
    """Return a text; a number counts as one."""
    if type(value) is str and value.isprintable():
        return value
    if value is None or isinstance(value, str):
        return value and _storable(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError("is not text")


def number(value: object) -> float | None:
    """Return a finite number, which may be written as text."""
    if type(value) is float and math.isfinite(value):
        return value
    if value is None:
        return None
    try:
        found = float(_figure(value))
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError("is too large")
    return found


def scaled(value: object, scale: float) -> float | None:
    """Return a finite number that is multiplied by `scale`: 12340000 by 1e-6 is 12.34."""
    found = number(value)
    if found is None:
        return None
    parts = round(1 / scale)  # to divide by a whole number is exact, to multiply by its inverse is not
    product = found / parts if parts and 1 / parts == scale else found * scale
    if not math.isfinite(product):
        raise ValueError("is too large")
    return product


def count(value: object) -> int | None:
    """Return a whole number that a database can hold. It may be written as text, or as 12.0."""
    if type(value) is int and abs(value) <= _BIGINT:
        return value
    if value is None:
        return None
    found = _whole(_figure(value))
    if abs(found) > _BIGINT:
        raise ValueError("is too large")
    return found


def instant(value: object) -> datetime | None:
    """Return an instant in UTC, from ISO 8601 in its many spellings, an HTTP date, or a number since the epoch.

    Without a time zone it is UTC. The first instant of the year 1 is no value: programs send it for "never set".
    """
    if type(value) is str and _USUAL.fullmatch(value):
        try:
            found = datetime.fromisoformat(value)
            if found.tzinfo is not UTC:
                found = found.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        else:
            return _in_the_calendar(found)
    return None if value is None else _in_the_calendar(_since_epoch(value) or _spelled(value))


def written(value: object) -> datetime | None:
    """Return an instant as `instant` does, but from text alone, of which no number is one since the epoch."""
    return None if value is None else _in_the_calendar(_spelled(value))


def elapsed(value: object, units: int) -> datetime | None:
    """Return the instant that is so many `units` of a second after the epoch. The number may be written as text."""
    if value is None:
        return None
    try:
        found = datetime.fromtimestamp(_figure(value) / units, UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError("is not an instant") from None
    return _in_the_calendar(found)


def _in_the_calendar(found: datetime | None) -> datetime | None:
    if found is None:
        raise ValueError("is not an instant")
    if found == _NEVER:
        return None
    if not _FIRST <= found <= _LAST:
        raise ValueError("is in a year that not every time zone has")
    return found


def _storable(value: str) -> str:
    if _UNSTORABLE.search(value):
        raise ValueError("holds NUL or half of a surrogate pair")
    return value


def _figure(value: object) -> int | float:
    if isinstance(value, str) and _NUMBER.fullmatch(spelled := value.strip()):
        return int(spelled) if spelled.lstrip("+-").isdecimal() else float(spelled)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError("is not a number")


def _whole(value: float) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("is not a whole number")
    return int(value)


def _since_epoch(value: object) -> datetime | None:
    try:
        elapsed = _figure(value)
    except ValueError:
        return None
    for (least, most), units in _EPOCHS.items():
        if least <= elapsed < most:
            return datetime.fromtimestamp(elapsed / units, UTC)
    return None


def _spelled(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    value = value.strip()
    try:
        if match := _INSTANT.fullmatch(value):
            return _from_parts(**match.groupdict())
        if _HTTP_DATE.fullmatch(value):
            found = parsedate_to_datetime(value)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    return None


def _from_parts(
    *,
    year: str,
    month: str,
    day: str,
    hour: str | None,
    minute: str | None,
    second: str | None,
    fraction: str | None,
    sign: str | None,
    hours: str | None,
    minutes: str | None,
) -> datetime:
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    leap = second == "60"  # read as the second after it: clocks have no second 60
    local = datetime(
        int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        59 if leap else int(second or 0),
        int((fraction or "0")[:6].ljust(6, "0")),
        tzinfo=timezone(-offset if sign == "-" else offset),
    )
    return local.astimezone(UTC) + timedelta(seconds=leap)
