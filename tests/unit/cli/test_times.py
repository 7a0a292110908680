from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from adsyncd.cli.times import TO_THE_MINUTE, brief, column, full, local
from support.zone import in_zone

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
SUMMER_ENDS = datetime(2026, 10, 25, 1, tzinfo=UTC)  # in Berlin, where 02:00 to 03:00 comes twice


@pytest.fixture(autouse=True, params=["Europe/Berlin"])
def _zone(request: pytest.FixtureRequest) -> Iterator[None]:
    with in_zone(request.param):
        yield


def test_an_instant_is_local_and_has_its_offset() -> None:
    assert full(NOON) == "2026-11-25 13:00:00+01:00"
    assert full(NOON - timedelta(days=100)) == "2026-08-17 14:00:00+02:00"  # by the offset of then, not of now


@pytest.mark.parametrize(
    ("_zone", "shown"),
    [
        ("UTC", "12:00:00+00:00"),
        ("Asia/Kolkata", "17:30:00+05:30"),
        ("America/St_Johns", "08:30:00-03:30"),
        ("Pacific/Chatham", "01:45:00+13:45"),
    ],
    indirect=["_zone"],
)
def test_offsets_of_all_forms_are_shown(shown: str) -> None:
    assert brief(NOON, NOON) == shown


def test_the_date_is_shown_from_a_day_on() -> None:
    day = timedelta(days=1)
    assert brief(NOON + day - timedelta(seconds=1), NOON) == "12:59:59+01:00"
    assert brief(NOON + day, NOON) == "2026-11-26 13:00+01:00"
    assert brief(NOON - day, NOON) == "2026-11-24 13:00+01:00"


def test_the_hour_that_comes_twice_is_told_apart() -> None:
    first, second = (SUMMER_ENDS + timedelta(minutes=minutes) for minutes in (-30, 30))
    assert (brief(first, second), brief(second, second)) == ("02:30:00+02:00", "02:30:00+01:00")


def test_the_heading_of_a_column_has_the_offset() -> None:
    assert column("started", [NOON, None]) == ("started (+01:00)", ["2026-11-25 13:00:00", ""])
    assert column("due", [NOON], TO_THE_MINUTE) == ("due (+01:00)", ["2026-11-25 13:00"])
    assert column("due", [None]) == ("due", [""])


def test_each_cell_has_its_offset_if_it_changes_between_them() -> None:
    minutes = (timedelta(minutes=-30), timedelta(minutes=30))
    heading, cells = column("due", [None, *(SUMMER_ENDS + each for each in minutes)], TO_THE_MINUTE)
    assert heading == "due"
    assert cells == ["", "2026-10-25 02:30+02:00", "2026-10-25 02:30+01:00"]


@pytest.mark.parametrize("_zone", ["Asia/Tokyo", "America/New_York"], indirect=True)
@pytest.mark.parametrize("odd", [datetime.max, datetime.min, datetime.max.replace(tzinfo=UTC)])  # noqa: DTZ901 - odd
def test_instants_at_the_ends_of_the_calendar_are_shown_all_the_same(odd: datetime) -> None:
    assert full(odd)
    assert brief(odd, NOON)
    assert column("at", [odd])[1] == [f"{local(odd):%Y-%m-%d %H:%M:%S}"]
