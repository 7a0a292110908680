import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_api.meters import Algorithm, FixedWindow, Reading, SlidingLog, TokenBucket, WindowCounter, meter

WINDOW = 8.0  # with quotas and instants that are powers of two, so that all sums are exact

quotas = st.sampled_from([1, 2, 4, 8])
gaps = st.one_of(st.just(0), st.integers(0, 64), st.integers(0, 1024)).map(lambda n: n / 64)
arrivals = st.lists(gaps, min_size=1, max_size=80).map(lambda steps: list(accumulate(steps, initial=1024.0)))
every_algorithm = pytest.mark.parametrize("algorithm", Algorithm)


def accepted(counting: SlidingLog | FixedWindow | TokenBucket | WindowCounter, instants: list[float]) -> list[float]:
    return [at for at in instants if counting.take(at).accepted]


@given(quotas, arrivals)
def test_a_sliding_log_never_accepts_more_than_the_quota_in_any_trailing_window(
    quota: int, instants: list[float]
) -> None:
    log = accepted(SlidingLog(quota, WINDOW), instants)
    assert all(sum(end - WINDOW < at <= end for at in log) <= quota for end in log)


@given(quotas, arrivals)
def test_a_sliding_log_accepts_whenever_the_trailing_window_has_room(quota: int, instants: list[float]) -> None:
    counting, log = SlidingLog(quota, WINDOW), list[float]()
    for now in instants:
        room = sum(now - WINDOW < at for at in log) < quota
        assert counting.take(now).accepted is room
        log += [now] if room else []


@given(quotas, arrivals)
def test_a_fixed_window_accepts_the_first_requests_of_each_window(quota: int, instants: list[float]) -> None:
    log = accepted(FixedWindow(quota, WINDOW), instants)
    for window in {at // WINDOW for at in instants}:
        arrived = [at for at in instants if at // WINDOW == window]
        assert [at for at in log if at // WINDOW == window] == arrived[:quota]


def test_a_fixed_window_lets_twice_the_quota_through_around_its_edge() -> None:
    assert len(accepted(FixedWindow(4, WINDOW), [WINDOW - 1] * 5 + [WINDOW] * 5)) == 8


@given(quotas, arrivals)
def test_a_token_bucket_never_accepts_more_than_its_burst_and_its_refill(quota: int, instants: list[float]) -> None:
    log = accepted(TokenBucket(quota, WINDOW), instants)
    for start in log:
        for end in log:
            assert sum(start <= at <= end for at in log) <= quota + max(0, end - start) * quota / WINDOW


@given(quotas, arrivals)
def test_a_window_counter_weighs_the_previous_window_by_what_still_trails_of_it(
    quota: int, instants: list[float]
) -> None:
    counting, log = WindowCounter(quota, WINDOW), list[float]()
    for now in instants:
        start = now // WINDOW * WINDOW
        previous = sum(start - WINDOW <= at < start for at in log)
        used = previous * (1 - (now - start) / WINDOW) + sum(start <= at for at in log)
        assert counting.take(now).accepted is (used + 1 <= quota)
        log += [now] if used + 1 <= quota else []


@every_algorithm
@given(quota=quotas, instants=arrivals)
def test_a_refused_request_is_not_counted(algorithm: Algorithm, quota: int, instants: list[float]) -> None:
    counting = meter(algorithm, quota, WINDOW)
    readings = [(at, counting.take(at)) for at in instants]
    fresh = meter(algorithm, quota, WINDOW)
    assert all(fresh.take(at) == reading for at, reading in readings if reading.accepted)


def last_reading(algorithm: Algorithm, quota: int, instants: list[float], *more: float) -> Reading:
    counting = meter(algorithm, quota, WINDOW)
    return [counting.take(at) for at in [*instants, *more]][-1]


@every_algorithm
@given(quota=quotas, instants=arrivals)
def test_as_many_requests_as_remain_are_accepted_at_once(
    algorithm: Algorithm, quota: int, instants: list[float]
) -> None:
    counting = meter(algorithm, quota, WINDOW)
    reading = [counting.take(at) for at in instants][-1]
    following = [counting.take(instants[-1]).accepted for _ in range(reading.remaining + 1)]
    assert following == [True] * reading.remaining + [False]


@every_algorithm
@given(quota=quotas, instants=arrivals)
def test_a_refused_request_is_accepted_after_the_wait_and_not_before(
    algorithm: Algorithm, quota: int, instants: list[float]
) -> None:
    reading = last_reading(algorithm, quota, instants)
    if reading.accepted:
        return
    assert reading.reset_s > 0
    after = instants[-1] + reading.reset_s
    assert last_reading(algorithm, quota, instants, after + 1e-6).accepted
    assert not last_reading(algorithm, quota, instants, math.nextafter(after, 0) - 1e-6).accepted
