from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest

from adsyncd.control.overview import Load, Mark
from adsyncd.control.page import drawing
from adsyncd.control.page.drawing import Permits, Span, Svg
from support.records import NOON


def drawn(svg: Svg) -> ET.Element:
    """Return a drawing, which has to be well-formed and say what it shows, or be hidden from those that listen."""
    root = ET.fromstring(svg)
    assert (root.get("role") == "img" and root.get("aria-label")) or root.get("aria-hidden") == "true"
    assert not [one for one in root.iter() if one.get("style")]
    return root


def test_a_strip_has_one_stroke_for_each_row_of_equal_marks() -> None:
    root = drawn(drawing.strip([Mark.SUCCEEDED] * 45 + [Mark.FAILED] * 2 + [Mark.LATE]))
    assert [(one.get("class"), one.get("d")) for one in root] == [
        ("m m-ok", "M0 12h179"),
        ("m m-bad", "M180 8h7"),
        ("m m-late", "M188 13h3"),
    ]
    assert root.get("aria-label") == "last 24 hours in half hours: 45 well, 1 late, 0 partial, 2 failed"
    drawn(drawing.strip([]))
    assert len(drawing.strip([Mark(one % 5) for one in range(48)])) < 900  # the longest there is


@pytest.mark.parametrize("needed", [None, 0.0, 0.41, 0.9, 1.0, 1.2, 2.75, 1e9])
@pytest.mark.parametrize("used", [0.0, 0.5, 1.0, 30.0])
def test_a_bar_never_leaves_its_frame(needed: float | None, used: float) -> None:
    root = drawn(drawing.bar(Load(needed, used)))
    for rect in root.iter("rect"):
        assert 0 <= float(rect.get("x", 0)) + float(rect.get("width", 0)) <= 92
        assert float(rect.get("width", 0)) >= 0
    classes = [one.get("class") for one in root]
    assert ("bad" in classes) == (needed is not None and needed > 1)
    assert ("part" in classes) == (needed in {0.9, 1.0})
    assert ("cut" in classes) == (needed is not None and needed > 2)


def test_a_bar_says_what_it_shows() -> None:
    assert (
        drawn(drawing.bar(Load(0.41, 0.3))).get("aria-label") == "needs 41 % of the quota, used 30 % in the last hour"
    )
    assert "not known yet" in (drawn(drawing.bar(Load(None, 0))).get("aria-label") or "")


@pytest.mark.parametrize("values", [[], [0], [0, 0, 0], [1], [5, 1, 9]])
def test_a_sparkline_stands_any_values(values: list[float]) -> None:
    drawn(drawing.spark(values))


def test_an_hour_shows_ticks_and_runs_inside_its_frame() -> None:
    begin = NOON - timedelta(hours=2)
    spans = [Span(begin, NOON, 0.98), Span(begin, begin, 0.1), Span(NOON, NOON + timedelta(hours=9), 0.0)]
    root = drawn(drawing.hour([NOON, begin], [NOON - timedelta(minutes=1)], spans, Permits(10), NOON))
    assert root.get("aria-label") == "the last hour: 1 tick ran, 1 skipped; 2 runs"
    for rect in root.iter("rect"):
        assert 60 <= float(rect.get("x", 0)) <= float(rect.get("x", 0)) + float(rect.get("width", 0)) <= 1212.1
    assert [one.get("class") for one in root.iter("circle")] == ["skipped", "ran"]


def test_an_hour_of_a_schedule_of_seconds_stays_small() -> None:
    ticks = [NOON - timedelta(seconds=one) for one in range(3600)]
    permits = Permits(10, [(one, index % 2) for index, one in enumerate(reversed(ticks[::10]))])
    assert len(drawing.hour(ticks, ticks, [Span(one, one, 0.5) for one in ticks], permits, NOON)) < 150_000


def test_an_hour_has_a_line_of_the_free_permits_inside_its_frame() -> None:
    ago = [NOON - timedelta(seconds=one) for one in (7200, 3000, 2000, 1500, 1000, 500, 0, -60)]
    shares = [1.0, 1.0, 1.0, 1.0, 0.0, 0.5, 7.0, 1.0]
    root = drawn(drawing.hour((), (), (), Permits(1000, list(zip(ago, shares, strict=True))), NOON))
    [line] = root.iter("polyline")
    points = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
    assert [round(y) for _, y in points] == [86, 86, 120, 103, 86]  # the second of three equal ones is left out
    assert [round(x) for x, _ in points] == [252, 731, 891, 1050, 1210]
    assert {"1,000", "0", "free"} <= {text.text for text in root.iter("text")}


def test_an_hour_without_samples_has_no_line() -> None:
    root = drawn(drawing.hour((), (), (), Permits(0), NOON))
    assert not list(root.iter("polyline"))


def test_what_took_the_time_fits_whatever_the_shares() -> None:
    root = drawn(drawing.times({"work": 0.1, "wait": 0.5, "w-other": 7.0}, "a label"))
    assert sum(float(one.get("width", 0)) for one in root) == 210
    drawn(drawing.times({}, "a label"))
