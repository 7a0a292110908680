from copy import copy
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
    assert restored.opens_at(0.0) == 7.0
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


def test_a_held_permit_that_another_process_has_for_longer_is_free_when_that_one_is_done() -> None:
    shared = bucket(1)
    held = shared.take()
    shared.taken_elsewhere(held, 50.0)
    shared.cool(held, 0.0)
    assert shared.opens_at(0.0) == 50.0


def test_a_permit_that_another_process_took_while_the_quota_was_smaller_is_not_granted_when_it_grows() -> None:
    shared = bucket(3)
    for number in [shared.take() for _ in range(3)]:
        shared.refund(number)
    shared.allow(1)
    shared.taken_elsewhere(1, 50.0)
    shared.allow(3)
    assert {shared.take() for _ in range(shared.free(0.0))} == {0, 2}


def test_a_quota_that_grows_again_has_its_old_permits_and_no_others() -> None:
    edited = bucket(4)
    for number in [edited.take() for _ in range(4)]:
        edited.refund(number)
    for requests in (2, 4):
        edited.allow(requests)
    assert {edited.take() for _ in range(edited.free(0.0))} == {0, 1, 2, 3}


def test_a_permit_that_only_a_larger_quota_had_is_not_granted() -> None:
    shrunk = bucket(9)
    for number in sorted(shrunk.take() for _ in range(9))[7:]:
        shrunk.allow(8)
        shrunk.refund(number)
    assert (shrunk.free(0.0), shrunk.take()) == (1, 7)


def test_a_permit_that_stood_for_another_s_request_is_free_again_unless_it_is_held() -> None:
    shared = bucket(2)
    counted = shared.count(0.0)
    shared.forget(counted)
    assert shared.free(0.0) == 2
    held = shared.take()
    shared.taken_elsewhere(held, 50.0)
    shared.forget(held)
    assert (shared.free(0.0), shared.out) == (1, {held})
    assert shared.take() != held


def test_a_preferred_permit_is_granted_first_unless_another_process_has_it_or_it_is_not_free() -> None:
    some = bucket(9)
    for number in [some.take() for _ in range(6)]:
        some.refund(number)
    for number in (5, 4, 3, 8):  # 8 was never out
        some.prefer(number)
    some.taken_elsewhere(4, 50.0)
    assert {some.take(), some.take()} == {3, 5}
    for number in (2, 1):
        some.prefer(number)
    some.allow(8)
    assert some.free(0.0) == 5
    assert {some.take() for _ in range(5)} == {0, 1, 2, 6, 7}


def test_in_a_forecast_held_permits_are_the_last_to_return() -> None:
    forecast = bucket(3, {0: 50.0, 1: 5.0})
    assert forecast.take() == 2
    copied = copy(forecast)
    copied.answer_all(0.0)
    assert [copied.free(at) for at in (4.9, 5.0, 49.9, 50.0)] == [0, 1, 1, 3]
    assert forecast.out == {2}
    alone = bucket(1)
    alone.take()
    alone.answer_all(7.0)
    assert alone.opens_at(7.0) == 7.0 + alone.cools_for
