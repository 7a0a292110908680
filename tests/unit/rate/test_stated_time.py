import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.rate.stated_time import LONGEST_S, instant, number, seconds_away

NOW = datetime(2026, 11, 29, 20, 0, tzinfo=UTC)
EPOCH_S = int(NOW.timestamp())

FORMS: dict[float, list[object]] = {
    5: [
        *(5, 5.0, "5", " 5 ", "+5", "5.", '"5"', "'5'", "05"),
        *("5s", "5 s", "5sec", "5 secs", "5 seconds", "5 Seconds", "1 second 4000 milliseconds", "5000ms", "5000 msec"),
        *("0m5s", "0h0m5s", "0m5.000s", "4s 1000ms", "PT5S", "PT0M5S", "P0DT5S", "pt5s", "00:00:05", "0:00:05.0"),
        *("5, 2", "2, 5", "5,2", "5, soon", "-9, 5", "1s, 0m5s", '"5", "2"'),
        *("Sun, 29 Nov 2026 20:00:05 GMT", "29 Nov 2026 20:00:05 GMT", "Sun, 29 Nov 2026 21:00:05 +0100"),
        *("Sunday, 29-Nov-26 20:00:05 GMT", "Sun Nov 29 20:00:05 2026", '"Sun, 29 Nov 2026 20:00:05 GMT"'),
        *("Sun, 29 Nov 2026 20:00:05 GMT, 2", "2, Sun, 29 Nov 2026 20:00:05 GMT"),
        "Sunday, 29-Nov-26 20:00:05 GMT, Sun, 29 Nov 2026 20:00:02 GMT",
        *("2026-11-29T20:00:05Z", "2026-11-29T20:00:05.000Z", "2026-11-29t20:00:05z", "20261129T200005Z"),
        *("2026-11-29T20:00:05", "2026-11-29 20:00:05", "2026-11-29 20:00:05 UTC", "2026-11-29 20:00:05 +0000"),
        *("2026-11-29T21:00:05+01:00", "2026-11-29T20:00:05.000000000Z", "2026-11-29T20:00:05Z, 2"),
        *(str(EPOCH_S + 5), f"@{EPOCH_S + 5}", EPOCH_S + 5, float(EPOCH_S + 5)),
        *((EPOCH_S + 5) * 10**3, (EPOCH_S + 5) * 10**6, str((EPOCH_S + 5) * 10**9)),
    ],
    90: ["1m30s", "1 minute 30 seconds", "1min 30sec", "1.5m", "PT1M30S", "PT90S", "00:01:30", "90"],
    3723: ["1h2m3s", "1hr 2mins 3secs", "PT1H2M3S", "1 hour 2 minutes 3 seconds"],
    LONGEST_S: ["1d", "1 day", "P1D", "P1DT2H", "30 days", "86401", 10**300, "9" * 400 + "s", "9999-12-31"],
    -5: ["Sun, 29 Nov 2026 19:59:55 GMT", "2026-11-29T19:59:55Z", str(EPOCH_S - 5), (EPOCH_S - 5) * 1000],
}
NOTHING: list[object] = [
    *("", " ", ",", "-5", "-5s", "--5", "soon", "in 5 minutes", "5 minutes from now", "5 months", "5 mi", "5x", "5/2"),
    *("nan", "inf", "1e999", "1_0", "0x1f", "\u0663", "9" * 400, "5 5", "5s 5s", "3s 1m", "1.2.3s", "s", "+", "@"),
    *("P", "PT", "P1M", "P1Y", "P1MT5S", "P1M2D", "PT5", "20:00", "20:00:05", "00:99:99"),
    *("29 Nov", "29 Nov 2026", "Sunday", "tomorrow", "Wed, 99 Nov 2026 10:00:00 GMT", "2026-13-01", "2026-11-29T"),
    *(None, True, False, [], ["5"], {}, math.nan, math.inf, -5, -0.1, 10**400, b"5", "5" + " " * 1024),
]


@pytest.mark.parametrize(("value", "away_s"), [(value, away_s) for away_s, forms in FORMS.items() for value in forms])
def test_each_form_of_a_time_that_is_seen_is_read(value: object, away_s: float) -> None:
    assert seconds_away(value, NOW) == pytest.approx(away_s)


@pytest.mark.parametrize("value", NOTHING)
def test_what_states_no_time_or_may_mean_two_is_not_read(value: object) -> None:
    assert seconds_away(value, NOW) is None


@pytest.mark.parametrize(("value", "away_s"), [(2, 120), ("2", 120), ("2s", 2), ("3, 2", 180), (str(EPOCH_S + 9), 9)])
def test_a_bare_number_counts_the_unit_that_its_place_has_and_all_else_states_its_own(
    value: object, away_s: float
) -> None:
    assert seconds_away(value, NOW, 60.0) == away_s


PIECES = st.sampled_from(
    [
        *("5", "0", "9" * 30, ".", "+", "-", "@", '"', ",", ", ", " ", ":", "/", "e9", "nan", "inf", "P", "T", "Z"),
        *("d", "h", "m", "s", "ms", "sec", "minutes", "GMT", "UTC", "+0000", "-23:59", "Sun", "Nov", "29", "2026"),
        *("0001", "2026-11-29", "20:00:05", "T20:00:05Z", "Sun, 29 Nov 2026 20:00:05 GMT", "9999-12-31T23:59:59"),
        *("\x00", "\ud800"),
    ]
)
TEXTS = st.text() | st.lists(PIECES, max_size=8).map("".join)


@given(
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | TEXTS,
    at=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds
    unit_s=st.sampled_from([0.001, 1.0, 60.0]),
)
def test_nothing_whatever_breaks_the_reading_or_reads_as_no_time(value: object, at: datetime, unit_s: float) -> None:
    away_s = seconds_away(value, at, unit_s)
    assert away_s is None or (math.isfinite(away_s) and away_s <= LONGEST_S)


@pytest.mark.parametrize(
    "hostile", ["9" * 1023 + "x", "5" + " " * 1022 + "x", "5s" * 500, "," * 1024, "1:" * 500, "T" * 1024]
)
def test_hostile_text_takes_no_time_worth_mentioning(hostile: str) -> None:
    assert seconds_away(hostile, NOW) is None


def test_a_date_without_a_zone_is_in_utc() -> None:
    assert instant("Sun Nov 29 20:00:00 2026") == instant("2026-11-29T20:00:00") == NOW
    assert instant("no date") is None


def test_a_number_is_of_json_or_in_text_and_never_negative() -> None:
    assert [number(value) for value in (5, 5.5, " 5 ", "5.", "-5", -5, True, "5s", None)] == [5, 5.5, 5, 5, *[None] * 5]
