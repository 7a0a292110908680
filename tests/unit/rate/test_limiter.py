import tracemalloc
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from adsyncd.rate.bucket import cools_for
from adsyncd.rate.limiter import Limiter, Numbers
from adsyncd.rate.quota import Quota, Window
from adsyncd.rate.wait import Block, WaitReason, last_to_end

WINDOW = 10.0
COOLS_FOR = cools_for(Window(1, timedelta(seconds=WINDOW)))


def a_window(requests: int, per_s: float = WINDOW) -> Window:
    return Window(requests, timedelta(seconds=per_s))


def a_quota(requests: int, per_s: float = WINDOW, *also: Window) -> Quota:
    return Quota(requests, timedelta(seconds=per_s), also=also)


QUOTAS = st.builds(
    a_quota,
    st.integers(1, 5),
    st.sampled_from([5.0, WINDOW]),
    *[st.builds(a_window, st.integers(1, 8), st.sampled_from([20.0, 40.0]))],
) | st.builds(a_quota, st.integers(1, 5), st.sampled_from([5.0, WINDOW, 15.0]))


def taken(limiter: Limiter, at: float) -> Numbers:
    numbers = limiter.take(at)
    assert numbers is not None
    return numbers


class Requests(RuleBasedStateMachine):
    """Requests come and go at any instants; each is counted by the server at any instant while it is held.

    The quota is edited meanwhile, other processes take permits, and the server states its own count.
    """

    @initialize(quota=QUOTAS)
    def start(self, quota: Quota) -> None:
        self.quota = quota
        self.limiter = Limiter(quota)
        self.now = 0.0
        self.held: list[Numbers] = []
        self.counted: list[float] = []  # the latest instant at which the server counted
        self.closed_until = 0.0
        self.cooling: dict[int, float] = {}  # permits of the first window that were held here, and until when
        self.elsewhere: dict[int, float] = {}  # and those that another process has
        self.stated: list[tuple[int, float]] = []

    @rule(seconds=st.floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        opens_at, blocks = self.limiter.opens_at(self.now), self.limiter.blocks(self.now)
        numbers = self.limiter.take(self.now)
        assert (numbers is not None) == (opens_at is not None and opens_at <= self.now) == (not blocks)
        if numbers is None:
            return
        assert self.now >= max(self.closed_until, *(of.get(numbers[0], 0.0) for of in (self.cooling, self.elsewhere)))
        self.closed_until = max(self.closed_until, self.now + self.limiter.space_s)
        for place, (number, window) in enumerate(zip(numbers, self.quota.windows, strict=True)):
            assert number < window.requests  # none is lost, and another takes its place
            assert all(number != other[place] for other in self.held)
        self.held.append(numbers)
        for window in self.quota.windows:  # worst case: all that is held is counted now
            in_window = sum(1 for at in self.counted if at > self.now - window.per.total_seconds())
            assert in_window + len(self.held) <= window.requests
        self.stated = [(left - 1, until) for left, until in self.stated if until > self.now]
        assert all(left >= 0 for left, _ in self.stated)

    @rule(data=st.data())
    def cool(self, data: st.DataObject) -> None:
        if self.held:
            numbers = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
            self.counted.append(self.now)
            self.cooling[numbers[0]] = self.now + self.limiter.buckets[0].cools_for
            self.limiter.cool(numbers, self.now)

    @rule()
    def refund(self) -> None:
        if self.held:
            self.limiter.refund(self.held.pop())

    @rule(seconds=st.floats(-5, 20))
    def close(self, seconds: float) -> None:
        self.limiter.close(self.now + seconds)
        self.closed_until = max(self.closed_until, self.now + seconds)

    @rule(remaining=st.integers(0, 6), reset_s=st.floats(0.1, 20))
    def state(self, remaining: int, reset_s: float) -> None:
        self.limiter.tighten(remaining, self.now + reset_s, self.now)
        self.stated.append((max(0, remaining - len(self.held)), self.now + reset_s))

    @rule(requests=st.lists(st.integers(1, 8), min_size=2, max_size=2))
    def edit(self, requests: list[int]) -> None:
        windows = [
            replace(window, requests=number) for window, number in zip(self.quota.windows, requests, strict=False)
        ]
        self.quota = Quota(windows[0].requests, windows[0].per, also=tuple(windows[1:]))
        assert self.limiter.change(self.quota, {}) == []

    @rule(seconds=st.floats(0, 30))
    def keep_quiet(self, seconds: float) -> None:
        self.limiter.buckets[0].quiet_until = max(self.limiter.buckets[0].quiet_until, self.now + seconds)
        self.limiter.heed_quiet()
        self.closed_until = max(self.closed_until, self.now + seconds)

    @rule(seconds=st.floats(-5, 20))
    def rest(self, seconds: float) -> None:
        self.limiter.rest(self.now + seconds)
        self.closed_until = max(self.closed_until, self.now + seconds)

    @rule(number=st.integers(0, 8), seconds=st.floats(0, 50))
    def take_elsewhere(self, number: int, seconds: float) -> None:
        """Another process has a permit, which may still be held here too."""
        self.elsewhere[number] = max(self.now + seconds, self.cooling.get(number, 0.0))
        self.limiter.buckets[0].taken_elsewhere(number, self.elsewhere[number])

    @rule(count=st.integers(1, 25))
    def predict(self, count: int) -> None:
        opens_at = self.limiter.opens_at(self.now)
        first = self.limiter.buckets[0]
        if not any(number in first._until for number in first.out):
            assert opens_at in {None, self.limiter.nth_at(1, self.now)}
        limiter, held = deepcopy((self.limiter, self.held))
        limiter._held = {id(out): out for out in held}
        for out in held:
            limiter.cool(out, self.now)
        forecast, at = limiter.nth_at(count, self.now), self.now
        for _ in range(count):
            opens_at = limiter.opens_at(at)
            assert opens_at is not None
            at = opens_at
            numbers = taken(limiter, at)
            limiter.cool(numbers, at)
        assert at == forecast

    @rule(paced=st.booleans())
    def pace(self, paced: bool) -> None:
        self.limiter.pace(paced=paced)

    @invariant()
    def no_more_permits_are_free_than_nobody_has(self) -> None:
        if hasattr(self, "limiter"):
            assert self.limiter.held == len(self.held)
            assert self.limiter.free(self.now) == min(bucket.free(self.now) for bucket in self.limiter.buckets)
            assert self.limiter.free(self.now) <= min(window.requests for window in self.quota.windows)
            assert self.limiter.buckets[0].free(self.now) <= self.quota.requests - len(self.held)

    def teardown(self) -> None:
        if not hasattr(self, "limiter"):
            return
        for numbers in self.held:
            self.limiter.cool(numbers, self.now)
        later = max(self.now, self.closed_until) + 200
        assert self.limiter.take(later) is not None
        assert self.limiter.free(later) == min(window.requests for window in self.quota.windows) - 1


TestRequests = Requests.TestCase


def test_a_permit_comes_back_a_window_after_the_answer_not_after_the_sending() -> None:
    one = Limiter(a_quota(1))
    numbers = taken(one, 0.0)
    one.cool(numbers, 3.0)
    assert one.take(WINDOW + 2.9) is None
    assert one.opens_at(4.0) == 3.0 + COOLS_FOR
    assert one.take(3.0 + COOLS_FOR) == numbers


def test_a_refunded_permit_is_free_at_once() -> None:
    one = Limiter(a_quota(1))
    numbers = taken(one, 0.0)
    assert one.opens_at(0.0) is None
    one.refund(numbers)
    assert one.take(0.0) == numbers


def test_a_grant_takes_a_permit_of_each_window_or_none() -> None:
    both = Limiter(a_quota(3, WINDOW, a_window(4, 60.0)))
    for _ in range(3):
        numbers = taken(both, 0.0)
        both.cool(numbers, 0.0)
    assert both.take(0.0) is None
    assert [one.free(0.0) for one in both.buckets] == [0, 1]
    assert both.take(COOLS_FOR) is not None
    assert both.take(COOLS_FOR) is None  # the minute is used up, though the ten seconds are not
    assert [one.free(COOLS_FOR) for one in both.buckets] == [2, 0]
    assert both.opens_at(COOLS_FOR) == cools_for(a_window(4, 60.0))


def test_paced_grants_are_a_window_less_one_request_apart_even_after_a_rest() -> None:
    paced = Limiter(a_quota(11), paced=True)
    paced.arrived_within(0.01)
    granted = []
    for at in (0.0, 0.5, 1.0, 1.01, 1.9, 2.1, 50.0, 50.0, 51.1):
        numbers = paced.take(at)
        if numbers is not None:
            granted.append(at)
            paced.cool(numbers, at)
    assert granted == [0.0, 1.01, 2.1, 50.0, 51.1]


def test_the_window_that_needs_the_larger_space_decides() -> None:
    for quota in (a_quota(11, WINDOW, a_window(13, 60.0)), a_quota(13, 60.0, a_window(11))):
        paced = Limiter(quota, paced=True)
        paced.arrived_within(0.0)
        assert paced.space_s == pytest.approx(60 * 1.001 / 12)


def test_spaces_make_up_for_what_arrivals_are_spread_by_but_remember_no_old_spread() -> None:
    paced = Limiter(a_quota(11), paced=True)
    for spread_s, longest_s in [(2.0, 2.0), *[(0.5, 2.0)] * 31, (0.5, 0.5)]:
        paced.arrived_within(spread_s)
        assert paced.space_s == pytest.approx((WINDOW * 1.001 + longest_s) / 10)
    paced.pace(paced=False)
    paced.arrived_within(2.0)
    assert paced.space_s == 0


def test_what_the_server_counts_leaves_as_many_grants_as_it_says_less_those_on_their_way() -> None:
    told = Limiter(a_quota(10))
    taken(told, 0.0)
    told.tighten(3, 5.0, 0.0)
    assert [told.take(1.0) is not None for _ in range(3)] == [True, True, False]
    assert told.blocks(1.0) == [(WaitReason.FEEDBACK, 5.0)]
    told.tighten(9, 6.0, 1.0)  # more than it said before: that changes nothing
    assert told.take(1.0) is None
    assert told.take(5.0) is not None


def test_each_of_the_server_s_counts_holds_until_its_own_end() -> None:
    told = Limiter(a_quota(10))
    told.tighten(3, 80_000.0, 0.0)
    told.tighten(2, 1.0, 0.0)
    assert [told.take(0.0) is not None for _ in range(3)] == [True, True, False]
    assert [told.take(1.0) is not None for _ in range(2)] == [True, False]
    told.tighten(0, 2.0, 1.0)
    assert told.blocks(1.0) == [(WaitReason.FEEDBACK, 80_000.0)]


def test_a_window_that_is_new_counts_what_is_out_and_begins_with_what_is_on_record_of_it() -> None:
    changed = Limiter(a_quota(5))
    old, out = changed.take(0.0), changed.take(0.0)
    assert old is not None
    assert out is not None
    changed.cool(old, 1.0)
    [new] = changed.change(a_quota(3, 30.0, a_window(5)), {30_000: {0: 25.0}})
    assert (new.length_ms, new.free(2.0)) == (30_000, 1)
    assert changed.buckets[1].free(2.0) == 3
    changed.cool(out, 3.0)
    assert changed.free(2.0) == 1
    assert new.free(25.0) == 2
    assert new.free(3.0 + cools_for(a_window(1, 30.0))) == 3


def test_nothing_is_granted_while_it_is_not_known_what_counts_in_a_window_and_no_longer_once_that_is_gone() -> None:
    changed = Limiter(a_quota(5))
    [new] = changed.change(a_quota(5, 30.0), {})
    new.quiet_until = 20.0
    changed.heed_quiet()
    assert changed.opens_at(0.0) == 20.0
    changed.change(a_quota(5), {})
    assert changed.opens_at(0.0) == 0.0


def test_a_quota_that_shrinks_and_grows_again_loses_no_permit_and_forgets_none() -> None:
    edited = Limiter(a_quota(4))
    taken = [edited.take(0.0) for _ in range(4)]
    edited.change(a_quota(2), {})
    assert edited.free(0.0) == -2
    for numbers in taken:
        assert numbers is not None
        edited.cool(numbers, 1.0)
    edited.change(a_quota(4), {})
    assert edited.free(2.0) == 0
    again = [edited.take(1.0 + COOLS_FOR) for _ in range(5)]
    assert None not in again[:4]
    assert len({tuple(numbers) for numbers in again[:4] if numbers}) == 4
    assert again[4] is None


def test_a_forecast_says_when_the_nth_grant_can_be_made() -> None:
    limiter = Limiter(a_quota(3))
    for _ in range(2):
        numbers = taken(limiter, 0.0)
        limiter.cool(numbers, 1.0)
    back = 1.0 + COOLS_FOR
    assert [limiter.nth_at(count, 2.0) for count in (1, 2, 3)] == [2.0, back, back]
    assert limiter.nth_at(4, 2.0) == 2.0 + COOLS_FOR
    assert limiter.nth_at(6, 2.0) == back + COOLS_FOR
    held = Limiter(a_quota(1))
    assert held.take(0.0)
    assert [held.nth_at(count, 5.0) for count in (1, 2)] == [5.0 + COOLS_FOR, 5.0 + 2 * COOLS_FOR]
    assert Limiter(a_quota(11), paced=True).nth_at(5, 0.0) == pytest.approx(4 * (WINDOW * 1.001 + 0.1) / 10)


@pytest.mark.parametrize(("left", "expected"), [(0, 300.0), (2, 300.0), (3, 0.0)])
def test_a_forecast_counts_what_the_server_leaves(left: int, expected: float) -> None:
    told = Limiter(a_quota(10))
    told.tighten(left, 300.0, 0.0)
    assert told.nth_at(3, 0.0) == expected
    told.close(400.0)
    assert told.nth_at(3, 0.0) == 400.0


def test_what_the_server_leaves_counts_in_a_forecast_of_grants_far_away_too() -> None:
    told = Limiter(a_quota(10))
    told.tighten(5000, 80_000.0, 0.0)
    assert told.nth_at(5000, 0.0) < 80_000
    assert told.nth_at(5001, 0.0) == 80_000
    assert told.nth_at(5010, 0.0) == 80_000
    assert told.nth_at(5011, 0.0) == 80_000 + COOLS_FOR


def test_a_far_forecast_goes_round_in_the_window_that_allows_the_least() -> None:
    both = Limiter(a_quota(10, WINDOW, a_window(30, 60.0)))
    assert both.nth_at(3000, 0.0) == pytest.approx(99 * cools_for(a_window(1, 60.0)) + 2 * COOLS_FOR)
    assert both.nth_at(3001, 0.0) == pytest.approx(100 * cools_for(a_window(1, 60.0)))


@given(st.integers(1, 40), st.integers(1, 3000), st.booleans())
def test_a_forecast_of_however_many_grants_takes_no_time(permits: int, count: int, paced: bool) -> None:
    limiter = Limiter(a_quota(permits), paced=paced)
    lasts_s = (count - 1) * limiter.space_s if paced else (count - 1) // permits * COOLS_FOR
    if permits > 1 or not paced:
        assert limiter.nth_at(count, 0.0) == pytest.approx(lasts_s)
    assert limiter.nth_at(10**12, 0.0) > 10**9


def test_to_ask_how_many_are_free_changes_nothing() -> None:
    asked = Limiter(a_quota(1))
    numbers = taken(asked, 0.0)
    asked.cool(numbers, 0.0)
    assert asked.free(1000.0) == 1
    assert asked.take(1.0) is None


def test_limits_cost_nothing_for_permits_that_were_never_out() -> None:
    tracemalloc.start()
    Limiter(a_quota(1_000_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 10_000


def test_a_permit_cools_for_the_window_and_a_guard_of_a_thousandth_and_five_milliseconds() -> None:
    assert cools_for(a_window(1, 60.0)) == pytest.approx(60.065)
    assert cools_for(a_window(1, 0.1)) == pytest.approx(0.1051)


def test_the_last_block_is_told_and_one_without_a_known_end_outlasts_all() -> None:
    limiter = Limiter(a_quota(1, WINDOW), spent=WaitReason.PLATFORM_QUOTA)
    limiter.close(500.0)
    limiter.close(450.0)  # an earlier end changes nothing
    limiter.rest(300.0)
    limiter.rest(200.0)
    limiter.tighten(0, 400.0, 0.0)
    expected = {
        Block(WaitReason.RETRY_AFTER, 500.0),
        Block(WaitReason.PLATFORM_QUOTA, 300.0),
        Block(WaitReason.FEEDBACK, 400.0),
    }
    assert set(limiter.blocks(0.0)) == expected
    assert last_to_end(limiter.blocks(0.0)) == Block(WaitReason.RETRY_AFTER, 500.0)
    assert [len(limiter.blocks(now)) for now in (299.0, 300.0, 400.0, 499.0, 500.0)] == [3, 2, 1, 1, 0]
    numbers = taken(limiter, 500.0)
    limiter.close(900.0)
    assert last_to_end(limiter.blocks(500.0)) == Block(WaitReason.PLATFORM_QUOTA, None)
    assert limiter.opens_at(500.0) is None
    limiter.cool(numbers, 500.0)
    assert last_to_end(limiter.blocks(500.0)) == Block(WaitReason.RETRY_AFTER, 900.0)


def test_a_forecast_changes_nothing() -> None:
    limiter = Limiter(a_quota(3, WINDOW, a_window(4, 60.0)), paced=True)
    held = limiter.take(0.0)
    limiter.tighten(2, 100.0, 0.0)
    before = deepcopy({**vars(limiter), "buckets": [bucket.look(5.0) for bucket in limiter.buckets], "_held": 1})
    limiter.nth_at(50, 5.0)
    after = {**vars(limiter), "buckets": [bucket.look(5.0) for bucket in limiter.buckets], "_held": len(limiter._held)}
    assert held is not None
    assert before == after
