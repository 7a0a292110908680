"""Permits on record, as other processes, restarts and reboots find them."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from random import Random

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.errors import StoreError
from adsyncd.rate.account import Account
from adsyncd.rate.bucket import cools_for
from adsyncd.rate.ledger import Claim, PermitRecord
from adsyncd.rate.quota import ClientQuota
from support.examples import examples
from support.gates import (
    COOLS_FOR,
    WINDOW,
    MemoryLedger,
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


async def test_what_a_quota_of_old_had_out_before_a_reboot_is_waited_for_once_and_not_at_each_start() -> None:
    ledger, waits, clock = MemoryLedger(), [], VirtualClock()
    for owner, quota in (("before", a_quota(5, 86_400)), ("after", a_quota(1)), ("again", a_quota(1))):
        asked_at = anyio.current_time()
        permit = await recorded(a_governor(clock, ledger, owner).gate(a_client(quota)))
        waits.append(anyio.current_time() - asked_at)
        permit.cool()
        await anyio.sleep(86_400)
        if owner == "before":
            clock.reboot()
    assert waits == [0, pytest.approx(COOLS_FOR + 5 + 10), 0]


async def test_permits_from_before_a_reboot_that_nobody_needed_since_are_waited_for_once_and_not_at_each_start() -> (
    None
):
    ledger, free, clock = MemoryLedger(), [], VirtualClock()
    for owner in ("before", "after", "again"):
        through = a_governor(clock, ledger, owner).gate(a_client(a_quota(3)))
        free.append(through.free)
        permits = [await recorded(through) for _ in range(3 if owner == "before" else 1)]
        for permit in permits:
            permit.cool()
        await anyio.sleep(2 * WINDOW)
        if owner == "before":
            clock.reboot()
    assert free == [3, 0, 3]


@pytest.mark.parametrize("shared", [True, False], ids=["the platform's", "the client id's"])
@pytest.mark.parametrize("order", [("fast", "slow"), ("slow", "fast"), ("fast", "raised")])
async def test_another_machine_s_request_may_take_the_longest_time_out_of_those_who_share_a_quota(
    order: tuple[str, str], shared: bool
) -> None:
    one, plenty = a_quota(1, 10), a_quota(100, 10)

    def sharing(name: str) -> ClientQuota:
        client_id = "acme" if not shared else "fast" if name == "raised" else name
        quotas = (plenty, one) if shared else (one, None)
        return a_client(*quotas, client_id=client_id, timeout_s=2 if name == "fast" else 60)

    ledger = MemoryLedger()
    await recorded(a_governor(rebooted(), ledger, "there").gate(sharing("slow")), 60)
    governor, start = a_governor(VirtualClock(), ledger, "here"), anyio.current_time()
    for name in order:
        through = governor.gate(sharing(name))
    await recorded(through, 2)
    assert anyio.current_time() - start == pytest.approx(5 + 60 + cools_for(one))


async def test_a_longer_time_out_keeps_what_is_in_flight_under_a_quota_that_has_changed() -> None:
    ledger = MemoryLedger()
    permit = await recorded(a_governor(VirtualClock(), ledger, "before").gate(a_client(a_quota(4, 600))))
    permit.cool()
    governor, start = a_governor(VirtualClock(), ledger, "after"), anyio.current_time()
    governor.gate(a_client(a_quota(4)))
    governor.gate(a_client(a_quota(1, 30)))
    await governor.gate(a_client(a_quota(1, 30), timeout_s=60)).acquire()
    assert anyio.current_time() - start == pytest.approx(cools_for(a_quota(1, 30)))


async def test_what_is_known_of_another_process_s_permits_takes_room_once() -> None:
    ledger = MemoryLedger()
    gates = [a_governor(VirtualClock(), ledger, name).gate(a_client(a_quota(100, 86_400))) for name in ("one", "other")]
    for _ in range(40):
        for through in gates:
            (await recorded(through)).cool()
    assert all(len(through.limiter.buckets[0]._order) <= 200 for through in gates)


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "with a platform's quota"])
async def test_a_collision_with_another_process_holds_nothing_of_one_s_own_back(shared: bool) -> None:
    """The ledger answers with all records of the client id and of the platform, those of the asking process too."""
    ledger, start = MemoryLedger(), anyio.current_time()
    here, there = (
        a_governor(VirtualClock(), ledger, owner).gate(a_client(a_quota(3), a_quota(5) if shared else None))
        for owner in ("here", "there")
    )
    mine = await recorded(here)
    await recorded(there)
    collides = await here.acquire()
    assert not await collides.put_on_record(5.0)
    assert here.free == 1
    assert not here.pool or here.pool.limiter.free(anyio.current_time()) == 3
    mine.cool()
    await anyio.sleep(COOLS_FOR)
    assert here.free == 2
    assert anyio.current_time() == pytest.approx(start + 0.01 + COOLS_FOR)


async def test_a_platform_s_quota_that_is_new_leaves_the_records_of_its_client_ids_where_they_are() -> None:
    ledger, clock = MemoryLedger(), VirtualClock()
    for _ in range(2):
        (await recorded(a_governor(clock, ledger, "before").gate(a_client(a_quota(3))))).cool()
    before = set(ledger.records)
    clock.reboot()
    through = a_governor(clock, ledger, "after").gate(a_client(a_quota(3), a_quota(9)))
    await anyio.sleep(2 * WINDOW)
    (await recorded(through)).cool()
    assert before <= set(ledger.records)


@examples(60)
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
    shared = None if platform_permits is None else a_quota(platform_permits)
    processes = Processes(seed, a_quota(permits), shared)
    await processes.live_together(lives)
    await processes.live("the last", 0.0, 1e9, 5)
    assert processes.server.most_in_a_window() <= min(permits, platform_permits or permits)
    assert len(processes.server.counted) >= 5


async def test_what_was_killed_on_another_machine_may_have_been_counted_as_late_as_a_request_may_take() -> None:
    processes, asked_at = Processes(1, a_quota(1)), anyio.current_time()
    through = a_governor(rebooted(), processes.ledger, "elsewhere").gate(processes.client)
    await recorded(through, 9.0)  # counted after 9 s, and killed before the answer
    await a_governor(VirtualClock(), processes.ledger, "here").gate(processes.client).acquire()
    assert anyio.current_time() - asked_at == pytest.approx(5 + 10 + COOLS_FOR)


async def test_a_line_in_front_of_permits_that_another_process_has_comes_to_its_turn() -> None:
    ledger, served = MemoryLedger(), 0
    one, other = (a_governor(VirtualClock(), ledger, name).gate(a_client(a_quota(3))) for name in ("one", "other"))
    for _ in range(2):
        await recorded(one)  # and never answered

    async def request() -> None:
        nonlocal served
        (await recorded(other)).cool()
        served += 1

    with anyio.move_on_after(3 * WINDOW):
        await at_once(5, request)
    assert served == 5


async def test_two_processes_that_both_have_work_both_get_on_and_use_all_of_the_quota() -> None:
    ledger, counts = MemoryLedger(), Counter[str]()

    async def work(name: str) -> None:
        through = a_governor(VirtualClock(), ledger, name).gate(a_client(a_quota(10)))

        async def request() -> None:
            permit = await recorded(through)
            await anyio.sleep(0.1)
            permit.cool()
            counts[name] += 1

        await at_once(200, request)

    with anyio.move_on_after(20 * WINDOW):
        async with anyio.create_task_group() as tasks:
            for name in ("one", "two"):
                tasks.start_soon(work, name)
    assert sum(counts.values()) >= 190
    assert min(counts.values()) >= 40


class SlowLedger(MemoryLedger):
    """A ledger whose claims take a few milliseconds, and which counts reads."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.random = Random(seed)
        self.reads = 0

    async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        await anyio.sleep(self.random.uniform(0.001, 0.004))
        return await super().claim_permits(claims)

    async def read_permits(self, platform: str, client_id: str) -> Sequence[PermitRecord]:
        self.reads += 1
        await anyio.sleep(0.001)
        return await super().read_permits(platform, client_id)


@pytest.mark.parametrize("shared", [False, True], ids=["their own quota", "the platform's"])
@pytest.mark.parametrize("workers", [1, 5, 20])
@pytest.mark.parametrize("seed", range(4))
async def test_two_processes_together_take_hardly_longer_than_one(seed: int, workers: int, shared: bool) -> None:
    """Forty requests with a quota of 10 per 2 s take three windows, whichever process sends which of them."""
    ledger, quota = SlowLedger(seed), a_quota(10, 2)
    counted, ends, random = list[float](), list[float](), Random(seed)

    async def process(name: str) -> None:
        await anyio.sleep(random.uniform(0, 0.1))
        client = a_client(a_quota(100, 2), quota, client_id=name) if shared else a_client(quota)
        through, left = a_governor(VirtualClock(), ledger, name).gate(client), 20

        async def work() -> None:
            nonlocal left
            while left:
                left -= 1
                permit = await recorded(through)
                await anyio.sleep(random.uniform(0.01, 0.03))
                counted.append(anyio.current_time())
                permit.cool()

        await at_once(workers, work)
        ends.append(anyio.current_time())

    async with anyio.create_task_group() as tasks:
        for name in ("one", "two"):
            tasks.start_soon(process, name)
    assert max(ends) <= 1.1 * 6.0
    assert all(sum(at - 2 < other <= at for other in counted) <= 10 for at in counted)


@pytest.mark.parametrize("shared", [False, True], ids=["its own quota", "the platform's"])
async def test_what_another_process_gave_back_unsent_is_granted_soon_though_its_record_said_otherwise(
    shared: bool,
) -> None:
    ledger, one, plenty = MemoryLedger(), a_quota(1), a_quota(100)
    here, there = (
        a_governor(VirtualClock(), ledger, name).gate(a_client(plenty, one) if shared else a_client(one))
        for name in ("here", "there")
    )
    elsewhere, granted_at = await recorded(there), list[float]()

    async def request() -> None:
        await recorded(here)
        granted_at.append(anyio.current_time())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(request)
        await anyio.sleep(0.5)
        elsewhere.refund()
    assert granted_at == [pytest.approx(1.0, abs=0.05)]


async def test_the_records_are_read_a_few_times_in_a_window_however_many_gates_wait_for_them() -> None:
    ledger, shared = SlowLedger(), a_quota(2)
    elsewhere = a_governor(VirtualClock(), ledger, "there").gate(a_client(a_quota(100), shared))
    (await recorded(elsewhere, 10.0)).cool()
    await recorded(elsewhere, 10.0)  # and never answered
    governor = a_governor(VirtualClock(), ledger, "here")
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            through = governor.gate(a_client(a_quota(100), shared, client_id=f"client {number}"))
            tasks.start_soon(recorded, through)
        await anyio.sleep(COOLS_FOR - 1)
        assert 1 <= ledger.reads <= 6
        tasks.cancel_scope.cancel()


async def test_a_record_that_was_read_before_its_permit_was_taken_here_frees_nothing() -> None:
    clock = VirtualClock()
    old = PermitRecord("mixo", "acme", int(WINDOW * 1000), 0, clock.since_boot() + 1, clock.boot_id, "there")
    through = a_gate(a_quota(1), clock, records=[old])
    (await recorded(through)).cool()
    await anyio.sleep(1)
    through.account.learn([old])
    assert through.free == 0
    await anyio.sleep(COOLS_FOR - 1)
    assert through.free == 1


async def test_a_store_that_cannot_be_read_fails_the_request_that_waits_for_what_is_in_it() -> None:
    class Unreadable(MemoryLedger):
        async def read_permits(self, platform: str, client_id: str) -> Sequence[PermitRecord]:
            raise StoreError(f"no records of {platform} {client_id}")

    ledger = Unreadable()
    here, there = (a_governor(VirtualClock(), ledger, name).gate(a_client(a_quota(1))) for name in ("here", "there"))
    await recorded(there)
    with pytest.raises(StoreError):
        await recorded(here)
    assert here.waiting == 0


def an_account(platform: str, client_id: str, clock: VirtualClock, *, of: tuple[str, str], boot_id: str) -> Account:
    """Return the account of a quota of two, beside a permit that another process has out for `of`."""
    record = PermitRecord(*of, int(WINDOW * 1000), 0, clock.since_boot() + WINDOW, boot_id, "there")
    return Account(platform, client_id, a_quota(2), [record], clock, "here", timedelta(seconds=2))


@pytest.mark.parametrize(
    ("client_id", "of", "free"),
    [
        ("acme", ("mixo", "acme"), 1),
        ("acme", ("mixo", "other"), 2),
        ("acme", ("mixo", ""), 2),
        ("acme", ("other", "acme"), 2),
        ("", ("mixo", ""), 1),
        ("", ("mixo", "acme"), 2),
    ],
)
async def test_a_record_counts_in_the_quota_that_it_was_made_for_alone(
    client_id: str, of: tuple[str, str], free: int
) -> None:
    clock = VirtualClock()
    account = an_account("mixo", client_id, clock, of=of, boot_id=clock.boot_id)
    assert account.limiter.free(clock.monotonic()) == free


async def test_a_longer_timeout_counts_for_the_records_of_another_machine_that_are_known_already() -> None:
    clock = VirtualClock()
    account = an_account("mixo", "acme", clock, of=("mixo", "acme"), boot_id="another")
    account.expect(timedelta(seconds=60))
    await anyio.sleep(5 + 60 + cools_for(a_quota(2)) - 1)
    assert account.limiter.free(clock.monotonic()) == 1
    await anyio.sleep(2)
    assert account.limiter.free(clock.monotonic()) == 2
