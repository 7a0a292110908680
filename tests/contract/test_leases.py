"""Leases change hands one at a time, and who has lost his writes nothing more."""

from dataclasses import replace

import anyio
import pytest
from opentelemetry.trace import NoOpTracer

from adsyncd.errors import LeaseLost
from adsyncd.host.owner import ProcessOwner
from adsyncd.model.campaign import PushState
from adsyncd.model.lease import Lease
from adsyncd.model.tenant import PushPolicy
from adsyncd.runs.lease import Leases
from adsyncd.store import Store, open_store, tables
from support.records import NOON, HandClock, page, rows, run, settle

ALL = PushPolicy.ALL


async def test_a_lease_goes_to_who_asks_first_and_back_and_its_fence_grows(store: Store) -> None:
    first = await store.take_lease("acme", "A")
    assert first == Lease("acme", "A", 1, 0)
    assert await store.take_lease("acme", "B") == first
    assert await store.take_lease("globex", "B") == Lease("globex", "B", 1, 0)
    await store.give_lease(first)
    assert await store.take_lease("acme", "B") == Lease("acme", "B", 2, 0)
    assert await store.take_lease("acme", "B") == Lease("acme", "B", 3, 0)  # a write that seemed to have failed


async def test_of_a_thousand_who_ask_at_once_each_lease_has_one_holder(store: Store, url: str) -> None:
    async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as other:
        answers: list[Lease] = []

        async def take(of: Store, tenant: str, owner: str) -> None:
            answers.append(await of.take_lease(tenant, owner))

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                for index in range(10):
                    tasks.start_soon(take, store, f"t{number}", f"A{index}")
                    tasks.start_soon(take, other, f"t{49 - number}", f"B{index}")
    assert len(answers) == 1000
    assert len(set(answers)) == 50


@pytest.mark.parametrize("change", ["beat", "given and taken again", "taken over"])
async def test_a_lease_is_taken_over_from_exactly_what_was_seen(store: Store, change: str) -> None:
    seen = await store.take_lease("acme", "A")
    match change:
        case "beat":
            await store.beat_leases([seen])
        case "given and taken again":
            await store.give_lease(seen)
            await store.take_lease("acme", "A")
        case "taken over":
            await store.take_lease("acme", "C", over=seen)
    now = await store.take_lease("acme", "B", over=seen)
    assert now.owner == ("C" if change == "taken over" else "A")
    assert await store.take_lease("acme", "B", over=now) == replace(now, owner="B", fence=now.fence + 1)


async def test_who_has_lost_a_lease_neither_gives_it_back_nor_keeps_it_alive(store: Store) -> None:
    lost = await store.take_lease("acme", "A")
    taken = await store.take_lease("acme", "B", over=lost)
    kept = await store.take_lease("globex", "A")
    await store.beat_leases([lost, kept])
    await store.give_lease(lost)
    assert await store.take_lease("acme", "C") == taken
    assert await store.take_lease("globex", "C") == replace(kept, beat=1)


async def test_who_has_lost_a_lease_writes_nothing_more(store: Store) -> None:
    lost = await store.take_lease("acme", "A")
    held = store.held(lost)
    await held.begin(run())
    [push] = await held.keep_page(run(), page("c1"), ALL)
    await settle(held, run(), push, PushState.DEAD_LETTERED)
    [letter] = await store.dead_letters()
    taken = store.held(await store.take_lease("acme", "B", over=lost))
    for refused in (
        held.begin(run(number=1)),
        held.keep_page(run(), page("c2"), ALL),
        settle(held, run(), push, PushState.PUSHED),
        held.finish(replace(run(), ended_at=NOON)),
        held.settle_replay(letter, attempts=1, error=None, trace_id="f" * 32),
    ):
        with pytest.raises(LeaseLost, match="another process has taken over tenant acme"):
            await refused
    assert [each.run_id for each in await store.open_runs()] == [run().run_id]
    assert [row.campaign_id for row in await rows(store, tables.campaigns)] == ["c1"]
    assert await store.dead_letters() == [letter]
    await taken.finish(replace(run(), ended_at=NOON))


async def test_what_one_has_lost_holds_up_no_other_s_writes(store: Store) -> None:
    lost = await store.take_lease("t7", "A")
    held = {f"t{number}": await store.take_lease(f"t{number}", "A") for number in range(20)}
    await store.take_lease("t7", "B", over=held["t7"])
    refused: list[str] = []

    async def begin(tenant: str, lease: Lease) -> None:
        try:
            await store.held(lease).begin(run(tenant))
        except LeaseLost:
            refused.append(tenant)

    async with anyio.create_task_group() as tasks:
        for tenant, lease in {**held, "t7": lost}.items():
            tasks.start_soon(begin, tenant, lease)
    assert refused == ["t7"]
    assert {each.tenant for each in await store.open_runs()} == held.keys() - {"t7"}


async def test_a_process_that_stands_still_for_longer_than_the_time_to_live_finds_its_lease_lost(
    store: Store, url: str
) -> None:
    async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as other:
        still, moving = (
            Leases(store, ProcessOwner("still"), ttl_s=0.3),
            Leases(other, ProcessOwner("moving"), ttl_s=0.3),
        )
        async with still.hold("acme") as lost:  # without a task that gives signs of life
            await store.held(lost).begin(run())
            async with moving.hold("acme") as lease:
                await other.held(lease).begin(run())
                with pytest.raises(LeaseLost):
                    await store.held(lost).keep_page(run(), page("c1"), ALL)
                await other.held(lease).keep_page(run(), page("c2"), ALL)
        assert [row.campaign_id for row in await rows(store, tables.campaigns)] == ["c2"]


async def test_two_processes_that_take_and_write_each_other_s_tenants_don_t_wait_for_each_other(
    store: Store, url: str
) -> None:
    async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as other, anyio.create_task_group() as tasks:
        for number in range(20):
            for mine, theirs, owner in ((store, other, "A"), (other, store, "B")):
                lease = await mine.take_lease(f"{owner}{number}", owner)
                tasks.start_soon(whole_run_of, mine.held(lease), lease.tenant)
                for _ in range(5):
                    tasks.start_soon(theirs.take_lease, lease.tenant, "C")
    assert {each.outcome for each in await store.runs(None, 99)} == {None}
    assert await store.open_runs() == []


async def whole_run_of(store: Store, tenant: str) -> None:
    await store.begin(run(tenant))
    for push in await store.keep_page(run(tenant), page("c1", "c2", "c3"), ALL):
        await settle(store, run(tenant), push, PushState.PUSHED)
    await store.finish(replace(run(tenant), ended_at=NOON))
