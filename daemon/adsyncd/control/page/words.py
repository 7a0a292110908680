"""Numbers, durations and instants as the pages write them. Instants are in UTC."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from adsyncd.escaping import escaped
from adsyncd.model.status import counted

NONE = "\N{EM DASH}"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_LONGEST_NAME = 80
_LONGEST_TITLE = 400


@dataclass(frozen=True, slots=True)
class When:
    """An instant: its machine-readable form, and its words."""

    iso: str
    words: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """Words of another party, cut: `full` are more of them where `short` lacks some, else empty."""

    short: str
    full: str = ""


@dataclass(frozen=True, slots=True)
class Chips:
    """The first few names of many, and how many more there are, with a link to all of them."""

    names: Sequence[str]
    more: int = 0
    href: str = ""


def number(value: float) -> str:
    """Return a whole number with commas: `182,340`."""
    return f"{round(value):,}"


def several(value: int, noun: str) -> str:
    """Return a number with its noun: `1 tenant`, `1,200 tenants`."""
    return counted(value, noun).replace(str(value), number(value), 1)


def percent(share: float) -> str:
    """Return a share as a percentage: `41 %`; small ones with a digit after the point: `0.2 %`."""
    hundredths = share * 100
    if 0 < hundredths < 1:
        return "< 0.1 %" if hundredths < 0.1 else f"{hundredths:.1f} %"  # noqa: PLR2004 - one digit
    return f"{hundredths:,.0f} %"


def took(seconds: float) -> str:
    """Return how long something took, in two units at most: `10.7 s`, `2m 02s`, `31h 05m`, `4d 2h`."""
    if seconds < 0.05:  # noqa: PLR2004 - less than the digit that is shown
        return "0 s"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s" if seconds < 59.95 and round(seconds, 1) % 1 else f"{seconds:.0f} s"  # noqa: PLR2004 - as above
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S}m {whole % _MINUTE_S:02d}s"
    if whole < 2 * _DAY_S:
        return f"{whole // _HOUR_S}h {whole % _HOUR_S // _MINUTE_S:02d}m"
    return f"{whole // _DAY_S}d {whole % _DAY_S // _HOUR_S}h"


def about(span: timedelta) -> str:
    """Return a duration in its largest unit, rounded down: `18s`, `52m`, `26h`, `3d`."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < _MINUTE_S:
        return f"{seconds}s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S}m"
    return f"{seconds // _HOUR_S}h" if seconds < 2 * _DAY_S else f"{seconds // _DAY_S}d"


def ago(instant: datetime, now: datetime) -> When:
    """Return how long ago an instant was, in minutes at least: a page that changes each second is never unchanged."""
    span = now - instant
    return When(iso(instant), f"{about(span)} ago" if span >= timedelta(minutes=1) else "just now")


def for_(instant: datetime, now: datetime) -> When:
    """Return how long something lasts that began at an instant: `52m`."""
    span = now - instant
    return When(iso(instant), about(span) if span >= timedelta(minutes=1) else "< 1m")


def until(instant: datetime, now: datetime) -> When:
    """Return how long it is until an instant: `in 12m`; `now` if it is past."""
    left = instant - now
    return When(iso(instant), f"in {about(left)}" if left >= timedelta(seconds=1) else "now")


def at(instant: datetime, now: datetime) -> When:
    """Return the time of day of an instant, with its date if it is not today's."""
    here, today = instant.astimezone(UTC), now.astimezone(UTC).date()
    if here.date() == today:
        return When(iso(instant), f"{here:%H:%M:%S}")
    if here.date() == today - timedelta(days=1):
        return When(iso(instant), f"yesterday {here:%H:%M:%S}")
    return When(iso(instant), f"{here:%Y-%m-%d %H:%M}")


def iso(instant: datetime) -> str:
    """Return an instant for the attribute `datetime`."""
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def free(permits: int, of: int | None = None) -> str:
    """Return how many permits are free. After a quota was lowered, more may be out than it has."""
    whole = "" if of is None else f" of {several(of, 'permit')}"
    return f"{number(max(permits, 0))}{whole}" + (f", {number(-permits)} too many out" if permits < 0 else "")


def foreign(text: str, most: int = _LONGEST_NAME) -> Foreign:
    """Return another party's words in one line, unprintable characters escaped, cut to `most` characters."""
    # Escapes are longer than what they stand for; to escape 10 MB and cut it then would be slow.
    whole = escaped(text[: _LONGEST_TITLE + 1])
    if len(whole) <= most:
        return Foreign(whole)
    more = "\N{HORIZONTAL ELLIPSIS}" * (len(whole) > _LONGEST_TITLE)
    return Foreign(f"{whole[: most - 1]}\N{HORIZONTAL ELLIPSIS}", whole[:_LONGEST_TITLE] + more)


def chips(names: Sequence[str], total: int, href: str = "", most: int = 3) -> Chips:
    """Return the first `most` names of `total`."""
    first = names[:most]
    return Chips(first, max(0, total - len(first)), href)


def capital(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return text[:1].upper() + text[1:]
