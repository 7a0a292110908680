from datetime import timedelta

from adsyncd.rate.bucket import Bucket
from adsyncd.rate.quota import Window


def bucket(permits: int = 2, cooling: dict[int, float] | None = None) -> Bucket:
    made = Bucket(Window(permits, timedelta(seconds=10)))
    for number, free_at in (cooling or {}).items():
        made.taken_elsewhere(number, free_at)
    return made


def test_permits_that_were_out_before_a_restart_are_free_when_they_said_and_not_before() -> None:
    restored = bucket(2, {0: 7.0, 1: 4.0})
    assert restored.free(3.9) == 0
    assert restored.opens_at(0.0) == 4.0
    assert restored.free(4.0) == 1
    assert restored.take() == 1
    assert restored.free(6.9) == 0
    assert restored.free(7.0) == 1
    assert restored.take() == 0


def test_permits_of_a_larger_quota_count_until_they_have_cooled_and_are_gone_then() -> None:
    restored = bucket(1, {0: 7.0, 1: 4.0, 9: 5.0})
    assert restored.free(0.0) == -2
    assert restored.free(5.0) == 0  # one is still out, and that is all that the quota has now
    assert restored.opens_at(5.0) == 7.0
    assert restored.free(7.0) == 1
    assert restored.take() == 0
    assert restored.free(100.0) == 0


def test_a_permit_that_is_found_to_be_another_process_s_is_not_granted_to_the_next_in_line() -> None:
    shared = bucket(2)
    first = shared.take()
    shared.taken_elsewhere(first, 6.0)
    shared.refund(first)
    assert shared.free(0.0) == 1
    assert shared.take() != first
    assert shared.free(6.0) == 1
    assert shared.take() == first


def test_a_permit_that_is_held_is_granted_to_nobody_else_though_another_process_has_given_it_back() -> None:
    shared = bucket(2)
    held = shared.take()
    shared.taken_elsewhere(held, 6.0)
    assert shared.free(7.0) == 1
    assert shared.take() != held


def test_permits_that_another_process_has_are_not_granted_before_they_are_back() -> None:
    shared = bucket(3)
    shared.taken_elsewhere(1, 6.0)
    assert shared.free(0.0) == 2
    assert {shared.take(), shared.take()} == {0, 2}
    shared.taken_elsewhere(1, 8.0)  # and took it again
    assert shared.free(6.0) == 0
    assert shared.free(8.0) == 1
    assert shared.take() == 1
