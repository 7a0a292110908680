"""Durations as operators write them: "15m", "1h30m", "250ms"."""

import re
from datetime import timedelta

LONGEST = timedelta(days=366)

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,12}}){unit})?" for unit in _UNITS))


def parse_duration(text: str) -> timedelta:
    """Parse whole numbers with the units d, h, m, s and ms, in this order, each at most once.

    Raises ValueError, with a message for an operator, for anything else and for more than `LONGEST`.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError('expected a duration such as "15m", "1h30m" or "250ms"')
    milliseconds = sum(
        int(number) * unit for number, unit in zip(match.groups(), _UNITS.values(), strict=True) if number
    )
    if milliseconds > LONGEST / timedelta(milliseconds=1):
        raise ValueError(f"must be at most {format_duration(LONGEST)}")
    return timedelta(milliseconds=milliseconds)


def format_duration(duration: timedelta) -> str:
    """Return a duration of whole milliseconds as `parse_duration` reads it, in the fewest parts."""
    rest = duration // timedelta(milliseconds=1)
    parts = []
    for unit, milliseconds in _UNITS.items():
        number, rest = divmod(rest, milliseconds)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"
