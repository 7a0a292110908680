from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.platforms import values

MOMENT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
EPOCH_S = 1704164645

Read = Callable[[object], object]


def refusal(read: Read, value: object) -> str:
    with pytest.raises(ValueError, match=" ") as refused:
        read(value)
    assert "4711" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("read", [values.text, values.number, values.count, values.instant])
def test_null_is_no_value(read: Read) -> None:
    assert read(None) is None


@pytest.mark.parametrize(
    ("value", "id_"),
    [("a/b", "a/b"), ("...", "..."), ("é%2F", "é%2F"), (7, "7"), (-7, "-7"), (7.0, "7"), (" ", " "), ("x" * 255,) * 2],
)
def test_an_id_is_a_text_that_is_short_enough_or_a_whole_number(value: object, id_: str) -> None:
    assert values.identity(value) == id_


@pytest.mark.parametrize(
    "value", [None, True, "", ".", "..", "a\x004711", "4711\ud800", "x" * 256, 10**300, 4711.5, [4711], {"id": 4711}]
)
def test_an_id_that_could_lead_elsewhere_or_not_be_stored_is_refused(value: object) -> None:
    refusal(values.identity, value)


@pytest.mark.parametrize(("value", "read"), [("", ""), ("Größe 😀", "Größe 😀"), (7, "7"), (7.5, "7.5")])
def test_a_text_may_be_a_number(value: object, read: str) -> None:
    assert values.text(value) == read


@pytest.mark.parametrize("value", [True, [], {}, "a\x004711", "\udfff4711"])
def test_what_is_no_text_that_can_be_stored_is_refused(value: object) -> None:
    refusal(values.text, value)


@pytest.mark.parametrize(
    ("value", "read"),
    [(10.5, 10.5), (3, 3.0), ("10.50", 10.5), ("1200", 1200.0), (" -7 ", -7.0), ("1e3", 1000.0), (2**70, 2.0**70)],
)
def test_a_number_may_be_written_as_text(value: object, read: float) -> None:
    found = values.number(value)
    assert (found, type(found)) == (read, float)


@pytest.mark.parametrize(
    "value", [True, "", "4711 EUR", "4,711", "4_711", "0x4711", "NaN", "inf", "1e400", 10**400, [4711], {"amount": 1}]
)
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    refusal(values.number, value)


@pytest.mark.parametrize(("value", "read"), [(3, 3), (3.0, 3), ("1200", 1200), ("3.0", 3), (2**63 - 1,) * 2, ("-0", 0)])
def test_a_count_may_be_written_as_text_or_with_a_point(value: object, read: int) -> None:
    found = values.count(value)
    assert (found, type(found)) == (read, int)


@pytest.mark.parametrize("value", [False, 4711.5, "4711.5", 2**63, -(2**63), 2**70, "4711" * 5, 1e300, "many", []])
def test_what_is_no_whole_number_that_a_database_holds_is_refused(value: object) -> None:
    refusal(values.count, value)


@pytest.mark.parametrize(
    "value",
    [
        *("2024-01-02T03:04:05Z", "2024-01-02t03:04:05z", "2024-01-02 03:04:05", "2024-01-02 03:04:05 +0000"),
        *("2024-01-02T03:04:05 UTC", "2024-01-02T05:04:05+02:00", "2024-01-01T20:04:05-0700", "2024-01-01T20:04:05-07"),
        *("20240102T030405Z", "20240102030405", " 2024-01-02T03:04:05Z\n"),
        *("Tue, 02 Jan 2024 03:04:05 GMT", "Tue, 02 Jan 2024 05:04:05 +0200"),
        *(EPOCH_S, float(EPOCH_S), str(EPOCH_S), EPOCH_S * 1000, str(EPOCH_S * 1000)),
        *(EPOCH_S * 1_000_000, EPOCH_S * 1_000_000_000),
    ],
)
def test_an_instant_may_be_spelled_in_many_ways(value: object) -> None:
    found = values.instant(value)
    assert (found, found and found.tzinfo) == (MOMENT, UTC)


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2024-01-02", datetime(2024, 1, 2, tzinfo=UTC)),
        ("20240102", datetime(2024, 1, 2, tzinfo=UTC)),
        ("2024-01-02T03:04Z", datetime(2024, 1, 2, 3, 4, tzinfo=UTC)),
        ("2024-01-02T03:04:05.123456789Z", MOMENT.replace(microsecond=123456)),
        ("2024-01-02T03:04:05,5Z", MOMENT.replace(microsecond=500_000)),
        (EPOCH_S + 0.5, MOMENT.replace(microsecond=500_000)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
    ],
)
def test_an_instant_may_be_a_day_or_more_exact_than_can_be_kept_or_never_set(
    value: object, instant: datetime | None
) -> None:
    assert values.instant(value) == instant


@pytest.mark.parametrize(
    "value",
    [
        *("", "soon", "02/01/2024", "2024-13-02", "2024-02-30T00:00:00Z", "2024-01-02T25:00:00Z", "4711"),
        *("0000-00-00 00:00:00", "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00", "2024-01-02T03:04:05+99:00"),
        *(4711, 0, -1, 1e300, 10**400, True, [EPOCH_S], {"seconds": EPOCH_S}, "Tue, 99 Foo 2024 03:04:05 GMT"),
    ],
)
def test_what_names_no_instant_or_may_mean_several_is_refused(value: object) -> None:
    refusal(values.instant, value)


@pytest.mark.parametrize(
    ("spelled", "usual"),
    [
        ("2024-01-02T03:04:05.250Z", "2024-01-02 03:04:05.250Z"),
        ("2024-01-02T03:04:05.250001+0530", "2024-01-02 03:04:05.250001 +0530"),
        ("2024-01-02T03:04:05-07:00", "2024-01-02 03:04:05 -07:00"),
        ("2024-02-29T23:59:59+00:00", "2024-02-29 23:59:59 +00:00"),
    ],
)
def test_the_usual_spellings_mean_what_the_others_mean(spelled: str, usual: str) -> None:
    found = values.instant(spelled)
    assert (found, found and found.tzinfo) == (values.instant(usual), UTC)


@pytest.mark.parametrize("value", ["2026-W01-1T03:04:05Z", "2024-01-02T03:04:05+01:00:30", "2024-01-02T03+01:00:00Z"])
def test_what_python_reads_beyond_the_spellings_here_is_refused(value: str) -> None:
    refusal(values.instant, value)


@pytest.mark.parametrize(
    ("value", "scale", "read"),
    [
        (12_340_000, 1e-6, 12.34),
        ("12340000", 1e-6, 12.34),
        (1999, 0.01, 19.99),
        (7, 1000.0, 7000.0),
        (0, 1e-6, 0.0),
        (3, 0.4, 3 * 0.4),
        (-5, 0.01, -0.05),
        (None, 0.01, None),
    ],
)
def test_a_number_is_scaled_without_a_rounding_of_its_own(value: object, scale: float, read: float | None) -> None:
    assert values.scaled(value, scale) == read


@pytest.mark.parametrize("value", [1e308, "4711 EUR", True])
def test_what_is_no_finite_number_once_it_is_scaled_is_refused(value: object) -> None:
    refusal(lambda each: values.scaled(each, 1000.0), value)


@pytest.mark.parametrize(
    ("value", "units"), [(EPOCH_S, 1), (str(EPOCH_S), 1), (EPOCH_S * 1000, 1000), (f"{EPOCH_S}000", 1000)]
)
def test_a_number_is_an_instant_in_the_unit_that_the_profile_names(value: object, units: int) -> None:
    found = values.elapsed(value, units)
    assert (found, found and found.tzinfo) == (MOMENT, UTC)
    assert values.elapsed(0, units) == datetime(1970, 1, 1, tzinfo=UTC)
    assert values.elapsed(None, units) is None


@pytest.mark.parametrize("value", ["2024-01-02T03:04:05Z", True, 1e300, -1e300, 10**400, float("nan"), [], 2**63])
def test_what_is_no_number_of_seconds_in_the_calendar_is_refused(value: object) -> None:
    refusal(lambda each: values.elapsed(each, 1), value)


@pytest.mark.parametrize("value", ["2024-01-02 03:04:05", "Tue, 02 Jan 2024 03:04:05 GMT", "2024-01-02T03:04:05Z"])
def test_where_instants_are_text_a_number_is_none(value: str) -> None:
    assert values.written(value) == MOMENT
    assert values.written(None) is None
    for number in (EPOCH_S, str(EPOCH_S), True, ""):
        refusal(values.written, number)


DATES = st.datetimes(datetime.min + timedelta(days=2), datetime.max - timedelta(days=2))  # noqa: DTZ901 - as written


@given(DATES, st.integers(-14 * 60, 14 * 60))
def test_every_instant_that_iso_8601_can_say_is_read(local: datetime, offset_min: int) -> None:
    offset = timedelta(minutes=offset_min)
    sign = "-" if offset_min < 0 else "+"
    hours, minutes = divmod(abs(offset_min), 60)
    assert values.instant(f"{local.isoformat()}{sign}{hours:02}:{minutes:02}") == local.replace(tzinfo=UTC) - offset


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.lists(st.integers(), max_size=2))
def test_no_value_does_anything_but_be_read_or_refused(value: object) -> None:
    of_one: list[Read] = [values.identity, values.text, values.number, values.count, values.instant, values.written]
    of_one += [partial(values.elapsed, units=1000), partial(values.scaled, scale=0.01)]
    for read in of_one:
        try:
            read(value)
        except ValueError:
            continue
