from itertools import pairwise
from random import Random

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.errors import Stopping
from adsyncd.rate import Gate, Priority
from adsyncd.rate.feedback import Limit
from adsyncd.rate.wait import WaitReason
from support.examples import examples
from support.gates import COOLS_FOR, Server, a_client, a_gate, a_governor, a_quota, at_once
from support.virtual_time import VirtualClock


def gate(permits: int = 10) -> Gate:
    return a_gate(a_quota(permits), VirtualClock())


@examples(60)
@given(seed=st.integers(0, 2**32), permits=st.integers(1, 12), requests=st.integers(1, 80))
async def test_the_server_never_counts_more_than_the_quota_in_any_trailing_window(
    seed: int, permits: int, requests: int
) -> None:
    server, through = Server(seed), gate(permits)
    await at_once(requests, server.request, through)
    assert server.most_in_a_window() <= permits
    await anyio.sleep(COOLS_FOR + 0.001)
    assert through.free == permits  # whatever was cancelled, timed out or never left


@examples(60)
@given(seed=st.integers(0, 2**32), waiters=st.integers(2, 60))
async def test_who_came_first_is_served_first_even_when_others_leave_the_line(seed: int, waiters: int) -> None:
    random, through = Random(seed), gate(3)
    served: list[int] = []
    cancelled = {number for number in range(waiters) if random.random() < 0.3}

    async def wait(number: int) -> None:
        with anyio.move_on_after(random.uniform(0, 200) if number in cancelled else None):
            permit = await through.acquire()
            served.append(number)
            await anyio.sleep(random.uniform(0, 3))
            permit.cool()
            return
        if number in served:  # cancelled while it held the permit
            permit.cool()

    async with anyio.create_task_group() as tasks:
        for number in range(waiters):
            tasks.start_soon(wait, number)
    assert served == sorted(served)
    assert set(range(waiters)) - cancelled <= set(served)
    await anyio.sleep(COOLS_FOR + 0.001)
    assert through.free == 3


@examples(60)
@given(seed=st.integers(0, 2**32), shared=st.booleans())
async def test_a_request_that_is_cancelled_in_the_instant_of_its_grant_leaks_no_permit(seed: int, shared: bool) -> None:
    random, governor = Random(seed), a_governor()
    gates = [governor.gate(a_client(a_quota(2), a_quota(3) if shared else None, client_id=name)) for name in "ab"]

    async def request(through: Gate, scope: anyio.CancelScope) -> None:
        with scope:
            permit = await through.acquire()
            permit.refund()

    for _ in range(10):
        held = [permit for through in gates if (permit := through.acquire_nowait())]
        scopes = [anyio.CancelScope() for _ in range(8)]
        async with anyio.create_task_group() as tasks:
            for scope in scopes:
                tasks.start_soon(request, random.choice(gates), scope)
            await anyio.lowlevel.checkpoint()
            steps = [permit.refund for permit in held] + [scope.cancel for scope in random.sample(scopes, 4)]
            random.shuffle(steps)
            for step in steps:
                step()
    assert [through.free for through in gates] == [2, 2]
    assert [through.limiter.held for through in gates] == [0, 0]
    assert all(through.pool is None or through.pool.limiter.free(0.0) == 3 for through in gates)


async def test_a_cancelled_request_gives_back_what_it_was_granted_before_it_left_the_line() -> None:
    through = gate(1)
    permit = await through.acquire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(through.acquire)
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()
        permit.refund()
    assert (through.limiter.held, through.free) == (0, 1)


async def test_a_free_permit_and_a_waiter_make_a_grant_at_that_instant() -> None:
    through, granted_at, start = gate(2), [], anyio.current_time()

    async def request() -> None:
        permit = await through.acquire()
        granted_at.append(anyio.current_time() - start)
        await anyio.sleep(1)
        permit.cool()

    await at_once(6, request)
    assert granted_at == pytest.approx([0, 0, 1 + COOLS_FOR, 1 + COOLS_FOR, 2 + 2 * COOLS_FOR, 2 + 2 * COOLS_FOR])


async def test_a_refund_serves_the_line_at_once() -> None:
    through, start = gate(1), anyio.current_time()
    permit = await through.acquire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(through.acquire)
        await anyio.sleep(7)
        permit.refund()
    assert anyio.current_time() - start == pytest.approx(7)


class LateClock(VirtualClock):
    """The clock while the event loop is late: timers that are due have not rung yet."""

    late_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.late_s


@pytest.mark.parametrize("shared", [False, True])
async def test_no_newcomer_overtakes_the_line_while_the_event_loop_is_late(shared: bool) -> None:
    clock = LateClock()
    governor, limited = a_governor(clock), a_quota(1) if shared else None
    first, newcomer = (
        governor.gate(a_client(a_quota(9 if shared else 1), limited, client_id=name))
        for name in (("acme", "other") if shared else ("acme", "acme"))
    )
    (await first.acquire()).cool()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.acquire)
        await anyio.sleep(1)
        clock.late_s = COOLS_FOR
        assert newcomer.acquire_nowait() is None
        clock.late_s = 0.0
        tasks.cancel_scope.cancel()


@examples(40)
@given(st.lists(st.tuples(st.floats(0, 50), st.floats(-10, 100)), min_size=1, max_size=8))
async def test_nobody_passes_before_the_instant_that_the_platform_stated(closings: list[tuple[float, float]]) -> None:
    through = gate(1000)
    closed_until = 0.0
    async with anyio.create_task_group() as tasks:
        for pause, wait_s in closings:
            await anyio.sleep(pause)
            through.close(wait_s)
            closed_until = max(closed_until, anyio.current_time() + wait_s)
            stated = closed_until

            async def request(stated: float = stated) -> None:
                await through.acquire()
                assert anyio.current_time() >= stated

            tasks.start_soon(request)


async def test_a_waiting_request_is_told_its_reason_and_its_end_whenever_they_change() -> None:
    through, told, start = gate(1), list[tuple[WaitReason, float | None]](), anyio.current_time()
    permit = await through.acquire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(through.acquire, Priority.PUSH, lambda *block: told.append(block))
        await anyio.sleep(5)
        permit.cool()
        await anyio.sleep(5)
        assert through.silence_s() == pytest.approx(COOLS_FOR - 5)
        through.close(100)
        assert through.silence_s() == 100
        await anyio.sleep(1)
        through.heed([Limit(remaining=0, reset_s=200)], refused=False)
    assert told == [
        (WaitReason.QUOTA, None),
        (WaitReason.QUOTA, pytest.approx(start + 5 + COOLS_FOR)),
        (WaitReason.RETRY_AFTER, pytest.approx(start + 110)),
        (WaitReason.FEEDBACK, pytest.approx(start + 211)),
    ]


async def test_the_second_in_line_is_told_once_and_again_when_it_is_the_first() -> None:
    through, told, start = gate(1), list[float | None](), anyio.current_time()
    permit = await through.acquire()

    async def request() -> None:
        (await through.acquire()).cool()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(request)
        await anyio.sleep(1)
        tasks.start_soon(through.acquire, Priority.PUSH, lambda _, until: told.append(until))
        await anyio.sleep(1)
        through.close(10)
        permit.refund()
        await anyio.sleep(9)
        assert told == [None]
    assert told == [None, pytest.approx(start + 12 + COOLS_FOR)]


async def test_the_second_in_line_is_told_when_the_first_leaves() -> None:
    through, told, impatient = gate(1), list[float | None](), anyio.CancelScope()
    permit = await through.acquire()

    async def give_up() -> None:
        with impatient:
            await through.acquire()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give_up)
        await anyio.sleep(1)
        tasks.start_soon(through.acquire, Priority.PUSH, lambda _, until: told.append(until))
        await anyio.sleep(1)
        permit.cool()
        await anyio.sleep(1)
        assert told == [None]
        impatient.cancel()
        await anyio.sleep(1)
        assert told == [None, pytest.approx(anyio.current_time() - 2 + COOLS_FOR)]


async def test_the_line_is_served_steadily_at_the_quota() -> None:
    through, granted_at = gate(10), []

    async def request() -> None:
        permit = await through.acquire()
        granted_at.append(anyio.current_time())
        await anyio.sleep(0.02)
        permit.cool()

    await at_once(110, request)
    gaps = [after - before for before, after in pairwise(granted_at[::10])]
    assert gaps == pytest.approx([COOLS_FOR + 0.02] * 10)


async def test_a_stopped_gate_turns_away_who_waits_and_who_comes_but_not_what_is_out() -> None:
    through, turned_away = gate(1), 0
    permit = await through.acquire()

    async def wait() -> None:
        nonlocal turned_away
        with pytest.raises(Stopping):
            await through.acquire()
        turned_away += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(wait)
        await anyio.sleep(1)
        through.stop()
    assert turned_away == 5
    with pytest.raises(Stopping):
        through.acquire_nowait()
    permit.cool()


async def test_a_pause_lasts_as_long_as_it_says_and_ends_at_once_when_the_gate_is_stopped() -> None:
    through, start = gate(1), anyio.current_time()
    await through.pause(3)
    assert anyio.current_time() - start == pytest.approx(3)
    async with anyio.create_task_group() as tasks:

        async def pause() -> None:
            with pytest.raises(Stopping):
                await through.pause(300)

        tasks.start_soon(pause)
        await anyio.sleep(1)
        through.stop()
    assert anyio.current_time() - start == pytest.approx(4)
    with pytest.raises(Stopping):
        await through.pause(0)


async def test_listings_go_before_pushes_and_replays_last_and_each_in_its_order_but_one_that_comes_again() -> None:
    through, served = gate(1), []
    permit = await through.acquire()

    async def wait(priority: Priority, number: int) -> None:
        granted = await through.acquire(priority, again=number == 2)
        served.append((priority, number))
        granted.refund()

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            for priority in (Priority.REPLAY, Priority.PUSH, Priority.LISTING):
                tasks.start_soon(wait, priority, number)
        await anyio.sleep(1)
        permit.refund()
    assert served == [(priority, number) for priority in Priority for number in (2, 0, 1)]


@examples(40)
@given(
    stated=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 12), st.floats(0, 90)), max_size=8),
    requests=st.integers(1, 40),
)
async def test_what_a_platform_states_never_makes_a_grant_that_would_not_have_been(
    stated: list[tuple[float, int, float]], requests: int
) -> None:
    async def granted(*, heeds: bool) -> list[float]:
        through, instants, start = gate(5), [], anyio.current_time()

        async def request() -> None:
            permit = await through.acquire()
            instants.append(anyio.current_time() - start)
            permit.cool()

        async with anyio.create_task_group() as tasks:
            for _ in range(requests):
                tasks.start_soon(request)
            for pause_s, remaining, reset_s in stated if heeds else []:
                await anyio.sleep(pause_s)
                through.heed([Limit(remaining=remaining, reset_s=reset_s)], refused=False)
        return instants

    without, heeding = await granted(heeds=False), await granted(heeds=True)
    assert all(later >= sooner - 1e-6 for sooner, later in zip(without, heeding, strict=True))


@pytest.mark.parametrize(
    ("limit", "left", "until_s"),
    [
        (Limit(remaining=2, reset_s=7), 2, 7),
        (Limit(used=0.75, reset_s=7), 2, 7),
        (Limit(remaining=2), 2, COOLS_FOR),
        (Limit(remaining=0, used=0.1, reset_s=7), 0, 7),
        (Limit(requests=3), 10, COOLS_FOR),
    ],
)
async def test_a_stated_limit_leaves_as_many_grants_as_it_says_until_its_reset_or_a_whole_window(
    limit: Limit, left: int, until_s: float
) -> None:
    through, start = gate(10), anyio.current_time()
    through.heed([limit], refused=False)
    for _ in range(left):
        (await through.acquire()).cool()
    assert anyio.current_time() == start
    await through.acquire()
    assert anyio.current_time() - start == pytest.approx(until_s)


async def test_a_forecast_says_how_long_more_requests_will_take() -> None:
    through = a_governor().gate(a_client(a_quota(10), a_quota(5)))
    assert [through.forecast_s(requests) for requests in (0, 5)] == [0, 0]
    assert through.forecast_s(11) == pytest.approx(2 * COOLS_FOR)
    assert gate(10).forecast_s(11) == pytest.approx(COOLS_FOR)


async def test_a_forecast_counts_the_gates_that_wait_for_the_platform_s_quota_too() -> None:
    governor = a_governor()
    light, heavy = (
        governor.gate(a_client(a_quota(1000), a_quota(10), client_id=name, weight=weight))
        for name, weight in (("light", 1), ("heavy", 3))
    )
    async with anyio.create_task_group() as tasks:
        for through in (light, heavy):
            for _ in range(20):
                tasks.start_soon(through.acquire)
        await anyio.sleep(1)
        for through, requests, windows in ((light, 10, 4), (heavy, 10, 2), (heavy, 8, 2), (heavy, 7, 1)):
            assert through.forecast_s(requests) == pytest.approx(windows * COOLS_FOR, abs=2)
        tasks.cancel_scope.cancel()
