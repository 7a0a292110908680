"""Forecasts of more grants than are made one by one."""

from copy import copy
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.rate.bucket import cools_for
from adsyncd.rate.limiter import Limiter
from adsyncd.rate.quota import Quota, Window

WINDOW = timedelta(seconds=10)
COOLS_FOR = cools_for(Window(1, WINDOW))


@given(
    permits=st.integers(1, 12),
    takes=st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=20),
    count=st.integers(1, 60),
    cost=st.integers(1, 3),
)
def test_in_one_window_an_estimate_is_what_granting_one_by_one_gives(
    permits: int, takes: list[tuple[float, bool]], count: int, cost: int
) -> None:
    limiter = Limiter(Quota(max(permits, cost), WINDOW))
    now = 0.0
    for after_s, answered in takes:
        now += after_s
        if (numbers := limiter.take(now)) and answered:
            limiter.cool(numbers, now)
    assert limiter.estimate(count, now, 1) == pytest.approx(copy(limiter).rehearse(count, now, 1))
    assert limiter.estimate(count, now, cost) <= copy(limiter).rehearse(count, now, cost) + 1e-9


def test_a_forecast_in_a_window_of_a_million_does_not_grant_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Limiter, "rehearse")
    limiter = Limiter(Quota(1_000_000, WINDOW))
    assert [limiter.nth_at(count, 0.0) for count in (1_000_000, 1_000_001)] == [0.0, COOLS_FOR]
    limiter.tighten(5000, 80_000.0, 0.0)
    assert [limiter.nth_at(count, 0.0) for count in (5000, 5001)] == [0.0, 80_000.0]
