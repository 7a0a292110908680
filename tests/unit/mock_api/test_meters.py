import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_api.meters import (
    Algorithm,
    FixedWindow,
    Meter,
    MeteredQuota,
    Reading,
    SlidingLog,
    TokenBucket,
    WindowCounter,
    meter,
    take,
)

WINDOW = 8.0  # with quotas and instants that are powers of two, so that all sums are exact

quotas = st.sampled_from([1, 2, 4, 8])
gaps = st.one_of(st.just(0), st.integers(0, 64), st.integers(0, 1024)).map(lambda n: n / 64)
arrivals = st.lists(gaps, min_size=1, max_size=80).map(lambda steps: list(accumulate(steps, initial=1024.0)))
every_algorithm = pytest.mark.parametrize("algorithm", Algorithm)


def accepted(counting: Meter, instants: list[float]) -> list[float]:
    return [at for at in instants if take([counting], at)]


@given(quotas, arrivals)
def test_a_sliding_log_never_accepts_more_than_the_quota_in_any_trailing_window(
    quota: int, instants: list[float]
) -> None:
    log = accepted(SlidingLog(MeteredQuota(quota, WINDOW)), instants)
    assert all(sum(end - WINDOW < at <= end for at in log) <= quota for end in log)


@given(quotas, arrivals)
def test_a_sliding_log_accepts_whenever_the_trailing_window_has_room(quota: int, instants: list[float]) -> None:
    counting, log = SlidingLog(MeteredQuota(quota, WINDOW)), list[float]()
    for now in instants:
        room = sum(now - WINDOW < at for at in log) < quota
        assert take([counting], now) is room
        log += [now] if room else []


@given(quotas, arrivals)
def test_a_fixed_window_accepts_the_first_requests_of_each_window(quota: int, instants: list[float]) -> None:
    log = accepted(FixedWindow(MeteredQuota(quota, WINDOW)), instants)
    for window in {at // WINDOW for at in instants}:
        arrived = [at for at in instants if at // WINDOW == window]
        assert [at for at in log if at // WINDOW == window] == arrived[:quota]


def test_a_fixed_window_lets_twice_the_quota_through_around_its_edge() -> None:
    assert len(accepted(FixedWindow(MeteredQuota(4, WINDOW)), [WINDOW - 1] * 5 + [WINDOW] * 5)) == 8


@given(quotas, arrivals)
def test_a_token_bucket_never_accepts_more_than_its_burst_and_its_refill(quota: int, instants: list[float]) -> None:
    log = accepted(TokenBucket(MeteredQuota(quota, WINDOW)), instants)
    for start in log:
        for end in log:
            assert sum(start <= at <= end for at in log) <= quota + max(0, end - start) * quota / WINDOW


@given(quotas, arrivals)
def test_a_window_counter_weighs_the_previous_window_by_what_still_trails_of_it(
    quota: int, instants: list[float]
) -> None:
    counting, log = WindowCounter(MeteredQuota(quota, WINDOW)), list[float]()
    for now in instants:
        start = now // WINDOW * WINDOW
        previous = sum(start - WINDOW <= at < start for at in log)
        used = previous * (1 - (now - start) / WINDOW) + sum(start <= at for at in log)
        assert take([counting], now) is (used + 1 <= quota)
        log += [now] if used + 1 <= quota else []


def reading(counting: Meter, now: float) -> tuple[bool, Reading]:
    return take([counting], now), counting.read()


@every_algorithm
@given(quota=quotas, instants=arrivals)
def test_a_refused_request_is_not_counted(algorithm: Algorithm, quota: int, instants: list[float]) -> None:
    counting = meter(algorithm, MeteredQuota(quota, WINDOW))
    readings = [(at, reading(counting, at)) for at in instants]
    fresh = meter(algorithm, MeteredQuota(quota, WINDOW))
    assert all(reading(fresh, at) == (True, said) for at, (let_in, said) in readings if let_in)


@every_algorithm
@given(quota=quotas, instants=arrivals)
def test_as_many_requests_as_remain_are_accepted_at_once(
    algorithm: Algorithm, quota: int, instants: list[float]
) -> None:
    counting = meter(algorithm, MeteredQuota(quota, WINDOW))
    _, said = [reading(counting, at) for at in instants][-1]
    following = [take([counting], instants[-1]) for _ in range(said.remaining + 1)]
    assert following == [True] * said.remaining + [False]


def last(algorithm: Algorithm, quota: int, instants: list[float]) -> tuple[bool, Reading]:
    counting = meter(algorithm, MeteredQuota(quota, WINDOW))
    return [reading(counting, at) for at in instants][-1]


@every_algorithm
@given(quota=quotas, instants=arrivals)
def test_a_refused_request_is_accepted_after_the_wait_and_not_before(
    algorithm: Algorithm, quota: int, instants: list[float]
) -> None:
    let_in, said = last(algorithm, quota, instants)
    if let_in:
        return
    assert said.remaining == 0
    assert said.reset_s > 0
    after = instants[-1] + said.reset_s
    assert last(algorithm, quota, [*instants, after + 1e-6])[0]
    assert not last(algorithm, quota, [*instants, math.nextafter(after, 0) - 1e-6])[0]


@every_algorithm
@given(several=st.lists(quotas, min_size=2, max_size=3), instants=arrivals)
def test_a_request_counts_on_all_quotas_or_on_none(
    algorithm: Algorithm, several: list[int], instants: list[float]
) -> None:
    together = [meter(algorithm, MeteredQuota(requests, WINDOW * 4**n)) for n, requests in enumerate(several)]
    alone = [meter(algorithm, each.read().quota) for each in together]
    for now in instants:
        room = [each.has_room(now) for each in alone]
        assert take(together, now) is all(room)
        if all(room):
            for each in alone:
                each.count()
        assert [each.read() for each in together] == [each.read() for each in alone]


@every_algorithm
def test_a_quota_of_which_nothing_is_used_has_nothing_to_wait_for(algorithm: Algorithm) -> None:
    full = meter(algorithm, MeteredQuota(1, WINDOW))
    idle = meter(algorithm, MeteredQuota(4, WINDOW))
    assert take([full], 1024)
    assert not take([full, idle], 1024)
    assert idle.read() == Reading(MeteredQuota(4, WINDOW), 4, 0)


costly = st.lists(st.tuples(gaps, st.integers(1, 9)), min_size=1, max_size=60)


@every_algorithm
@given(quota=quotas, requests=costly)
def test_a_request_that_costs_more_counts_as_so_many_requests_at_one_instant_or_not_at_all(
    algorithm: Algorithm, quota: int, requests: list[tuple[float, int]]
) -> None:
    counting, one_by_one = (meter(algorithm, MeteredQuota(quota, WINDOW)) for _ in range(2))
    now = 1024.0
    for gap, cost in requests:
        now += gap
        fits = one_by_one.has_room(now) and one_by_one.read().remaining >= cost
        assert take([counting], now, cost) is fits
        for _ in range(cost if fits else 0):
            assert take([one_by_one], now)
        assert counting.read().remaining == one_by_one.read().remaining


@every_algorithm
@given(quota=quotas, requests=costly)
def test_a_refused_request_of_any_cost_is_accepted_after_the_wait_and_not_before(
    algorithm: Algorithm, quota: int, requests: list[tuple[float, int]]
) -> None:
    def last_of(at: float) -> tuple[bool, Reading]:
        counting, now = meter(algorithm, MeteredQuota(quota, WINDOW)), 1024.0
        for gap, cost in requests:
            now += gap
            let_in = take([counting], now, min(cost, quota))
        return (take([counting], now + at, min(cost, quota)) if at else let_in), counting.read()

    let_in, said = last_of(0.0)
    assert said.lacks is not let_in
    if not let_in:
        assert said.reset_s > 0
        assert last_of(said.reset_s + 1e-6)[0]
        assert said.reset_s < 2e-6 or not last_of(said.reset_s - 1e-6)[0]
