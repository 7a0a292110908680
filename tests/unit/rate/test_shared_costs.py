"""Requests that take several permits each: of a platform's quota, and beside other processes."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.errors import WaitTooLong
from adsyncd.rate import Gate, Governor
from adsyncd.rate.ledger import Claim, PermitRecord
from adsyncd.rate.quota import Quota, Shape
from adsyncd.rate.silences import silences
from support.examples import examples
from support.gates import (
    COOLS_FOR,
    WINDOW,
    MemoryLedger,
    Server,
    a_client,
    a_gate,
    a_governor,
    a_quota,
    at_once,
    rebooted,
    recorded,
)
from support.killed import Processes
from support.virtual_time import VirtualClock

COSTS = st.lists(st.integers(1, 4), min_size=1, max_size=3)


class Counting(MemoryLedger):
    """A ledger that counts the claims of each write."""

    def __init__(self) -> None:
        super().__init__()
        self.claims = list[int]()

    async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        self.claims.append(len(claims))
        return await super().claim_permits(claims)

    def out(self, client_id: str = "acme") -> int:
        """Count the permits of a client id that no other process can have."""
        now = anyio.current_time()
        return sum(record.free_at > now for key, record in self.records.items() if key[1] == client_id)


def gates(governor: Governor, platform_quota: Quota, *permits: int, weights: Sequence[int] = ()) -> list[Gate]:
    """Return a gate for each number of permits, which share a platform's quota."""
    return [
        governor.gate(a_client(a_quota(own), platform_quota, client_id=f"c{number}", weight=weight))
        for number, (own, weight) in enumerate(zip(permits, weights or [1] * len(permits), strict=True))
    ]


# A platform's own quota.


@examples(40)
@given(seed=st.integers(0, 2**32), costs=COSTS, spare=st.lists(st.integers(0, 6), min_size=2, max_size=5))
async def test_no_permit_is_spent_in_one_quota_alone_whatever_requests_cost(
    seed: int, costs: list[int], spare: list[int]
) -> None:
    platform_permits, *own = (max(costs) + more for more in spare)
    sharing, random = gates(a_governor(), a_quota(platform_permits), *own), Random(seed)
    each = [Server(seed + number, costs) for number in range(len(own))]

    async def request(number: int) -> None:
        await anyio.sleep(random.uniform(0, 100))
        with anyio.move_on_after(random.uniform(0, 300)):
            await each[number].request(sharing[number])

    async with anyio.create_task_group() as tasks:
        for number in range(len(own)):
            for _ in range(12):
                tasks.start_soon(request, number)
    for server, permits in zip(each, own, strict=True):
        assert server.most_in_a_window() <= permits
    both = Server(seed)
    both.counted = [at for server in each for at in server.counted]
    assert both.most_in_a_window() <= platform_permits
    await anyio.sleep(COOLS_FOR + 0.001)
    assert [through.free for through in sharing] == own
    assert sharing[0].pool is not None
    assert sharing[0].pool.limiter.free(anyio.current_time()) == platform_permits


@examples(40)
@given(
    members=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 7)), min_size=2, max_size=5),
    spare=st.integers(0, 8),
)
async def test_gates_that_wait_get_permits_by_their_weights_whatever_their_requests_cost(
    members: list[tuple[int, int]], spare: int
) -> None:
    weights, costs = zip(*members, strict=True)
    permits = max(costs) + spare
    sharing = gates(a_governor(), a_quota(permits), *[100_000] * len(members), weights=weights)
    granted = Counter[int]()

    async def request(number: int) -> None:
        while True:
            permit = await sharing[number].acquire(cost=costs[number])
            granted[number] += costs[number]
            permit.cool()

    with anyio.move_on_after(20 * WINDOW):
        async with anyio.create_task_group() as tasks:
            for number, (weight, _) in enumerate(members):
                for _ in range(permits + weight + 1):
                    tasks.start_soon(request, number)
    assert len(granted) == len(members)
    turns = [granted[number] / weight for number, weight in enumerate(weights)]
    assert max(turns) - min(turns) <= 2 + 2 * max(costs) + permits / min(weights)
    wasted = permits % max(costs) if len(set(costs)) == 1 else max(costs) - 1
    assert sum(granted.values()) >= 18 * (permits - wasted)


async def test_a_costly_request_comes_to_its_turn_among_cheap_ones_and_they_get_as_many_permits_as_it() -> None:
    costly, cheap, other = gates(a_governor(), a_quota(6), 90, 90, 90)
    order = list[str]()
    held = [await other.acquire() for _ in range(6)]

    async def request(through: Gate, name: str, cost: int) -> None:
        permit = await through.acquire(cost=cost)
        order.append(name)
        permit.refund()

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(request, costly, "costly", 4)
        for _ in range(9):
            tasks.start_soon(request, cheap, "cheap", 1)
        await anyio.sleep(1)
        for permit in held:
            permit.refund()
    assert order == [*["cheap"] * 3, "costly", *["cheap"] * 4, "costly", "cheap", "cheap"]


async def test_nobody_overtakes_a_costly_request_whose_turn_it_is_while_its_permits_return() -> None:
    costly, cheap = gates(a_governor(), a_quota(5), 90, 90, weights=[5, 1])
    start, granted = anyio.current_time(), dict[str, float]()
    for _ in range(5):
        (await cheap.acquire()).cool()
        await anyio.sleep(1)

    async def request(through: Gate, name: str, cost: int) -> None:
        await through.acquire(cost=cost)
        granted[name] = anyio.current_time() - start

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(request, costly, "costly", 5)
        await anyio.sleep(1)
        assert cheap.acquire_nowait() is None
        tasks.start_soon(request, cheap, "cheap", 1)
        await anyio.sleep(COOLS_FOR)
        tasks.cancel_scope.cancel()
    assert granted == {"costly": pytest.approx(4 + COOLS_FOR)}


async def test_who_was_alone_in_the_round_owes_the_others_nothing() -> None:
    first, second = gates(a_governor(), a_quota(8), 90, 90)
    order, held = list[str](), [await second.acquire() for _ in range(8)]

    async def request(through: Gate, name: str, cost: int) -> None:
        await through.acquire(cost=cost)
        order.append(name)

    async with anyio.create_task_group() as tasks:
        for cost in (4, 1, 1):
            tasks.start_soon(request, first, "first", cost)
        await anyio.sleep(1)
        for _ in range(4):
            held.pop().refund()
        await anyio.sleep(1)
        assert order == ["first"]
        for _ in range(2):
            tasks.start_soon(request, second, "second", 1)
        for _ in range(4):
            await anyio.sleep(1)
            held.pop().refund()
    assert order[1:] == ["first", "second"] * 2


async def test_a_gate_that_leaves_takes_nothing_from_the_turn_that_another_has() -> None:
    governor = a_governor()
    first, second, leaver, holder = gates(governor, a_quota(4), *[90] * 4, weights=[3, 1, 1, 1])
    order, held = list[str](), [await holder.acquire() for _ in range(4)]

    async def request(through: Gate, name: str) -> None:
        permit = await through.acquire()
        order.append(name)
        permit.refund()

    async with anyio.create_task_group() as tasks:
        for through, name, count in ((first, "first", 3), (second, "second", 2), (leaver, "leaver", 1)):
            for _ in range(count):
                tasks.start_soon(request, through, name)
        await anyio.sleep(1)
        governor.gate(a_client(a_quota(90), client_id="c2"))
        await anyio.sleep(1)
        assert order == ["leaver"]
        held.pop().refund()
        await anyio.sleep(1)
        assert order[1:] == [*["first"] * 3, *["second"] * 2]
    for permit in held:
        permit.refund()


async def test_a_request_that_a_platform_s_changed_quota_never_allows_holds_up_no_other_client_id() -> None:
    governor, refused = a_governor(), list[str]()
    one, other = gates(governor, a_quota(5), 9, 9)
    held = await one.acquire(cost=4)

    async def request() -> None:
        with pytest.raises(WaitTooLong):
            await one.acquire(cost=5)
        refused.append("one")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(request)
        await anyio.sleep(1)
        governor.gate(a_client(a_quota(9), a_quota(4), client_id="c1"))
        tasks.start_soon(lambda: other.acquire(cost=3))
        await anyio.sleep(1)
        held.refund()
        await anyio.sleep(1)
        assert (refused, other.limiter.held, other.waiting) == (["one"], 3, 0)


@pytest.mark.parametrize("recorded_first", [False, True])
async def test_a_platform_s_quota_that_is_new_counts_a_costly_request_in_flight_by_its_cost(
    recorded_first: bool,
) -> None:
    governor = a_governor()
    through = governor.gate(a_client(a_quota(9)))
    permit = await recorded(through, cost=3) if recorded_first else await through.acquire(cost=3)
    governor.gate(a_client(a_quota(9), a_quota(7)))
    assert through.pool is not None
    assert through.pool.limiter.free(anyio.current_time()) == 4
    permit.cool()
    assert through.pool.limiter.free(anyio.current_time()) == 4
    await anyio.sleep(COOLS_FOR + 0.001)
    assert through.pool.limiter.free(anyio.current_time()) == 7


# Records.


@pytest.mark.parametrize("refunded", [False, True])
@pytest.mark.parametrize("shared", [None, 20])
async def test_all_permits_of_a_request_are_on_record_before_it_leaves_and_are_back_together(
    shared: int | None, refunded: bool
) -> None:
    ledger, start = Counting(), anyio.current_time()
    quota = a_quota(5, WINDOW, (9, 10 * WINDOW))
    through = a_governor(ledger=ledger).gate(a_client(quota, None if shared is None else a_quota(shared)))
    permit = await recorded(through, 10.0, cost=4)
    assert ledger.claims == [8 if shared is None else 12]
    out = [(key[1], key[2], round(record.free_at - start - 15)) for key, record in ledger.records.items()]
    platforms = [("", 60_000, 60)] * (4 if shared else 0)
    assert sorted(out) == [*platforms, *[("acme", 60_000, 60)] * 4, *[("acme", 600_000, 601)] * 4]
    await anyio.sleep(3)
    permit.refund() if refunded else permit.cool()
    ends = [record.free_at for key, record in ledger.records.items() if key[2] == 60_000]
    assert ends == pytest.approx([0.0 if refunded else start + 3 + COOLS_FOR] * (8 if shared else 4))
    assert through.limiter.held == 0


async def test_a_request_of_which_another_process_has_one_permit_takes_none() -> None:
    ledger = Counting()
    here, there = (a_governor(VirtualClock(), ledger, name).gate(a_client(a_quota(5))) for name in ("here", "there"))
    await recorded(there, cost=1)
    permit = await here.acquire(cost=3)
    assert not await permit.put_on_record(5.0)
    assert ledger.out() == 1
    assert (here.free, here.limiter.held) == (4, 0)
    await recorded(here, cost=4)
    assert ledger.out() == 5


@examples(60)
@given(
    seed=st.integers(0, 2**32),
    costs=COSTS,
    spare=st.integers(0, 4),
    shared=st.none() | st.integers(0, 3),
    lives=st.lists(
        st.tuples(st.floats(0, 200), st.floats(0, 400), st.integers(1, 20), st.booleans()), min_size=2, max_size=5
    ),
)
async def test_processes_that_are_killed_anywhere_never_send_more_than_the_quota_whatever_requests_cost(
    seed: int, costs: list[int], spare: int, shared: int | None, lives: list[tuple[float, float, int, bool]]
) -> None:
    permits, platform_permits = max(costs) + spare, None if shared is None else max(costs) + shared
    processes = Processes(
        seed, a_quota(permits), None if platform_permits is None else a_quota(platform_permits), costs
    )
    await processes.live_together(lives)
    before = len(processes.server.counted)
    await processes.live("the last", 0.0, 1e9, 5)
    assert processes.server.most_in_a_window() <= min(permits, platform_permits or permits)
    assert len(processes.server.counted) >= before + 5 * min(costs)


@examples(30)
@given(
    seed=st.integers(0, 2**32),
    permits=st.integers(60, 120),
    costs=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    lives=st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 60), st.integers(5, 15), st.booleans()), min_size=2, max_size=4
    ),
)
async def test_blocks_of_permits_in_hand_keep_to_the_quota_too_whatever_requests_cost(
    seed: int, permits: int, costs: list[int], lives: list[tuple[float, float, int, bool]]
) -> None:
    processes = Processes(seed, a_quota(permits), None, costs)
    await processes.live_together(lives, rounds=4)
    await processes.live("the last", 0.0, 1e9, 8, rounds=4)
    assert processes.server.most_in_a_window() <= permits


async def test_a_request_leaves_without_a_write_only_if_all_of_its_permits_are_in_hand() -> None:
    ledger = Counting()
    through = a_gate(a_quota(1000), VirtualClock(), ledger)
    permits = [await recorded(through) for _ in range(12)]
    in_hand = ledger.out() - 12
    assert in_hand == 1
    writes = len(ledger.claims)
    permits.append(await recorded(through, cost=3))
    assert len(ledger.claims) == writes + 1
    assert ledger.claims[-1] >= 3
    in_hand = ledger.out() - 15
    assert in_hand >= 3
    permits.append(await recorded(through, cost=3))
    assert len(ledger.claims) == writes + 1
    for permit in permits:
        permit.cool()
    await anyio.sleep(3)
    assert ledger.out() == 18
    assert (through.free, through.limiter.held) == (1000 - 18, 0)


@pytest.mark.parametrize(("elsewhere", "spaces"), [(False, 3), (True, 4)])
async def test_another_process_leaves_the_spaces_that_a_costly_request_needs(elsewhere: bool, spaces: int) -> None:
    """Of another machine it is not known what its last request cost, so the largest cost counts."""
    ledger, client = MemoryLedger(), a_client(a_quota(14, shape=Shape.PACED), costs=(1, 4))
    there = a_governor(rebooted() if elsewhere else VirtualClock(), ledger, "there").gate(client)
    (await recorded(there, cost=3)).cool()
    here, start = a_governor(VirtualClock(), ledger, "here").gate(client), anyio.current_time()
    await here.acquire()
    assert anyio.current_time() - start == pytest.approx(spaces * there.account.limiter.space_s, rel=0.02)


async def test_the_cost_of_a_change_of_quotas_lasts_until_the_cheapest_request_can_be_sent() -> None:
    clock, ledger = VirtualClock(), MemoryLedger()
    through = a_governor(clock, ledger).gate(a_client(a_quota(6)))
    for cost in (2, 2, 2):
        (await recorded(through, cost=cost)).cool()
        await anyio.sleep(10)
    now = [a_client(a_quota(6, 2 * WINDOW, (6, 70)), costs=(least, 6)) for least in (1, 3, 5)]
    named = {str(client.costs[0]): client for client in now}
    waits = silences(named, list(ledger.records.values()), clock)
    ends = {least: 2 * WINDOW - 30 + returned for least, returned in (("1", 0), ("3", 10), ("5", 20))}
    assert waits == {least: pytest.approx(end, abs=1) for least, end in ends.items()}


async def test_two_processes_with_costly_requests_use_the_quota_together() -> None:
    ledger, sent = MemoryLedger(), Counter[str]()

    async def work(name: str, cost: int) -> None:
        through = a_governor(VirtualClock(), ledger, name).gate(a_client(a_quota(12), timeout_s=1))

        async def request() -> None:
            permit = await recorded(through, 1.0, cost)
            await anyio.sleep(0.1)
            permit.cool()
            sent[name] += cost

        await at_once(40, request)

    with anyio.move_on_after(10 * WINDOW):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work, "cheap", 2)
            tasks.start_soon(work, "costly", 3)
    assert 90 <= sent.total() <= 132
    assert min(sent.values()) >= 12
