from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adsyncd.limits import GUARD_S, GUARD_SHARE, Bucket
from adsyncd.tenant import Quota

WINDOW = 10.0
COOLS_FOR = WINDOW * (1 + GUARD_SHARE) + GUARD_S


def bucket(permits: int = 2) -> Bucket:
    return Bucket(Quota(permits, timedelta(seconds=WINDOW)))


class Permits(RuleBasedStateMachine):
    """Requests come and go at any instants; each is counted by the server at any instant while it is held."""

    @initialize(permits=st.integers(1, 5))
    def start(self, permits: int) -> None:
        self.bucket = bucket(permits)
        self.now = 0.0
        self.held: list[float] = []  # grant instants
        self.counted: list[tuple[float, float]] = []  # (earliest, latest) instant at which the server counted

    @rule(seconds=st.floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        opens_at = self.bucket.opens_at(self.now)
        granted = self.bucket.take(self.now)
        assert granted == (opens_at is not None and opens_at <= self.now)
        if granted:
            self.held.append(self.now)

    @rule(data=st.data())
    def cool(self, data: st.DataObject) -> None:
        if self.held:
            granted = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
            self.counted.append((granted, self.now))
            self.bucket.cool(self.now)

    @rule()
    def refund(self) -> None:
        if self.held:
            self.held.pop()
            self.bucket.refund()

    @rule(seconds=st.floats(-5, 20))
    def close(self, seconds: float) -> None:
        self.bucket.close(self.now + seconds)

    @invariant()
    def no_choice_of_instants_exceeds_the_quota(self) -> None:
        if not hasattr(self, "bucket"):
            return
        # Worst case of a window that ends now: whatever was answered within it, and all that is still held.
        in_window = sum(1 for _, latest in self.counted if latest > self.now - WINDOW)
        assert in_window + len(self.held) <= self.bucket.permits

    @invariant()
    def permits_are_neither_made_nor_lost(self) -> None:
        if hasattr(self, "bucket"):
            cooling = sum(1 for _, latest in self.counted if latest + COOLS_FOR > self.now)
            assert self.bucket.held == len(self.held)
            assert self.bucket.free(self.now) == self.bucket.permits - len(self.held) - cooling


TestPermits = Permits.TestCase


def test_a_permit_comes_back_a_window_after_the_answer_not_after_the_sending() -> None:
    one = bucket(1)
    assert one.take(0.0)
    one.cool(3.0)
    assert not one.take(WINDOW + 2.9)
    assert one.opens_at(4.0) == 3.0 + COOLS_FOR
    assert one.take(3.0 + COOLS_FOR)


def test_a_refunded_permit_is_free_at_once() -> None:
    one = bucket(1)
    assert one.take(0.0)
    assert one.opens_at(0.0) is None
    one.refund()
    assert one.take(0.0)


@given(st.lists(st.floats(0, 100), min_size=1))
def test_nothing_is_granted_before_the_latest_instant_the_server_stated(instants: list[float]) -> None:
    closed = bucket()
    for instant in instants:
        closed.close(instant)
    assert not closed.take(max(instants) - 0.001)
    assert closed.opens_at(0.0) == max(instants)
    assert closed.take(max(instants))
