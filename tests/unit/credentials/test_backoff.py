from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.credentials.backoff import Backoff
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable
from support.clock import SetClock

SEALED = CredentialsUnavailable("sealed")


def failed(times: int, clock: SetClock, random: Random) -> tuple[Backoff, list[float]]:
    """A backoff after so many failures in a row, each as soon as it could be, and the waits after them."""
    backoff, waits = Backoff(clock, random), []
    for _ in range(times):
        backoff.fail(SEALED)
        waits.append(backoff.wait_s)
        clock.elapsed_s += backoff.wait_s
    return backoff, waits


@given(st.integers(), st.integers(1, 2000))
def test_waits_double_up_to_half_a_minute_and_are_never_less_than_half_of_that(seed: int, times: int) -> None:
    _, waits = failed(times, SetClock(), Random(seed))
    for number, wait_s in enumerate(waits[:12]):
        bound_s = min(30.0, 2.0**number)
        assert bound_s / 2 <= wait_s + 1e-6 <= bound_s + 1e-5
    assert all(15 <= wait_s + 1e-6 <= 30.001 for wait_s in waits[12:])


def test_two_who_failed_together_do_not_come_back_together() -> None:
    assert len({failed(3, SetClock(), Random(seed))[1][-1] for seed in range(20)}) == 20


def test_who_comes_too_early_hears_the_same_error_and_later_nobody_is_held_up() -> None:
    clock = SetClock()
    backoff = Backoff(clock, Random(1))
    backoff.check()
    backoff.fail(SEALED)
    for _ in range(100):
        with pytest.raises(CredentialsUnavailable) as caught:
            backoff.check()
        assert caught.value is SEALED
    assert len(caught.traceback) < 5  # it does not grow with each who hears it
    clock.elapsed_s += backoff.wait_s
    backoff.check()
    assert backoff.failure is SEALED


def test_ten_who_fail_together_count_as_one_failure() -> None:
    clock = SetClock()
    backoff = Backoff(clock, Random(1))
    for _ in range(10):
        backoff.fail(SEALED)
    assert backoff.wait_s <= 1


def test_the_last_failure_is_the_one_that_is_told() -> None:
    backoff = Backoff(SetClock(), Random(1))
    down = CredentialsMissing("down")
    backoff.fail(SEALED)
    backoff.fail(down)
    assert backoff.failure is down


def test_a_success_ends_the_wait_and_the_next_one_is_short_again() -> None:
    clock = SetClock()
    backoff, _ = failed(6, clock, Random(1))
    backoff.fail(SEALED)
    backoff.succeed()
    backoff.check()
    assert (backoff.failure, backoff.wait_s) == (None, 0.0)
    backoff.fail(SEALED)
    assert backoff.wait_s <= 1


def test_a_watcher_is_told_of_each_outcome() -> None:
    seen: list[object] = []
    backoff = Backoff(SetClock(), Random(1), lambda: seen.append(backoff.failure))
    backoff.fail(SEALED)
    backoff.succeed()
    assert seen == [SEALED, None]
