"""Times that platforms state, in each form that is seen in the wild, as seconds from now.

RFC 9110 has a number of seconds and three forms of a date. Others write a unit behind the number, a duration of Go,
.NET or ISO 8601, a date of ISO 8601, the seconds since 1970, or a list where two servers on the way both answered. An
ambiguous text is ignored.
"""

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_S = 86_400.0
"""The longest wait or reset. Few quotas last longer than a day, and a mistake costs no more than that."""

_LONGEST_TEXT = 1024
_EPOCH_S = 1e9  # larger numbers are instants, of 2001 and later
_EPOCH_MS = 1e12  # still larger ones count milliseconds, microseconds or nanoseconds
_NANOSECONDS = 3  # thousandths of thousandths of thousandths

_DIGITS = r"[0-9]+(?:\.[0-9]*)?"
_NUMBER = re.compile(rf"\s*({_DIGITS})\s*")
_UNITS_S = {
    "d(?:ays?)?": 86_400,
    "h(?:(?:ou)?rs?)?": 3600,
    "m(?:in(?:ute)?s?)?": 60,
    "s(?:ec(?:ond)?s?)?": 1,
    "m(?:illi)?s(?:ec(?:ond)?s?)?": 0.001,
}
_SPAN = re.compile(
    r"(?:P(?=(?:[0-9]+D)?(?:T|$)))?" + "".join(rf"[\sT]*(?:({_DIGITS})\s*{unit})?" for unit in _UNITS_S), re.IGNORECASE
)
_CLOCK = re.compile(r"00?:([0-5][0-9]):([0-5][0-9](?:\.[0-9]+)?)")  # with hours it might be a time of the day
_BETWEEN = re.compile(r",(?!(?<=[a-z],) *[0-9]{1,2}[ -][A-Z][a-z]{2})")  # but for the comma of "Wed, 25 Nov 2026 ..."
_ZONE = re.compile(r" (?=[+-][0-9]{2}:?[0-9]{2}$)| ?(?:UTC|GMT)$")  # which Python does not read behind ISO 8601


def seconds_away(value: object, at: datetime, unit_s: float = 1.0) -> float | None:
    """Return in how many seconds from `at` the time comes that `value` states, at most `LONGEST_S`; negative if past.

    A bare number counts units of `unit_s`. The longest of a list counts. None if unreadable. Never raises.
    """
    if not isinstance(value, str):
        members: list[object] = [value]
    elif len(value) <= _LONGEST_TEXT:
        members = [member.strip("\"' \t").removeprefix("+") for member in _BETWEEN.split(value)]
    else:
        members = []
    found = [away_s for member in members if (away_s := _away_s(member, at, unit_s)) is not None]
    return min(max(found), LONGEST_S) if found else None


def instant(text: str) -> datetime | None:
    """Return the instant of a date in the form of HTTP or ISO 8601; UTC if it names no zone. None if unreadable."""
    for read in (parsedate_to_datetime, _iso):
        try:
            found = read(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def number(value: object) -> float | None:
    """Return a number from JSON or a text; None if it is negative or no number."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        value = float(match[1]) if match else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and found >= 0 else None


def _away_s(value: object, at: datetime, unit_s: float) -> float | None:
    count = number(value.removeprefix("@") if isinstance(value, str) else value)  # "@" marks a date in RFC 9651
    if count is None:
        return _text_away_s(value, at) if isinstance(value, str) else None
    if count <= _EPOCH_S:
        return count * unit_s
    for _ in range(_NANOSECONDS):
        count /= 1000 if count > _EPOCH_MS else 1
    return count - at.timestamp()


def _text_away_s(text: str, at: datetime) -> float | None:
    if (span := _SPAN.fullmatch(text)) and any(span.groups()):
        return sum(
            float(count) * unit_s for count, unit_s in zip(span.groups(), _UNITS_S.values(), strict=True) if count
        )
    if clock := _CLOCK.fullmatch(text):
        return 60 * float(clock[1]) + float(clock[2])
    date = instant(text)
    return (date - at).total_seconds() if date else None


def _iso(text: str) -> datetime:
    return datetime.fromisoformat(_ZONE.sub("", text).upper())
