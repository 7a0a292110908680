"""What a platform says about its limits, read from its answers. It may only ever make us slower.

The wait after a 429 or 503 is taken from `Retry-After` (RFC 9110, section 10.2.3: seconds or an HTTP-date), else from
`retry_after` in a JSON body.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after_s(headers: Mapping[str, str], body: bytes, now: datetime) -> float | None:
    """Return the seconds for which the platform asks to be left alone, or None if it says nothing usable.

    A date is counted from the answer's own `Date`, if it has one, so that the two clocks need not agree. What lies in
    the past, is negative or is not a number says nothing.
    """
    for wait in (_from_header(headers, now), _from_body(body)):
        if wait is not None and math.isfinite(wait) and wait > 0:
            return wait
    return None


def _from_header(headers: Mapping[str, str], now: datetime) -> float | None:
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is not None:
        return seconds
    until = _http_date(value)
    if until is None:
        return None
    return (until - (_http_date(headers.get("date", "")) or now)).total_seconds()


def _from_body(body: bytes) -> float | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    value = answer.get("retry_after") if isinstance(answer, dict) else None
    return _number(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None


def _number(value: float | str) -> float | None:
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _http_date(value: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
