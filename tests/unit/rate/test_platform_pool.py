from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from random import Random

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.rate import Gate, Governor, Priority
from adsyncd.rate.quota import Quota, Shape
from adsyncd.rate.wait import WaitReason
from support.examples import examples
from support.gates import COOLS_FOR, WINDOW, Server, a_client, a_governor, a_quota, recorded


def gates(governor: Governor, platform_quota: Quota, *permits: int, weights: Sequence[int] = ()) -> list[Gate]:
    """Return a gate for each number of permits, which share a platform's quota."""
    return [
        governor.gate(a_client(a_quota(own), platform_quota, client_id=f"c{number}", weight=weight))
        for number, (own, weight) in enumerate(zip(permits, weights or [1] * len(permits), strict=True))
    ]


@examples(40)
@given(
    seed=st.integers(0, 2**32),
    platform_permits=st.integers(1, 12),
    quotas=st.lists(st.integers(1, 8), min_size=1, max_size=6),
)
async def test_no_permit_of_a_client_id_is_spent_without_the_platform_s_nor_the_reverse(
    seed: int, platform_permits: int, quotas: list[int]
) -> None:
    sharing, random = gates(a_governor(), a_quota(platform_permits), *quotas), Random(seed)
    each = [Server(seed + number) for number in range(len(quotas))]

    async def request(number: int) -> None:
        await anyio.sleep(random.uniform(0, 100))
        with anyio.move_on_after(random.uniform(0, 300)):
            await each[number].request(sharing[number])

    async with anyio.create_task_group() as tasks:
        for number in range(len(quotas)):
            for _ in range(15):
                tasks.start_soon(request, number)
    for own, permits in zip(each, quotas, strict=True):
        assert own.most_in_a_window() <= permits
    both = Server(seed)
    both.counted = [at for own in each for at in own.counted]
    assert both.most_in_a_window() <= platform_permits
    await anyio.sleep(COOLS_FOR + 0.001)
    assert [through.free for through in sharing] == quotas  # whatever was cancelled, timed out or never left
    assert sharing[0].pool is not None
    assert sharing[0].pool.limiter.free(anyio.current_time()) == platform_permits


@examples(40)
@given(weights=st.lists(st.integers(1, 4), min_size=2, max_size=6), platform_permits=st.integers(1, 12))
async def test_gates_that_wait_get_grants_by_their_weights_within_one_turn(
    weights: list[int], platform_permits: int
) -> None:
    sharing = gates(a_governor(), a_quota(platform_permits), *[1000] * len(weights), weights=weights)
    granted: list[int] = []

    async def request(number: int) -> None:
        while True:
            permit = await sharing[number].acquire()
            granted.append(number)
            permit.cool()

    with anyio.move_on_after(8 * WINDOW):
        async with anyio.create_task_group() as tasks:
            for number in range(len(weights)):
                for _ in range(max(platform_permits, *weights) + 1):  # so many may be granted in one instant
                    tasks.start_soon(request, number)
    counts = Counter(granted)
    turns = [counts[number] / weight for number, weight in enumerate(weights)]
    assert max(turns) - min(turns) <= 1.001 + platform_permits / min(weights)  # the first came when no other waited
    assert len(granted) >= 7 * platform_permits
    runs = [(number, len(list(run))) for number, run in groupby(granted[platform_permits:])]
    assert all(length == weights[number] for number, length in runs[1:-1])


async def test_the_first_turn_is_as_long_as_its_weight_too() -> None:
    heavy, light = gates(a_governor(), a_quota(1), 9, 9, weights=[3, 1])
    (await light.acquire()).refund()
    held, granted = await light.acquire(), list[str]()

    async def request(through: Gate, name: str) -> None:
        permit = await through.acquire()
        granted.append(name)
        permit.refund()

    async with anyio.create_task_group() as tasks:
        for through, name in [(heavy, "heavy")] * 6 + [(light, "light")] * 2:
            tasks.start_soon(request, through, name)
        await anyio.sleep(1)
        held.refund()
    assert granted == ["heavy", "heavy", "heavy", "light"] * 2


@examples(60)
@given(
    leaver=st.integers(0, 4),
    waits=st.lists(st.integers(1, 3), min_size=2, max_size=5),
    platform_permits=st.integers(1, 3),
)
async def test_a_gate_that_leaves_the_platform_s_quota_is_alone_in_that(
    leaver: int, waits: list[int], platform_permits: int
) -> None:
    governor, start = a_governor(), anyio.current_time()
    *sharing, holder = gates(governor, a_quota(platform_permits), *[50] * (len(waits) + 1))
    held = [await holder.acquire() for _ in range(platform_permits)]
    leaver, served = leaver % len(waits), Counter[int]()

    async def request(number: int) -> None:
        permit = await sharing[number].acquire()
        served[number] += 1
        permit.refund()

    async with anyio.create_task_group() as tasks:
        for number, waiting in enumerate(waits):
            for _ in range(waiting):
                tasks.start_soon(request, number)
        await anyio.sleep(1)
        governor.gate(a_client(a_quota(50), client_id=f"c{leaver}"))
        await anyio.sleep(1)
        assert served == Counter({leaver: waits[leaver]})
        held.pop().refund()
        await anyio.sleep(1)
        assert served == Counter(dict(enumerate(waits)))
        tasks.cancel_scope.cancel()
    for permit in held:
        permit.refund()
    assert all(through.limiter.held == 0 for through in sharing)
    pools = [through.pool.limiter for through in sharing if through.pool]
    assert all((pool.held, pool.free(start)) == (0, platform_permits) for pool in pools)


async def test_a_gate_that_left_the_platform_s_quota_waits_for_its_own_alone() -> None:
    governor, served = a_governor(), 0
    first, leaver, holder = gates(governor, a_quota(1), 5, 1, 5)
    await holder.acquire()

    async def request() -> None:
        nonlocal served
        (await leaver.acquire()).cool()
        served += 1

    async with anyio.create_task_group() as tasks:
        for wait in (first.acquire, request, request):
            tasks.start_soon(wait)
        await anyio.sleep(1)
        governor.gate(a_client(a_quota(1), client_id="c1"))
        await anyio.sleep(COOLS_FOR + 1)
        assert served == 2
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("cools", [False, True])
async def test_a_permit_that_is_back_goes_to_a_gate_that_waits_for_the_platform_s_quota(cools: bool) -> None:
    one, other = gates(a_governor(), a_quota(1), 5, 5)
    permit, start = await one.acquire(), anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other.acquire)
        await anyio.sleep(7)
        permit.cool() if cools else permit.refund()
    assert anyio.current_time() - start == pytest.approx(7 + COOLS_FOR * cools)


async def test_a_light_user_hardly_waits_for_heavy_ones_and_nothing_is_left_unused_for_its_sake() -> None:
    *heavy, light = gates(a_governor(), a_quota(20), *[1000] * 4)
    granted, waits = 0, []

    async def request(through: Gate) -> None:
        nonlocal granted
        permit = await through.acquire()
        granted += 1
        permit.cool()

    with anyio.move_on_after(10 * WINDOW):
        async with anyio.create_task_group() as tasks:
            for through in heavy:
                for _ in range(100):
                    tasks.start_soon(request, through)
            for _ in range(5):
                await anyio.sleep(WINDOW)
                asked_at = anyio.current_time()
                await request(light)
                waits.append(anyio.current_time() - asked_at)
    assert max(waits) <= COOLS_FOR
    assert granted >= 9 * 20


async def test_a_gate_whose_own_quota_is_spent_takes_no_turn_of_the_others() -> None:
    blocked, free = gates(a_governor(), a_quota(5), 1, 100)
    start = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        await blocked.acquire()
        for _ in range(50):
            tasks.start_soon(blocked.acquire)
        for _ in range(4):
            await free.acquire()
        assert anyio.current_time() == start
        tasks.cancel_scope.cancel()


async def test_a_gate_that_is_closed_while_it_waits_for_the_platform_goes_on_when_it_opens() -> None:
    closed, holder = gates(a_governor(), a_quota(1), 5, 5)
    held, start = await holder.acquire(), anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(closed.acquire)
        await anyio.sleep(1)
        closed.close(10)
        held.refund()
    assert anyio.current_time() - start == pytest.approx(11)


async def test_a_request_that_waits_for_the_platform_s_quota_is_told_so() -> None:
    told = []
    one, other = gates(a_governor(), a_quota(1), 5, 5)
    permit = await one.acquire()
    assert other.silence_s() is None
    permit.cool()
    assert other.silence_s() == pytest.approx(COOLS_FOR)
    await other.acquire(Priority.PUSH, lambda *block: told.append(block))
    assert told == [(WaitReason.PLATFORM_QUOTA, pytest.approx(anyio.current_time()))]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("in_flight_s", [0.0, 7.0])
async def test_a_platform_s_quota_that_is_new_counts_what_its_client_ids_sent_before(
    restart: bool, in_flight_s: float
) -> None:
    governor, start = a_governor(), anyio.current_time()
    permit = await recorded(governor.gate(a_client(a_quota(5))))
    if not in_flight_s or restart:
        permit.cool()
    if restart:
        governor = a_governor(governor._clock, governor._ledger, "after")  # type: ignore[arg-type]
    through = governor.gate(a_client(a_quota(5), a_quota(1)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(through.acquire)
        await anyio.sleep(in_flight_s)
        permit.cool()
    assert anyio.current_time() - start == pytest.approx(COOLS_FOR + (0 if restart else in_flight_s))


@pytest.mark.parametrize("quota", [a_quota(10), None])
async def test_a_request_that_waits_for_a_platform_s_quota_goes_at_once_when_it_grows_or_ends(
    quota: Quota | None,
) -> None:
    governor = a_governor()
    [through], start = gates(governor, a_quota(1), 50), anyio.current_time()
    (await through.acquire()).cool()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(through.acquire)
        await anyio.sleep(1)
        governor.gate(a_client(a_quota(50), quota, client_id="c0"))
    assert anyio.current_time() - start == pytest.approx(1)


async def test_a_platform_s_quota_may_be_spaced_too() -> None:
    granted = list[float]()
    for through in gates(a_governor(), a_quota(11, shape=Shape.PACED), 50, 50):
        (await through.acquire()).cool()
        granted.append(anyio.current_time())
    assert granted[1] - granted[0] >= WINDOW / 10
