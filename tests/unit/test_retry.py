from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.errors import AdsyncdError, BadAnswer, Rejected, SignInRefused, Throttled, Unauthorized, Unavailable
from adsyncd.retry import Policy, backoff, wait_before_next

POLICY = Policy(max_attempts=5)


@pytest.mark.parametrize("error", [Unavailable("503"), BadAnswer("html"), Unauthorized("401")])
def test_what_may_mend_itself_goes_again_until_the_attempts_are_used_up(error: AdsyncdError) -> None:
    waits = [wait_before_next(error, attempt, POLICY, Random(1)) for attempt in range(1, 7)]
    assert all(wait is not None for wait in waits[:4])
    assert waits[4:] == [None, None]


@pytest.mark.parametrize("error", [Rejected("422", 422), SignInRefused("no"), Throttled("429", 1.0)])
def test_what_a_retry_does_not_mend_never_goes_again(error: AdsyncdError) -> None:
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
