"""Drawings in SVG, made of numbers alone: strips of marks, sparklines, bars of quotas, the last hour of a tenant.

Colours and strokes are classes of page.css: the content security policy allows no inline style.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from adsyncd.control.overview import CLOSE, Load, Mark
from adsyncd.control.page.words import percent, several

_STEP = 4  # width of a mark and the gap to the next one
_STRIP_HEIGHT = 16
_MIDDLES = {Mark.NOTHING: 15, Mark.SUCCEEDED: 12, Mark.LATE: 13, Mark.PARTIAL: 10, Mark.FAILED: 8}  # page.css: widths
_CLASSES = {Mark.NOTHING: "none", Mark.SUCCEEDED: "ok", Mark.LATE: "late", Mark.PARTIAL: "part", Mark.FAILED: "bad"}
_WORDS = {Mark.SUCCEEDED: "well", Mark.LATE: "late", Mark.PARTIAL: "partial", Mark.FAILED: "failed"}
_SPARK = (74, 24)
_FULL = 0.72  # part of a bar's width that stands for 100 %
_MOST = 1 / _FULL  # the largest share that fits; more is cut
_HOUR = timedelta(hours=1)
_LEFT, _RIGHT, _WIDTH = 60, 1210, 1240
_TOP_OF_PERMITS, _BOTTOM = 86, 120
_MOST_DOTS = 400


class Svg(str):
    """A drawing as markup that templates insert as it is. Only this module makes one, of numbers and its own words."""

    __slots__ = ()

    def __html__(self) -> str:
        """Return the markup: it needs no escapes."""
        return str(self)


@dataclass(frozen=True, slots=True)
class Span:
    """A run in the drawing of an hour: its begin and end, and the share of it that waits took."""

    begin: datetime
    end: datetime
    waited: float


@dataclass(frozen=True, slots=True)
class Permits:
    """The free permits in the drawing of an hour, of `most`: the share that is free at instants, oldest first."""

    most: int
    free: Sequence[tuple[datetime, float]] = ()


def strip(day: Sequence[Mark]) -> Svg:
    """Draw the marks of a day, each half hour a bar whose height and colour tell how it went."""
    lines: dict[Mark, list[str]] = {}
    x = 0
    for mark, group in groupby(day):
        length = sum(_STEP for _ in group)
        # One stroke with gaps stands for a row of equal bars.
        lines.setdefault(mark, []).append(f"M{x} {_MIDDLES[mark]}h{length - 1}")
        x += length
    paths = "".join(f'<path class="m m-{_CLASSES[mark]}" d="{"".join(rows)}"/>' for mark, rows in lines.items())
    counts = ", ".join(f"{day.count(mark)} {words}" for mark, words in _WORDS.items())
    return _svg(max(1, x), _STRIP_HEIGHT, paths, f"last 24 hours in half hours: {counts}")


def spark(values: Sequence[float]) -> Svg:
    """Draw a line of values over time, for the eye alone: the number beside it says the sum."""
    width, height = _SPARK
    most = max(values, default=0) or 1
    step = width / max(1, len(values) - 1)
    heights = [height - 2 - (height - 4) * value / most for value in values]
    line = " ".join(f"{_n(index * step)},{_n(y)}" for index, y in enumerate(heights))
    area = f'<polygon class="area" points="0,{height} {line} {width},{height}"/>'
    shapes = f'{area}<polyline class="line" points="{line}"/>' if heights else ""
    return Svg(f'<svg aria-hidden="true" width="{width}" height="{height}">{shapes}</svg>')


def bar(load: Load, width: int = 92) -> Svg:
    """Draw how much of a quota is needed (the bar) and was used (the stroke); the dashes are the whole quota."""
    full = round(width * _FULL)
    needed = load.needed or 0.0
    shown = round(min(needed, _MOST) * full)
    parts = [f'<rect class="none" width="{full}" height="8" y="2.5"/>']
    if needed > 1:
        parts.append(f'<rect class="over" width="{full}" height="8" y="2.5"/>')
        parts.append(f'<rect class="bad" x="{full}" width="{shown - full}" height="8" y="2.5"/>')
    else:
        parts.append(f'<rect class="{"part" if needed > CLOSE else "ok"}" width="{shown}" height="8" y="2.5"/>')
    if needed > _MOST:
        parts.append(f'<path class="cut" d="M{width - 6} 0l-3 13"/>')
    parts.append(f'<path class="limit" d="M{full} 0v13"/>')
    parts.append(f'<path class="used" d="M{max(1, round(min(load.used, _MOST) * full))} 0v13"/>')
    need = "needs are not known yet" if load.needed is None else f"needs {percent(needed)} of the quota"
    return _svg(width, 13, "".join(parts), f"{need}, used {percent(load.used)} in the last hour")


def times(parts: Mapping[str, float], words: str, width: int = 210) -> Svg:
    """Draw what took the time: for each class of page.css, its share of the whole. `words`: our own, for the label."""
    drawn, x = [], 0.0
    for name, share in parts.items():
        length = width * min(1.0, max(0.0, share))
        if length >= 0.5:  # noqa: PLR2004 - less is not seen
            drawn.append(f'<rect class="{name}" x="{_n(x)}" width="{_n(min(length, width - x))}" height="10" y="1"/>')
        x = min(float(width), x + length)
    return _svg(width, 12, "".join(drawn), words)


def hour(
    due: Iterable[datetime], skipped: Iterable[datetime], runs: Iterable[Span], permits: Permits, now: datetime
) -> Svg:
    """Draw a tenant's last hour: a dot for each tick that ran or was skipped, a bar for each run, its free permits."""
    begin = now - _HOUR

    def x(instant: datetime) -> float:
        share = (instant - begin) / _HOUR
        return _LEFT + (_RIGHT - _LEFT) * min(1.0, max(0.0, share))

    ran = [one for one in due if begin <= one <= now][:_MOST_DOTS]
    missed = [one for one in skipped if begin <= one <= now][:_MOST_DOTS]
    spans = [one for one in runs if one.end >= begin][:_MOST_DOTS]
    parts = []
    for minutes in range(0, 61, 10):
        instant = begin + timedelta(minutes=minutes)
        here = _n(x(instant))
        parts.append(f'<line class="grid" x1="{here}" x2="{here}" y1="14" y2="{_BOTTOM}"/>')
        clock = f"{instant.astimezone(UTC):%H:%M}"
        parts.append(f'<text class="label" x="{here}" y="{_BOTTOM + 16}" text-anchor="middle">{clock}</text>')
    parts.append('<text class="label" x="0" y="31">due</text><text class="label" x="0" y="62">runs</text>')
    parts += [f'<circle class="skipped" cx="{_n(x(one))}" cy="27" r="4"/>' for one in missed]
    parts += [f'<circle class="ran" cx="{_n(x(one))}" cy="27" r="4"/>' for one in ran]
    for span in spans:
        place = f'x="{_n(x(span.begin))}" width="{_n(max(2.0, x(span.end) - x(span.begin)))}"'
        waited = 20 * min(1.0, max(0.0, span.waited))
        parts.append(f'<rect class="work" {place} y="48" height="20"/>')
        if waited:
            parts.append(f'<rect class="wait" {place} y="{_n(68 - waited)}" height="{_n(waited)}"/>')
    parts += _free(permits, begin, now, x)
    words = f"the last hour: {several(len(ran), 'tick')} ran, {len(missed)} skipped; {several(len(spans), 'run')}"
    label = f'role="img" aria-label="{words}"'
    return Svg(f'<svg {label} class="hour" viewBox="0 0 {_WIDTH} {_BOTTOM + 22}">{"".join(parts)}</svg>')


def _free(permits: Permits, begin: datetime, now: datetime, x: Callable[[datetime], float]) -> Iterator[str]:
    """Draw a line of the free permits. Of a row of equal values, only the first and the last are points of it."""
    shown = [(at, share) for at, share in permits.free if begin <= at <= now]
    if not shown:
        return
    height = _BOTTOM - _TOP_OF_PERMITS
    yield f'<text class="label" x="0" y="{_TOP_OF_PERMITS + height / 2 + 4:.0f}">free</text>'
    for value, y in ((permits.most, _TOP_OF_PERMITS), (0, _BOTTOM)):
        yield f'<text class="label" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{value:,}</text>'
    points = []
    for before, (at, share), after in zip([None, *shown], shown, [*shown[1:], None], strict=False):
        if before is None or after is None or not before[1] == share == after[1]:
            points.append(f"{_n(x(at))},{_n(_BOTTOM - height * min(1.0, max(0.0, share)))}")
    line, first, last = " ".join(points), _n(x(shown[0][0])), _n(x(shown[-1][0]))
    yield f'<polygon class="area" points="{first},{_BOTTOM} {line} {last},{_BOTTOM}"/>'
    yield f'<polyline class="line" points="{line}"/>'


def _svg(width: int, height: int, shapes: str, label: str) -> Svg:
    return Svg(f'<svg role="img" aria-label="{label}" width="{width}" height="{height}">{shapes}</svg>')


def _n(value: float) -> str:
    """Return a coordinate in the fewest characters."""
    return f"{value:.1f}".removesuffix(".0")
