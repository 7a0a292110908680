"""Requests that take several permits of each window, in front of one gate."""

from copy import deepcopy
from itertools import pairwise
from random import Random

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from adsyncd.errors import WaitTooLong
from adsyncd.rate import Gate, Priority
from adsyncd.rate.feedback import Limit
from adsyncd.rate.limiter import Limiter, Numbers
from adsyncd.rate.quota import Quota, Shape
from adsyncd.rate.wait import Block, WaitReason
from mock_api.meters import MeteredQuota, WindowCounter
from support.examples import examples
from support.gates import (
    COOLS_FOR,
    WINDOW,
    Server,
    a_client,
    a_gate,
    a_governor,
    a_quota,
    at_once,
)
from support.virtual_time import VirtualClock

COSTS = st.lists(st.integers(1, 4), min_size=1, max_size=3)


def gate(permits: int = 10) -> Gate:
    return a_gate(a_quota(permits), VirtualClock())


class CostlyRequests(RuleBasedStateMachine):
    """A limiter of two windows beside a sliding log of permits: each counts at any instant while it is held."""

    @initialize(requests=st.integers(1, 6), longer=st.integers(1, 9))
    def start(self, requests: int, longer: int) -> None:
        self.quota = a_quota(requests, 10, (longer, 40))
        self.limiter = Limiter(self.quota)
        self.now = 0.0
        self.held: list[tuple[Numbers, int]] = []
        self.counted: list[float] = []
        self.stated: list[tuple[int, float]] = []

    def out(self) -> int:
        return sum(cost for _, cost in self.held)

    @rule(seconds=st.floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(cost=st.integers(1, 5))
    def take(self, cost: int) -> None:
        opens_at, blocks = self.limiter.opens_at(self.now, cost), self.limiter.blocks(self.now, cost)
        free = self.limiter.free(self.now)
        numbers = self.limiter.take(self.now, cost)
        assert (numbers is not None) == (opens_at is not None and opens_at <= self.now) == (not blocks)
        assert numbers is None or free >= cost
        if numbers is None:
            return
        self.held.append((numbers, cost))
        assert len(numbers) == 2 * cost
        for place, window in enumerate(self.quota.windows):
            taken = [number for each, _ in self.held for number in each[place::2]]
            assert len(set(taken)) == len(taken) == self.out()
            in_window = sum(1 for at in self.counted if at > self.now - window.per.total_seconds())
            assert in_window + self.out() <= window.requests
        self.stated = [(left - cost, until) for left, until in self.stated if until > self.now]
        assert all(left >= 0 for left, _ in self.stated)

    @rule(data=st.data())
    def cool(self, data: st.DataObject) -> None:
        if self.held:
            numbers, cost = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
            self.limiter.cool(numbers, self.now)
            self.counted += [self.now] * cost

    @rule()
    def refund(self) -> None:
        if self.held:
            free, (numbers, cost) = [one.free(self.now) for one in self.limiter.buckets], self.held.pop()
            self.limiter.refund(numbers)
            assert [one.free(self.now) for one in self.limiter.buckets] == [before + cost for before in free]

    @rule(remaining=st.integers(0, 9), reset_s=st.floats(0.1, 20))
    def state(self, remaining: int, reset_s: float) -> None:
        assert self.limiter.held == self.out()
        self.limiter.tighten(remaining, self.now + reset_s, self.now)
        self.stated.append((max(0, remaining - self.out()), self.now + reset_s))

    @rule(cost=st.integers(1, 5))
    def is_granted_when_it_says_and_not_before(self, cost: int) -> None:
        opens_at = self.limiter.opens_at(self.now, cost)
        if opens_at is not None and opens_at > self.now:
            later = deepcopy(self.limiter)
            assert later.blocks((self.now + opens_at) / 2, cost)
            assert not later.blocks(opens_at, cost)

    def teardown(self) -> None:
        if hasattr(self, "limiter"):
            for numbers, _ in self.held:
                self.limiter.cool(numbers, self.now)
            assert self.limiter.free(self.now + 100) == self.limiter.most


TestCostlyRequests = CostlyRequests.TestCase


@examples(60)
@given(seed=st.integers(0, 2**32), costs=COSTS, spare=st.integers(0, 8), requests=st.integers(1, 40))
async def test_the_server_never_counts_more_than_the_quota_by_what_requests_cost(
    seed: int, costs: list[int], spare: int, requests: int
) -> None:
    permits = max(costs) + spare
    server, through = Server(seed, costs), gate(permits)
    await at_once(requests, server.request, through)
    assert server.most_in_a_window() <= permits
    await anyio.sleep(COOLS_FOR + 0.001)
    assert (through.free, through.limiter.held) == (permits, 0)


@examples(60)
@given(seed=st.integers(0, 2**32), costs=COSTS, waiters=st.integers(2, 40))
async def test_nobody_overtakes_a_costly_request_however_cheap_they_are(
    seed: int, costs: list[int], waiters: int
) -> None:
    random, through, served = Random(seed), gate(max(costs)), list[int]()

    async def wait(number: int) -> None:
        permit = await through.acquire(cost=random.choice(costs))
        served.append(number)
        await anyio.sleep(random.uniform(0, 3))
        permit.cool()

    async with anyio.create_task_group() as tasks:
        for number in range(waiters):
            tasks.start_soon(wait, number)
    assert served == list(range(waiters))


async def test_a_costly_request_goes_when_its_last_permit_is_free_and_is_told_so() -> None:
    through, told, start = gate(3), list[tuple[WaitReason, float | None]](), anyio.current_time()
    for _ in range(3):
        (await through.acquire()).cool()
        await anyio.sleep(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: through.acquire(Priority.PUSH, lambda *block: told.append(block), cost=2))
        await anyio.sleep(1)
        assert through.acquire_nowait() is None
        tasks.start_soon(through.acquire)
    assert anyio.current_time() - start == pytest.approx(2 + COOLS_FOR)
    [(reason, until)] = told
    assert reason is WaitReason.QUOTA
    assert until == pytest.approx(start + 1 + COOLS_FOR)


async def test_a_cheap_request_that_waits_behind_a_costly_one_is_not_told_the_end_of_that_one_s_wait() -> None:
    through, told = gate(3), list[float | None]()
    (await through.acquire(cost=2)).cool()
    await anyio.sleep(10)
    (await through.acquire()).cool()
    start = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: through.acquire(cost=3))
        await anyio.sleep(1)
        tasks.start_soon(through.acquire, Priority.PUSH, lambda _, until: told.append(until))
        await anyio.sleep(1)
        assert told == [pytest.approx(start - 10 + COOLS_FOR)]
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("costs", [(1, 1), (3, 5)])
async def test_a_silence_lasts_until_the_cheapest_request_can_be_sent(costs: tuple[int, int]) -> None:
    through = a_governor().gate(a_client(a_quota(5), a_quota(6), costs=costs))
    for cost in (1, 1, 3):
        (await through.acquire(cost=cost)).cool()
        await anyio.sleep(1)
    assert through.silence_s() == pytest.approx(COOLS_FOR - 3 + (2 if costs[0] == 3 else 0))


@pytest.mark.parametrize("shared", [None, 4])
async def test_a_request_that_no_window_allows_is_refused_at_once(shared: int | None) -> None:
    quota = a_quota(9, WINDOW, (9 if shared else 4, 600))
    through = a_governor().gate(a_client(quota, None if shared is None else a_quota(shared)))
    start = anyio.current_time()
    assert through.acquire_nowait(5) is None
    with pytest.raises(WaitTooLong, match=r"costs 5 permits.* only 4: it can never be sent"):
        await through.acquire(cost=5)
    assert (anyio.current_time(), through.waiting) == (start, 0)
    (await through.acquire(cost=4)).refund()


async def test_a_request_that_a_changed_quota_never_allows_is_refused_then_and_leaves_the_others_their_turn() -> None:
    governor, served = a_governor(), list[int]()
    through = governor.gate(a_client(a_quota(5)))
    held, start = await through.acquire(cost=3), anyio.current_time()

    async def request(cost: int) -> None:
        try:
            (await through.acquire(cost=cost)).cool()
            served.append(cost)
        except WaitTooLong:
            served.append(-cost)

    async with anyio.create_task_group() as tasks:
        for cost in (5, 1, 4):
            tasks.start_soon(request, cost)
        await anyio.sleep(1)
        governor.gate(a_client(a_quota(3)))
        await anyio.sleep(1)
        assert served == [-5]
        held.refund()
    assert served in ([-5, 1, -4], [-5, -4, 1])
    assert anyio.current_time() == start + 2


async def test_what_a_platform_states_leaves_no_more_permits_than_it_says_whatever_requests_cost() -> None:
    through, start = gate(20), anyio.current_time()
    out = await through.acquire(cost=3)
    through.heed([Limit(remaining=9, reset_s=50)], refused=False)  # 6 beside those in flight
    for cost in (4, 2):
        (await through.acquire(cost=cost)).cool()
    assert anyio.current_time() == start
    assert through.limiter.blocks(start) == [Block(WaitReason.FEEDBACK, start + 50)]
    out.cool()
    through.heed([Limit(used=0.9, reset_s=70)], refused=False)
    await anyio.sleep(50)
    assert through.acquire_nowait(2) is None  # a tenth of 20, rounded down
    assert through.acquire_nowait(1) is not None


def test_a_forecast_of_costly_requests_fills_windows_with_whole_ones_alone() -> None:
    limiter = Limiter(a_quota(10, WINDOW, (25, 10 * WINDOW)))
    ends = [limiter.nth_at(count, 0.0, 6) for count in (1, 2, 3, 4)]
    assert ends[:4] == pytest.approx([0, COOLS_FOR, 2 * COOLS_FOR, 3 * COOLS_FOR])
    one = Limiter(a_quota(10))
    assert [one.nth_at(count, 0.0, 5) for count in (2, 3, 2001)] == pytest.approx([0, COOLS_FOR, 1000 * COOLS_FOR])
    assert one.nth_at(100_001, 0.0, 4) == pytest.approx(50_000 * COOLS_FOR)
    told = Limiter(a_quota(10))
    told.tighten(4001, 900_000.0, 0.0)
    assert told.nth_at(1000, 0.0, 4) < 900_000
    assert told.nth_at(1002, 0.0, 4) == 900_000
    assert told.nth_at(1003, 0.0, 4) == 900_000 + COOLS_FOR


async def test_a_forecast_is_in_permits() -> None:
    through = a_governor().gate(a_client(a_quota(10), a_quota(20)))
    assert [through.forecast_s(permits, cost) for permits, cost in ((0, 3), (10, 5), (10, 1))] == [0, 0, 0]
    assert through.forecast_s(20, 5) == pytest.approx(COOLS_FOR)
    assert through.forecast_s(12, 6) == pytest.approx(COOLS_FOR)


async def test_a_request_in_flight_counts_by_its_cost_in_a_window_that_is_new() -> None:
    governor = a_governor()
    through = governor.gate(a_client(a_quota(9, WINDOW, (10, 2 * WINDOW))))
    one, other = await through.acquire(cost=3), await through.acquire(cost=2)
    governor.gate(a_client(a_quota(9, 3 * WINDOW, (10, WINDOW), (20, 2 * WINDOW))))
    assert [bucket.free(anyio.current_time()) for bucket in through.limiter.buckets] == [4, 5, 15]
    one.cool()
    other.refund()
    assert [bucket.free(anyio.current_time()) for bucket in through.limiter.buckets] == [6, 7, 17]
    await anyio.sleep(4 * WINDOW)
    assert [bucket.free(anyio.current_time()) for bucket in through.limiter.buckets] == [9, 10, 20]


# Spaced requests.


async def test_a_costly_request_is_followed_by_as_many_spaces_as_it_costs() -> None:
    through = a_governor().gate(a_client(a_quota(11, shape=Shape.PACED), costs=(1, 3)))
    granted = list[float]()
    for cost in (3, 1, 2, 1):
        (await through.acquire(cost=cost)).cool()
        granted.append(anyio.current_time())
    first_s, space_s = ((WINDOW * 1.001 + spread_s) / (11 - 3) for spread_s in (0.01 * WINDOW, 0))
    gaps = [after - before for before, after in pairwise(granted)]
    assert gaps == pytest.approx([3 * first_s, space_s, 2 * space_s])


def spaced(quota: Quota, largest: int) -> Limiter:
    return Limiter(quota, paced=True, largest=largest)


@given(
    requests=st.integers(2, 12),
    costs=st.lists(st.integers(1, 12), min_size=1, max_size=60),
    begins=st.floats(0, 10),
    idle=st.lists(st.floats(0, 15), min_size=60, max_size=60),
)
def test_a_server_that_weights_the_previous_window_takes_spaced_requests_of_any_cost(
    requests: int, costs: list[int], begins: float, idle: list[float]
) -> None:
    costs = [min(cost, requests) for cost in costs]
    limiter, counting = spaced(a_quota(requests, 10), max(costs)), WindowCounter(MeteredQuota(requests, 10))
    now = begins
    for cost, pause_s in zip(costs, idle, strict=False):
        opens_at = limiter.opens_at(now, cost)
        assert opens_at is not None
        now = opens_at + (pause_s if pause_s > 8 else 0.0)
        numbers = limiter.take(now, cost)
        assert numbers is not None
        limiter.cool(numbers, now)
        assert counting.has_room(1000 + now, cost)
        counting.count()


def test_costlier_requests_lengthen_all_spaces_once_they_are_expected() -> None:
    limiter = spaced(a_quota(11, 10), 1)
    before = limiter.space_s
    limiter.expect(6)
    limiter.expect(2)
    assert limiter.space_s == pytest.approx(before * 2)
    assert limiter.longest_space_s == pytest.approx(before * 12)
    limiter.expect(11)
    for cost in (1, 11):
        assert limiter.space_after(cost) == pytest.approx(2 * before * 10)  # two windows, after which nothing counts
