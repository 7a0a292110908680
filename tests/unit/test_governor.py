from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adsyncd.errors import Stopping, StoreError
from adsyncd.governor import Gate, Governor
from adsyncd.limits import cools_for
from adsyncd.permit import PermitRecord
from adsyncd.tenant import Quota
from support.gates import MemoryLedger, a_gate
from support.tenants import a_tenant
from support.virtual_time import BACKEND, VirtualClock

WINDOW = 60.0
COOLS_FOR = cools_for(Quota(1, timedelta(seconds=WINDOW)))


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


def gate(permits: int = 10) -> Gate:
    return a_gate(Quota(permits, timedelta(seconds=WINDOW)), VirtualClock())


class Server:
    """Counts each request at an instant between its sending and its answer, as an exact sliding log."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.counted: list[float] = []

    async def request(self, through: Gate) -> None:
        permit = await through.acquire()
        kind = self.random.choice(["answered", "answered", "answered", "never left", "timed out", "cancelled"])
        if kind == "never left":
            await anyio.sleep(self.random.uniform(0, 2))
            permit.refund()
            return
        round_trip = self.random.uniform(0, 5)
        arrival = self.random.uniform(0, round_trip)
        try:
            with anyio.move_on_after(self.random.uniform(0, round_trip) if kind == "cancelled" else None):
                await anyio.sleep(arrival)
                self.counted.append(anyio.current_time())
                await anyio.sleep(round_trip - arrival)
        finally:
            permit.cool()

    async def recorded_request(self, through: Gate) -> None:
        """Be killed at any instant: what a process does after that, this does not do."""
        permit = await through.acquire()
        await permit.put_on_record(5.0)
        round_trip = self.random.uniform(0, 5)
        arrival = self.random.uniform(0, round_trip)
        await anyio.sleep(arrival)
        self.counted.append(anyio.current_time())
        await anyio.sleep(round_trip - arrival)
        permit.cool()

    def most_in_a_window(self) -> int:
        counted = sorted(self.counted)
        return max((sum(1 for other in counted if at - WINDOW < other <= at) for at in counted), default=0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), permits=st.integers(1, 12), requests=st.integers(1, 80))
async def test_the_server_never_counts_more_than_the_quota_in_any_trailing_window(
    seed: int, permits: int, requests: int
) -> None:
    server, through = Server(seed), gate(permits)
    async with anyio.create_task_group() as tasks:
        for _ in range(requests):
            tasks.start_soon(server.request, through)
    assert server.most_in_a_window() <= permits
    await anyio.sleep(COOLS_FOR + 0.001)
    assert through.free == permits  # whatever was cancelled, timed out or never left


@settings(max_examples=60, deadline=None)
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


async def test_a_free_permit_and_a_waiter_make_a_grant_at_that_instant() -> None:
    through, granted_at = gate(2), []
    start = anyio.current_time()

    async def request() -> None:
        permit = await through.acquire()
        granted_at.append(anyio.current_time() - start)
        await anyio.sleep(1)
        permit.cool()

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(request)
    assert granted_at == pytest.approx([0, 0, 1 + COOLS_FOR, 1 + COOLS_FOR, 2 + 2 * COOLS_FOR, 2 + 2 * COOLS_FOR])


async def test_a_refund_serves_the_line_at_once() -> None:
    through = gate(1)
    start = anyio.current_time()
    permit = await through.acquire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(through.acquire)
        await anyio.sleep(7)
        permit.refund()
    assert anyio.current_time() - start == pytest.approx(7)


async def test_a_blocked_gate_delays_no_other() -> None:
    blocked, fresh = gate(1), gate(1)
    await blocked.acquire()
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(blocked.acquire)
        await anyio.sleep(1)
        before = anyio.current_time()
        await fresh.acquire()
        assert anyio.current_time() == before
        tasks.cancel_scope.cancel()


@settings(max_examples=40, deadline=None)
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


async def test_who_waits_is_told_until_when() -> None:
    through = gate(1)
    told: list[float | None] = []
    start = anyio.current_time()
    permit = await through.acquire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(through.acquire, told.append)
        await anyio.sleep(5)
        permit.cool()
    assert told == [None, pytest.approx(start + 5 + COOLS_FOR)]


async def test_the_line_is_served_steadily_at_the_quota() -> None:
    through, granted_at = gate(10), []

    async def request() -> None:
        permit = await through.acquire()
        granted_at.append(anyio.current_time())
        await anyio.sleep(0.02)
        permit.cool()

    async with anyio.create_task_group() as tasks:
        for _ in range(110):
            tasks.start_soon(request)
    gaps = [after - before for before, after in pairwise(granted_at[::10])]
    assert gaps == pytest.approx([COOLS_FOR + 0.02] * 10)


async def test_a_stopped_gate_turns_away_who_waits_and_who_comes_but_not_what_is_out() -> None:
    through = gate(1)
    permit = await through.acquire()
    turned_away = 0

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


class RebootedClock(VirtualClock):
    @property
    def boot_id(self) -> str:
        return "another boot"


WHOLE, HALF = Quota(4, timedelta(seconds=WINDOW)), Quota(2, timedelta(seconds=WINDOW / 2))  # by both, 4 in a WINDOW


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kills=st.lists(st.tuples(st.floats(0, 150), st.sampled_from([WHOLE, HALF])), min_size=1, max_size=5),
    reboots=st.booleans(),
)
async def test_no_kill_at_whatever_instant_and_no_edit_before_the_restart_lets_more_through_than_the_quota(
    seed: int, kills: list[tuple[float, Quota]], reboots: bool
) -> None:
    server, ledger = Server(seed), MemoryLedger()

    async def live(through: Gate) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(server.recorded_request, through)

    for life_s, quota in [*kills, (10_000, WHOLE)]:
        clock = RebootedClock() if reboots and life_s == kills[-1][0] else VirtualClock()
        through = Governor(clock, ledger, list(ledger.records.values())).gate(a_tenant(quota=quota))
        with anyio.move_on_after(life_s):
            await live(through)
    assert server.most_in_a_window() <= 4
    assert len(server.counted) > 0


async def test_a_permit_that_could_not_be_put_on_record_is_given_back() -> None:
    class Broken(MemoryLedger):
        async def hold_permit(self, record: PermitRecord) -> None:
            raise StoreError(f"the disk is full, no room for {record.number}")

    through = a_gate(Quota(1, timedelta(seconds=WINDOW)), VirtualClock(), Broken())
    for _ in range(3):
        permit = through.acquire_nowait()
        assert permit is not None
        with pytest.raises(StoreError):
            await permit.put_on_record(10.0)


async def test_a_record_that_took_too_long_to_write_is_written_again_before_the_request_leaves() -> None:
    class Slow(MemoryLedger):
        async def hold_permit(self, record: PermitRecord) -> None:
            await anyio.sleep(0.1 if self.records else 30.0)
            await super().hold_permit(record)

    ledger = Slow()
    permit = a_gate(Quota(1, timedelta(seconds=WINDOW)), VirtualClock(), ledger).acquire_nowait()
    assert permit is not None
    await permit.put_on_record(10.0)
    (record,) = ledger.records.values()
    assert record.free_at > anyio.current_time() + 10.0 + COOLS_FOR


async def test_tenants_of_one_client_id_share_its_gate_and_others_do_not() -> None:
    governor = Governor(VirtualClock(), MemoryLedger(), [])
    one, same, other = a_tenant(id="a"), a_tenant(id="b"), a_tenant(id="c", client_id="other")
    assert governor.gate(one) is governor.gate(same)
    assert governor.gate(one) is not governor.gate(other)
