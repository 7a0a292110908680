import tracemalloc
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adsyncd.limits import Bucket, cools_for
from adsyncd.tenant import Quota

WINDOW = 10.0
COOLS_FOR = cools_for(Quota(1, timedelta(seconds=WINDOW)))


def bucket(permits: int = 2, cooling: dict[int, float] | None = None) -> Bucket:
    return Bucket(Quota(permits, timedelta(seconds=WINDOW)), cooling)


class Permits(RuleBasedStateMachine):
    """Requests come and go at any instants; each is counted by the server at any instant while it is held."""

    @initialize(permits=st.integers(1, 5))
    def start(self, permits: int) -> None:
        self.permits = permits
        self.bucket = bucket(permits)
        self.now = 0.0
        self.held: list[tuple[float, int]] = []  # grant instants and numbers
        self.counted: list[tuple[float, float]] = []  # (earliest, latest) instant at which the server counted

    @rule(seconds=st.floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        opens_at = self.bucket.opens_at(self.now)
        number = self.bucket.take(self.now)
        assert (number is not None) == (opens_at is not None and opens_at <= self.now)
        if number is not None:
            assert number not in [other for _, other in self.held]
            self.held.append((self.now, number))

    @rule(data=st.data())
    def cool(self, data: st.DataObject) -> None:
        if self.held:
            granted, number = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
            self.counted.append((granted, self.now))
            self.bucket.cool(number, self.now)

    @rule()
    def refund(self) -> None:
        if self.held:
            self.bucket.refund(self.held.pop()[1])

    @rule(seconds=st.floats(-5, 20))
    def close(self, seconds: float) -> None:
        self.bucket.close(self.now + seconds)

    @invariant()
    def no_choice_of_instants_exceeds_the_quota(self) -> None:
        if not hasattr(self, "bucket"):
            return
        # Worst case of a window that ends now: whatever was answered within it, and all that is still held.
        in_window = sum(1 for _, latest in self.counted if latest > self.now - WINDOW)
        assert in_window + len(self.held) <= self.permits

    @invariant()
    def permits_are_neither_made_nor_lost(self) -> None:
        if hasattr(self, "bucket"):
            cooling = sum(1 for _, latest in self.counted if latest + COOLS_FOR > self.now)
            assert self.bucket.held == len(self.held)
            assert self.bucket.free(self.now) == self.permits - len(self.held) - cooling


TestPermits = Permits.TestCase


def test_a_permit_comes_back_a_window_after_the_answer_not_after_the_sending() -> None:
    one = bucket(1)
    number = one.take(0.0)
    assert number is not None
    one.cool(number, 3.0)
    assert one.take(WINDOW + 2.9) is None
    assert one.opens_at(4.0) == 3.0 + COOLS_FOR
    assert one.take(3.0 + COOLS_FOR) == number


def test_a_refunded_permit_is_free_at_once() -> None:
    one = bucket(1)
    number = one.take(0.0)
    assert number is not None
    assert one.opens_at(0.0) is None
    one.refund(number)
    assert one.take(0.0) == number


def test_permits_that_were_out_before_a_restart_are_free_when_they_said_and_not_before() -> None:
    restored = bucket(2, {0: 7.0, 1: 4.0})
    assert restored.take(3.9) is None
    assert restored.opens_at(0.0) == 4.0
    assert restored.take(4.0) == 1
    assert restored.take(6.9) is None
    assert restored.take(7.0) == 0


def test_permits_of_a_larger_quota_count_until_they_have_cooled_and_are_gone_then() -> None:
    restored = bucket(1, {0: 7.0, 1: 4.0, 9: 5.0})
    assert restored.free(0.0) == -2
    assert restored.take(5.0) is None  # one is still out, and that is all that the quota has now
    assert restored.opens_at(5.0) == 7.0
    assert restored.take(7.0) == 0
    assert restored.take(100.0) is None


@given(st.lists(st.floats(0, 100), min_size=1))
def test_nothing_is_granted_before_the_latest_instant_the_server_stated(instants: list[float]) -> None:
    closed = bucket()
    for instant in instants:
        closed.close(instant)
    assert closed.take(max(instants) - 0.001) is None
    assert closed.opens_at(0.0) == max(instants)
    assert closed.take(max(instants)) is not None


def test_a_bucket_costs_nothing_for_permits_that_were_never_out() -> None:
    tracemalloc.start()
    bucket(permits=1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 10_000
