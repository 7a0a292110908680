from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from adsyncd.model.half_hour import HALF_HOUR, half_hour_of, start_of


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])))
def test_an_instant_is_in_its_half_hour(instant: datetime) -> None:
    number = half_hour_of(instant)
    assert start_of(number) <= instant < start_of(number) + HALF_HOUR


def test_half_hours_begin_on_the_hour_and_in_its_middle() -> None:
    assert start_of(half_hour_of(datetime(2026, 11, 25, 12, 59, 59, 999999, UTC))) == datetime(
        2026, 11, 25, 12, 30, tzinfo=UTC
    )
