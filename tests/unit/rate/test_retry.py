from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.errors import AdsyncdError, BadAnswer, Rejected, SignInRefused, Throttled, Unauthorized, Unavailable
from adsyncd.rate.retry import Policy, RetryBudget, backoff, wait_before_next

POLICY = Policy(max_attempts=5)


@pytest.mark.parametrize("error", [Unavailable("503"), BadAnswer("html"), Unauthorized("401")])
def test_what_may_fix_itself_goes_again_until_the_attempts_are_used_up(error: AdsyncdError) -> None:
    waits = [wait_before_next(error, attempt, POLICY, Random(1)) for attempt in range(1, 7)]
    assert all(wait is not None for wait in waits[:4])
    assert waits[4:] == [None, None]


@pytest.mark.parametrize("error", [Rejected("422", 422), SignInRefused("no"), Throttled("429", 1.0)])
def test_what_a_retry_does_not_fix_never_goes_again(error: AdsyncdError) -> None:
    assert wait_before_next(error, 1, POLICY, Random(1)) is None


@given(st.integers(1, 60), st.integers())
def test_a_wait_is_drawn_from_zero_to_a_bound_that_doubles_up_to_a_cap(attempt: int, seed: int) -> None:
    assert 0 <= backoff(attempt, POLICY, Random(seed)) <= min(20.0, 0.25 * 2**attempt)


def test_waits_use_the_whole_range_so_that_clients_do_not_return_together() -> None:
    waits = [backoff(3, POLICY, Random(seed)) for seed in range(500)]
    assert min(waits) < 0.1
    assert max(waits) > 1.9


@given(st.floats(0.1, 10_000), st.integers())
def test_a_wait_is_never_shorter_than_the_platform_asked_nor_absurd(after_s: float, seed: int) -> None:
    wait = wait_before_next(Unavailable("503", after_s), 1, POLICY, Random(seed))
    assert wait is not None
    assert min(after_s, 300.0) <= wait <= 320.0


def waits(budget: RetryBudget, count: int, now: float = 0.0) -> list[float]:
    """Take so many retries, each as soon as there is one, and return for how long that took each time."""
    taken = []
    for _ in range(count):
        began = now
        while wait_s := budget.take(now):
            now += wait_s
        taken.append(now - began)
    return taken


def test_twenty_retries_in_vain_go_at_once_and_then_one_each_ten_seconds() -> None:
    assert waits(RetryBudget(0.0), 23) == pytest.approx([0] * 20 + [10] * 3)


def test_a_retry_that_succeeds_costs_nothing() -> None:
    budget = RetryBudget(0.0)
    for _ in range(100):
        assert waits(budget, 4) == [0] * 4
        budget.succeeded(attempt=5)


def test_five_successes_at_once_pay_for_a_retry_in_vain() -> None:
    budget = RetryBudget(0.0)
    waits(budget, 20)
    for _ in range(5):
        assert budget.take(0.0) > 0
        budget.succeeded(attempt=1)
    assert budget.take(0.0) == 0


def test_the_budget_is_never_more_than_twenty_however_long_all_went_well() -> None:
    budget = RetryBudget(0.0)
    for _ in range(1000):
        budget.succeeded(attempt=3)
    assert waits(budget, 21, now=1e6)[-2:] == pytest.approx([0, 10])


@given(st.lists(st.floats(0, 1e7, allow_subnormal=False), min_size=40, max_size=80))
def test_who_waits_as_told_gets_its_retry(gaps: list[float]) -> None:
    budget, now = RetryBudget(0.0), 0.0
    for gap in gaps:
        now += gap
        if wait_s := budget.take(now):
            assert 0 < wait_s <= 10
            now += wait_s
            assert budget.take(now) == 0


@given(st.integers())
def test_a_run_at_a_platform_as_flaky_as_ours_never_waits_for_its_budget(seed: int) -> None:
    """A fifth of the listings answers 503, a tenth hangs; five attempts, and the pages follow each other at once."""
    random, budget = Random(seed), RetryBudget(0.0)
    for _ in range(500):
        failures = next(count for count in range(POLICY.max_attempts) if count == 4 or random.random() >= 0.3)
        assert waits(budget, failures) == [0] * failures
        if failures == 4 and random.random() < 0.3:
            return  # the run has failed
        budget.succeeded(failures + 1)
        for _ in range(random.randrange(10)):
            budget.succeeded(attempt=1)
