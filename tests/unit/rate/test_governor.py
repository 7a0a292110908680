from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adsyncd.errors import Stopping, StoreError
from adsyncd.model.tenant import Platform, Tenant
from adsyncd.rate import Gate, Priority
from adsyncd.rate.bucket import cools_for
from adsyncd.rate.feedback import Limit
from adsyncd.rate.ledger import Claim, PermitRecord, ShapeRecord
from adsyncd.rate.quota import Quota, Shape, Window
from adsyncd.rate.wait import WaitReason
from mock_api import meters
from mock_api.meters import Algorithm, meter
from support.gates import MemoryLedger, a_gate, a_governor
from support.tenants import a_tenant
from support.virtual_time import BACKEND, START, VirtualClock

WINDOW = 60.0
COOLS_FOR = cools_for(Window(1, timedelta(seconds=WINDOW)))


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
            try:
                await anyio.sleep(self.random.uniform(0, 2))
            finally:
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
        while not await permit.put_on_record(5.0):
            permit = await through.acquire(again=True)
        round_trip = self.random.uniform(0, 5)
        arrival = self.random.uniform(0, round_trip)
        await anyio.sleep(arrival)
        self.counted.append(anyio.current_time())
        await anyio.sleep(round_trip - arrival)
        permit.cool()

    def most_in_a_window(self) -> int:
        counted = sorted(self.counted)
        return max((sum(1 for other in counted if at - WINDOW < other <= at) for at in counted), default=0)


@settings(max_examples=60)
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


@settings(max_examples=60)
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


@settings(max_examples=40)
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
    told: list[tuple[WaitReason, float | None]] = []
    start = anyio.current_time()
    permit = await through.acquire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(through.acquire, Priority.PUSH, lambda *what: told.append(what))
        await anyio.sleep(5)
        permit.cool()
        await anyio.sleep(5)
        through.close(100)
    assert told == [
        (WaitReason.QUOTA, None),
        (WaitReason.QUOTA, pytest.approx(start + 5 + COOLS_FOR)),
        (WaitReason.RETRY_AFTER, pytest.approx(start + 110)),
    ]


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
    with pytest.raises(Stopping):
        await through.pause(0)


class RebootedClock(VirtualClock):
    @property
    def boot_id(self) -> str:
        return "another boot"


async def test_what_a_quota_of_old_had_out_before_a_reboot_is_waited_for_once_and_not_at_each_start() -> None:
    ledger, waits = MemoryLedger(), []
    day, minute = Quota(5, timedelta(days=1)), Quota(1, timedelta(seconds=WINDOW))
    for owner, clock, quota in (
        ("before", VirtualClock(), day),
        ("after", RebootedClock(), minute),
        ("again", RebootedClock(), minute),
    ):
        asked_at = anyio.current_time()
        permit = await a_governor(clock, ledger, owner).gate(a_tenant(quota=quota).client_quota).acquire()
        waits.append(anyio.current_time() - asked_at)
        assert await permit.put_on_record(5.0)
        permit.cool()
        await anyio.sleep(86_400)
    assert waits == [0, pytest.approx(COOLS_FOR + 5 + 10), 0]


async def test_permits_from_before_a_reboot_that_nobody_needed_since_are_waited_for_once_and_not_at_each_start() -> (
    None
):
    ledger, quota, free = MemoryLedger(), Quota(3, timedelta(seconds=WINDOW)), []
    for owner, clock in (("before", VirtualClock()), ("after", RebootedClock()), ("again", RebootedClock())):
        through = a_governor(clock, ledger, owner).gate(a_tenant(quota=quota).client_quota)
        free.append(through.free)
        permits = [await through.acquire() for _ in range(3 if owner == "before" else 1)]
        for permit in permits:
            assert await permit.put_on_record(5.0)
            permit.cool()
        await anyio.sleep(2 * WINDOW)
    assert free == [3, 0, 3]


@pytest.mark.parametrize("shared", [True, False], ids=["the platform's", "the client id's"])
@pytest.mark.parametrize("order", [("fast", "slow"), ("slow", "fast"), ("fast", "raised")])
async def test_another_machine_s_request_may_take_the_longest_time_out_of_those_who_share_a_quota(
    order: tuple[str, str], shared: bool
) -> None:
    one, plenty = Quota(1, timedelta(seconds=10)), Quota(100, timedelta(seconds=10))
    platform = Platform("mixo", "http://mixo", one if shared else None)

    def sharing(name: str) -> Tenant:
        timeout = timedelta(seconds=2 if name == "fast" else 60)
        id_ = "fast" if name == "raised" else name
        client_id = id_ if shared else "acme"
        return a_tenant(
            id=id_, client_id=client_id, platform=platform, quota=plenty if shared else one, timeout=timeout
        )

    ledger, there, here = MemoryLedger(), VirtualClock(), VirtualClock()
    there.reboot()  # as if it were another machine
    permit = await a_governor(there, ledger, "there").gate(sharing("slow").client_quota).acquire()
    assert await permit.put_on_record(60)
    governor, start = a_governor(here, ledger, "here"), anyio.current_time()
    for name in order:
        through = governor.gate(sharing(name).client_quota)
    permit = await through.acquire()
    assert await permit.put_on_record(2)
    assert anyio.current_time() - start == pytest.approx(5 + 60 + cools_for(one))


async def test_what_is_known_of_another_process_s_permits_takes_room_once() -> None:
    ledger, quota = MemoryLedger(), Quota(100, timedelta(days=1))
    gates = [
        a_governor(VirtualClock(), ledger, name).gate(a_tenant(quota=quota).client_quota) for name in ("one", "other")
    ]
    for _ in range(40):
        for through in gates:
            permit = await through.acquire()
            while not await permit.put_on_record(5.0):
                permit = await through.acquire(again=True)
            permit.cool()
    assert all(len(through.limiter.buckets[0]._order) <= 200 for through in gates)


async def test_a_permit_that_could_not_be_put_on_record_is_given_back() -> None:
    class Broken(MemoryLedger):
        async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
            raise StoreError(f"the disk is full, no room for {len(claims)}")

    through = a_gate(Quota(1, timedelta(seconds=WINDOW)), VirtualClock(), Broken())
    for _ in range(3):
        permit = through.acquire_nowait()
        assert permit is not None
        with pytest.raises(StoreError):
            await permit.put_on_record(10.0)


async def test_a_record_that_took_too_long_to_write_is_written_again_before_the_request_leaves() -> None:
    class Slow(MemoryLedger):
        async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
            await anyio.sleep(0.1 if self.records else 30.0)
            return await super().claim_permits(claims)

    ledger = Slow()
    permit = a_gate(Quota(1, timedelta(seconds=WINDOW)), VirtualClock(), ledger).acquire_nowait()
    assert permit is not None
    assert await permit.put_on_record(10.0)
    (record,) = ledger.records.values()
    assert record.free_at > anyio.current_time() + 10.0 + COOLS_FOR


async def test_tenants_of_one_client_id_share_its_gate_and_others_do_not() -> None:
    governor = a_governor(VirtualClock())
    one, same, other = a_tenant(id="a"), a_tenant(id="b"), a_tenant(id="c", client_id="other")
    assert governor.gate(one.client_quota) is governor.gate(same.client_quota)
    assert governor.gate(one.client_quota) is not governor.gate(other.client_quota)


async def test_listings_go_before_pushes_and_replays_last_and_each_in_its_order() -> None:
    through, served = gate(1), []
    permit = await through.acquire()

    async def wait(priority: Priority, number: int) -> None:
        granted = await through.acquire(priority)
        served.append((priority, number))
        granted.refund()

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            for priority in (Priority.REPLAY, Priority.PUSH, Priority.LISTING):
                tasks.start_soon(wait, priority, number)
        await anyio.sleep(1)
        permit.refund()
    assert served == [(priority, number) for priority in Priority for number in range(3)]


class Processes:
    """Several processes with one client id, and one ledger: each may be killed at any instant, or frozen."""

    def __init__(self, seed: int, quota: Quota, platform_quota: Quota | None = None) -> None:
        self.server = Server(seed)
        self.ledger = MemoryLedger()
        self.tenant = a_tenant(quota=quota, platform=Platform("mixo", "http://mixo", platform_quota))

    async def live(self, name: str, begins_s: float, lasts_s: float, requests: int, *, elsewhere: bool = False) -> None:
        await anyio.sleep(begins_s)
        clock = RebootedClock() if elsewhere else VirtualClock()  # another machine's looks like another boot's
        through = a_governor(clock, self.ledger, name).gate(self.tenant.client_quota)
        with anyio.move_on_after(lasts_s):
            async with anyio.create_task_group() as tasks:
                for _ in range(requests):
                    tasks.start_soon(self.server.recorded_request, through)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    permits=st.integers(1, 6),
    platform_permits=st.none() | st.integers(1, 4),
    lives=st.lists(
        st.tuples(st.floats(0, 200), st.floats(0, 400), st.integers(1, 30), st.booleans()), min_size=2, max_size=6
    ),
)
async def test_several_processes_that_are_killed_anywhere_never_send_more_than_the_quota_together(
    seed: int, permits: int, platform_permits: int | None, lives: list[tuple[float, float, int, bool]]
) -> None:
    window = timedelta(seconds=WINDOW)
    shared = None if platform_permits is None else Quota(platform_permits, window)
    processes = Processes(seed, Quota(permits, window), shared)
    async with anyio.create_task_group() as tasks:
        for number, (begins_s, lasts_s, requests, elsewhere) in enumerate(lives):
            live = partial(processes.live, f"process {number}", begins_s, lasts_s, requests, elsewhere=elsewhere)
            tasks.start_soon(live)
    await processes.live("the last", 0.0, 1e9, 5)
    assert processes.server.most_in_a_window() <= min(permits, platform_permits or permits)
    assert len(processes.server.counted) >= 5


async def test_what_was_killed_on_another_machine_may_have_been_counted_as_late_as_a_request_may_take() -> None:
    processes = Processes(1, Quota(1, timedelta(seconds=WINDOW)))
    asked_at = anyio.current_time()
    through = a_governor(RebootedClock(), processes.ledger, "elsewhere").gate(processes.tenant.client_quota)
    assert await (await through.acquire()).put_on_record(9.0)  # counted after 9 s, and killed before the answer
    await a_governor(VirtualClock(), processes.ledger, "here").gate(processes.tenant.client_quota).acquire()
    assert anyio.current_time() - asked_at >= 9.0 + WINDOW


async def test_a_line_in_front_of_permits_that_another_process_has_comes_to_its_turn() -> None:
    ledger, quota, served = MemoryLedger(), Quota(3, timedelta(seconds=WINDOW)), 0
    one, other = (
        a_governor(VirtualClock(), ledger, name).gate(a_tenant(quota=quota).client_quota) for name in ("one", "other")
    )
    for _ in range(2):
        assert await (await one.acquire()).put_on_record(5.0)  # and never answered

    async def request() -> None:
        nonlocal served
        permit = await other.acquire()
        while not await permit.put_on_record(5.0):
            await anyio.sleep(0.01)  # as the store takes its time
            permit = await other.acquire(again=True)
        permit.cool()
        served += 1

    with anyio.move_on_after(3 * WINDOW):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(request)
    assert served == 5


async def test_two_processes_that_both_have_work_both_get_on_and_use_all_of_the_quota() -> None:
    processes, counts = Processes(1, Quota(10, timedelta(seconds=WINDOW))), Counter[str]()

    async def work(name: str) -> None:
        through = a_governor(VirtualClock(), processes.ledger, name).gate(processes.tenant.client_quota)

        async def request() -> None:
            permit = await through.acquire()
            while not await permit.put_on_record(5.0):
                permit = await through.acquire(again=True)
            await anyio.sleep(0.1)
            permit.cool()
            counts[name] += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(request)

    with anyio.move_on_after(20 * WINDOW):
        async with anyio.create_task_group() as tasks:
            for name in ("one", "two"):
                tasks.start_soon(work, name)
    assert sum(counts.values()) >= 190
    assert min(counts.values()) >= 40


def member(id_: str, permits: int, platform_permits: int, weight: int = 1) -> Any:  # noqa: ANN401 - a tenant
    window = timedelta(seconds=WINDOW)
    platform = Platform("mixo", "http://mixo", Quota(platform_permits, window))
    return a_tenant(id=id_, client_id=id_, quota=Quota(permits, window), platform=platform, weight=weight)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    platform_permits=st.integers(1, 12),
    quotas=st.lists(st.integers(1, 8), min_size=1, max_size=6),
)
async def test_no_tenant_s_permit_is_spent_without_the_platform_s_nor_the_reverse(
    seed: int, platform_permits: int, quotas: list[int]
) -> None:
    governor, random = a_governor(VirtualClock()), Random(seed)
    each = [Server(seed + number) for number in range(len(quotas))]
    gates = [
        governor.gate(member(f"t{number}", permits, platform_permits).client_quota)
        for number, permits in enumerate(quotas)
    ]

    async def request(number: int) -> None:
        await anyio.sleep(random.uniform(0, 100))
        with anyio.move_on_after(random.uniform(0, 300)):
            await each[number].request(gates[number])

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
    assert [through.free for through in gates] == quotas  # whatever was cancelled, timed out or never left
    pools = {id(through.pool): through.pool for through in gates}
    for pool in pools.values():
        assert pool is not None
        assert pool.limiter.free(anyio.current_time()) == platform_permits


@settings(max_examples=40)
@given(weights=st.lists(st.integers(1, 4), min_size=2, max_size=6), platform_permits=st.integers(1, 12))
async def test_tenants_that_could_go_get_grants_by_their_weights_within_one_turn(
    weights: list[int], platform_permits: int
) -> None:
    governor = a_governor(VirtualClock())
    names = [f"t{number}" for number in range(len(weights))]
    counts = Counter[str]()

    async def backlog(name: str, weight: int) -> None:
        through = governor.gate(member(name, 1000, platform_permits, weight).client_quota)

        async def request() -> None:
            permit = await through.acquire()
            counts[name] += 1
            permit.cool()

        async with anyio.create_task_group() as tasks:
            for _ in range(400):
                tasks.start_soon(request)

    with anyio.move_on_after(20 * WINDOW):
        async with anyio.create_task_group() as tasks:
            for name, weight in zip(names, weights, strict=True):
                tasks.start_soon(backlog, name, weight)
    turns = [counts[name] / weight for name, weight in zip(names, weights, strict=True)]
    assert max(turns) - min(turns) <= 1.001 + platform_permits / min(
        weights
    )  # the first came when nobody else waited yet
    assert sum(counts.values()) >= 19 * platform_permits


async def test_a_light_tenant_hardly_waits_for_heavy_ones_and_nothing_is_left_unused_for_its_sake() -> None:
    governor, waits = a_governor(VirtualClock()), []
    heavy = [governor.gate(member(f"heavy{number}", 1000, 20).client_quota) for number in range(3)]
    light = governor.gate(member("light", 1000, 20).client_quota)
    granted = 0

    async def request(through: Gate) -> None:
        nonlocal granted
        permit = await through.acquire()
        granted += 1
        permit.cool()

    with anyio.move_on_after(10 * WINDOW):
        async with anyio.create_task_group() as tasks:
            for through in heavy:
                for _ in range(500):
                    tasks.start_soon(request, through)
            for _ in range(5):
                await anyio.sleep(WINDOW)
                asked_at = anyio.current_time()
                await request(light)
                waits.append(anyio.current_time() - asked_at)
    assert max(waits) <= COOLS_FOR
    assert granted >= 9 * 20


async def test_a_tenant_whose_own_quota_is_used_up_takes_no_turn_of_the_others() -> None:
    governor = a_governor(VirtualClock())
    blocked, free = (
        governor.gate(member("blocked", 1, 5).client_quota),
        governor.gate(member("free", 100, 5).client_quota),
    )
    start = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        await blocked.acquire()
        for _ in range(50):
            tasks.start_soon(blocked.acquire)
        for _ in range(4):
            await free.acquire()
        assert anyio.current_time() == start
        tasks.cancel_scope.cancel()


async def test_who_waits_for_the_platform_s_quota_is_told_so() -> None:
    governor, told = a_governor(VirtualClock()), []
    one, other = governor.gate(member("one", 5, 1).client_quota), governor.gate(member("other", 5, 1).client_quota)
    (await one.acquire()).cool()
    await other.acquire(Priority.PUSH, lambda *what: told.append(what))
    assert told == [(WaitReason.PLATFORM_QUOTA, pytest.approx(anyio.current_time()))]


async def test_a_platform_s_quota_that_is_new_counts_what_its_tenants_sent_before() -> None:
    governor, start = a_governor(VirtualClock()), anyio.current_time()
    tenant = a_tenant(quota=Quota(5, timedelta(seconds=WINDOW)))
    permit = await governor.gate(tenant.client_quota).acquire()
    assert await permit.put_on_record(5.0)
    permit.cool()
    limited = replace(tenant, platform=replace(tenant.platform, quota=Quota(1, timedelta(seconds=WINDOW))))
    await governor.gate(limited.client_quota).acquire()
    assert anyio.current_time() - start == pytest.approx(COOLS_FOR)


async def test_a_platform_s_quota_that_is_new_counts_what_is_on_its_way_too() -> None:
    governor, start = a_governor(VirtualClock()), anyio.current_time()
    tenant = a_tenant(quota=Quota(5, timedelta(seconds=WINDOW)))
    on_its_way = await governor.gate(tenant.client_quota).acquire()
    limited = replace(tenant, platform=replace(tenant.platform, quota=Quota(1, timedelta(seconds=WINDOW))))
    through = governor.gate(limited.client_quota)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(through.acquire)
        await anyio.sleep(7)
        on_its_way.cool()
    assert anyio.current_time() - start == pytest.approx(7 + COOLS_FOR)


async def test_a_platform_s_quota_that_is_new_at_a_restart_counts_what_its_tenants_sent_before() -> None:
    ledger, start = MemoryLedger(), anyio.current_time()
    tenant = a_tenant(quota=Quota(5, timedelta(seconds=WINDOW)))
    permit = await a_governor(VirtualClock(), ledger, "before").gate(tenant.client_quota).acquire()
    assert await permit.put_on_record(5.0)
    permit.cool()
    limited = replace(tenant, platform=replace(tenant.platform, quota=Quota(1, timedelta(seconds=WINDOW))))
    await a_governor(VirtualClock(), ledger, "after").gate(limited.client_quota).acquire()
    assert anyio.current_time() - start == pytest.approx(COOLS_FOR)


@pytest.mark.parametrize("quota", [Quota(10, timedelta(seconds=WINDOW)), None])
async def test_who_waits_for_a_platform_s_quota_goes_at_once_when_it_grows_or_ends(quota: Quota | None) -> None:
    governor, tenant = a_governor(VirtualClock()), member("one", 50, 1)
    through, start = governor.gate(tenant.client_quota), anyio.current_time()
    (await through.acquire()).cool()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(through.acquire)
        await anyio.sleep(1)
        governor.gate(replace(tenant, platform=replace(tenant.platform, quota=quota)).client_quota)
    assert anyio.current_time() - start == pytest.approx(1)


async def test_a_platform_s_quota_may_be_spaced_too() -> None:
    platform = Platform("mixo", "http://mixo", Quota(11, timedelta(seconds=WINDOW), shape=Shape.PACED))
    governor, granted = a_governor(VirtualClock()), list[float]()
    for name in ("one", "other"):
        through = governor.gate(replace(member(name, 50, 1), platform=platform).client_quota)
        (await through.acquire()).cool()
        granted.append(anyio.current_time())
    assert granted[1] - granted[0] >= WINDOW / 10


@settings(max_examples=40)
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


async def refusals(
    algorithm: Algorithm,
    windows: int,
    ledger: MemoryLedger,
    foreign: Callable[[int], int] = lambda _: 0,
    *,
    states_waits: bool = True,
    **quota: Any,  # noqa: ANN401
) -> list[int]:
    """Keep a gate busy before a server that counts in this way; return how many it refused in each window.

    Somebody else sends `foreign` requests in each window. `states_waits`: a refusal has a Retry-After.
    """
    through = a_governor(VirtualClock(), ledger).gate(
        a_tenant(quota=Quota(10, timedelta(seconds=WINDOW), **quota)).client_quota
    )
    counter, start, refused = meter(algorithm, meters.MeteredQuota(10, WINDOW)), anyio.current_time(), Counter[int]()

    async def work() -> None:
        while True:
            permit = await through.acquire()
            await anyio.sleep(0.05)
            accepted = meters.take([counter], anyio.current_time() - start)
            await anyio.sleep(0.05)
            permit.cool()
            through.heed([], refused=not accepted)
            if not accepted:
                refused[int((anyio.current_time() - start) / WINDOW)] += 1
                through.close(counter.read().reset_s if states_waits else 2.0)

    async def use_the_same_client_id() -> None:
        for window in range(windows):
            for _ in range(foreign(window)):
                await anyio.sleep(WINDOW / foreign(window))
                meters.take([counter], anyio.current_time() - start)
            await anyio.sleep(max(0.0, start + (window + 1) * WINDOW - anyio.current_time()))

    with anyio.move_on_after(windows * WINDOW):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use_the_same_client_id)
            for _ in range(5):
                tasks.start_soon(work)
    return [refused[number] for number in range(windows)]


@pytest.mark.parametrize("algorithm", [Algorithm.SLIDING_LOG, Algorithm.FIXED_WINDOW, Algorithm.TOKEN_BUCKET])
async def test_where_bursts_are_taken_they_stay(algorithm: Algorithm) -> None:
    ledger = MemoryLedger()
    assert await refusals(algorithm, 20, ledger) == [0] * 20
    assert ledger.shapes == []


async def test_a_platform_that_keeps_refusing_bursts_gets_spaced_requests_and_that_is_remembered() -> None:
    ledger = MemoryLedger()
    found = await refusals(Algorithm.WINDOW_COUNTER, 20, ledger)
    assert sum(found[:5]) > 0
    assert found[8:] == [0] * 12
    assert [(shape.shape, shape.strict) for shape in ledger.shapes] == [(Shape.PACED, False)]
    assert await refusals(Algorithm.WINDOW_COUNTER, 10, ledger) == [0] * 10


FOREIGN: dict[str, Callable[[int], int]] = {
    "all the time": lambda _: 4,
    "at first": lambda window: 6 if window < 8 else 0,
    "now and then": lambda window: 6 if window % 8 < 4 else 0,
}


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("states_waits", [True, False], ids=["Retry-After", "no Retry-After"])
@pytest.mark.parametrize("algorithm", [Algorithm.SLIDING_LOG, Algorithm.FIXED_WINDOW, Algorithm.TOKEN_BUCKET])
async def test_refusals_that_somebody_else_causes_teach_no_spacing_that_stays(
    algorithm: Algorithm, states_waits: bool, foreign: Callable[[int], int]
) -> None:
    ledger = MemoryLedger()
    found = await refusals(algorithm, 100, ledger, foreign, states_waits=states_waits)
    assert algorithm is Algorithm.SLIDING_LOG or sum(found) > 0
    assert all(shape.shape is Shape.BURST for shape in ledger.shapes[-1:])


async def test_a_platform_that_takes_spaced_requests_alone_gets_them_for_good() -> None:
    ledger = MemoryLedger()
    found = await refusals(Algorithm.WINDOW_COUNTER, 300, ledger)
    assert [shape.shape for shape in ledger.shapes] == [Shape.PACED]
    assert sum(1 for refused in found[8:] if refused) <= 8  # bursts are tried again more and more rarely


@pytest.mark.parametrize("foreign", [0, 6])
async def test_spacing_that_was_learned_from_a_falsehood_before_a_restart_is_let_go_and_forgotten(foreign: int) -> None:
    ledger, quota = MemoryLedger(), "10/60s"
    ledger.note_shape(ShapeRecord("mixo", "acme", quota, Shape.PACED, strict=False, since=START))
    await refusals(Algorithm.TOKEN_BUCKET, 40, ledger, lambda _: foreign)
    assert ledger.shapes[-1].shape is Shape.BURST


async def test_spacing_that_is_asked_for_is_there_from_the_first_request_on() -> None:
    assert await refusals(Algorithm.WINDOW_COUNTER, 20, MemoryLedger(), shape=Shape.PACED) == [0] * 20


@pytest.mark.parametrize("reboots", [False, True])
async def test_several_processes_and_those_after_a_restart_keep_the_spacing_together(reboots: bool) -> None:
    quota = Quota(10, timedelta(seconds=WINDOW), shape=Shape.PACED)
    ledger, granted = MemoryLedger(), list[float]()

    async def live(name: str, clock: VirtualClock) -> None:
        through = a_governor(clock, ledger, name).gate(a_tenant(quota=quota).client_quota)
        while True:
            permit = await through.acquire()
            while not await permit.put_on_record(5.0):
                permit = await through.acquire(again=True)
            granted.append(anyio.current_time())
            permit.cool()

    for number in range(5):
        with anyio.move_on_after(100 + 3 * number):
            async with anyio.create_task_group() as tasks:
                for name in ("one", "two"):
                    clock = RebootedClock() if reboots and number == 4 else VirtualClock()
                    tasks.start_soon(live, f"{name} {number}", clock)
    assert min(later - sooner for sooner, later in pairwise(granted)) >= WINDOW / 9
    assert len(granted) >= 60


async def test_bursts_that_are_asked_for_stay_though_they_are_refused() -> None:
    ledger = MemoryLedger()
    assert sum(await refusals(Algorithm.WINDOW_COUNTER, 20, ledger, shape=Shape.BURST)) > 5
    assert ledger.shapes == []


async def test_an_arrival_bound_lets_permits_cool_from_when_the_request_was_counted_until_a_refusal() -> None:
    ledger, clock = MemoryLedger(), VirtualClock()
    quota = Quota(1, timedelta(seconds=WINDOW), arrival_bound=timedelta(seconds=0.5))
    for refused, counted_after_s in [(False, 0.6), (True, 2.0), (False, 2.0)]:
        through = a_governor(clock, ledger).gate(a_tenant(quota=quota).client_quota)
        start = anyio.current_time()
        permit = await through.acquire()
        await anyio.sleep(2.0)
        through.heed([], refused=refused)
        permit.cool(written_at=start + 0.1)
        await through.acquire()
        assert anyio.current_time() - start == pytest.approx(counted_after_s + COOLS_FOR)
    assert [shape.strict for shape in ledger.shapes] == [True]


async def test_how_long_more_requests_will_take_is_foreseen() -> None:
    governor = a_governor(VirtualClock())
    through = governor.gate(member("one", 10, 5).client_quota)
    assert through.forecast_s(0) == 0
    assert through.forecast_s(5) == 0
    assert through.forecast_s(11) == pytest.approx(2 * COOLS_FOR)
    assert gate(10).forecast_s(11) == pytest.approx(COOLS_FOR)


async def test_what_is_foreseen_counts_those_who_wait_for_the_platform_s_quota_too() -> None:
    governor = a_governor(VirtualClock())
    light, heavy = (
        governor.gate(member("light", 1000, 10).client_quota),
        governor.gate(member("heavy", 1000, 10, weight=4).client_quota),
    )
    async with anyio.create_task_group() as tasks:
        for through in (light, heavy):
            for _ in range(20):
                tasks.start_soon(through.acquire)
        await anyio.sleep(1)
        for through, windows in ((light, 5), (heavy, 2)):
            assert through.forecast_s(10) == pytest.approx(windows * COOLS_FOR, abs=2)
        tasks.cancel_scope.cancel()


async def test_refusals_are_logged_when_they_begin_and_when_they_are_over() -> None:
    through = gate(10)
    with capture_logs() as logged:
        for refused in (False, True, True, False):
            through.heed([], refused=refused)
            await anyio.sleep(WINDOW)
        await anyio.sleep(3 * WINDOW)
        for _ in range(2):
            through.heed([], refused=False)
    assert [(entry["log_level"], entry["event"], entry["client_id"]) for entry in logged] == [
        ("warning", "refused within the quota", "acme"),
        ("info", "no longer refused", "acme"),
    ]
