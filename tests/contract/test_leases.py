"""A lease has one holder at a time; a holder that lost it writes nothing more."""

import uuid
from contextlib import nullcontext
from dataclasses import replace

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.trace import NoOpTracer
from sqlalchemy.exc import OperationalError

from adsyncd.errors import LeaseLost
from adsyncd.host.owner import ProcessOwner
from adsyncd.model.campaign import PushState
from adsyncd.model.lease import Lease
from adsyncd.model.run import Outcome
from adsyncd.model.tenant import PushPolicy
from adsyncd.runs.lease import Leases
from adsyncd.store import Store, leases, open_store, sql, tables
from support.records import NOON, HandClock, page, rows, run, settle

ALL = PushPolicy.ALL


TENANTS, OWNERS = st.sampled_from(["acme", "globex"]), st.sampled_from(["A", "B"])
STEP = st.tuples(st.sampled_from(["take", "over", "give", "beat", "write"]), TENANTS, OWNERS, st.integers(0, 9))
CHANGED_HANDS = [("take", "A", 0), ("write", "A", 0), ("take", "A", 0), ("write", "A", 0), ("write", "A", 1)]
TAKEN_OVER = [("over", "B", 0), ("over", "B", 1), ("give", "A", 1), ("beat", "A", 1), ("write", "A", 1)]
BEATEN = [("beat", "A", 2), ("over", "B", 2), ("over", "B", 3)]
GIVEN = [("give", "B", 4), ("give", "B", 4), ("over", "A", 4), ("write", "B", 4), ("beat", "A", 6), ("over", "B", 6)]
STORY = [
    (what, tenant, owner, number)
    for what, owner, number in [*CHANGED_HANDS, *TAKEN_OVER, *BEATEN, *GIVEN]
    for tenant in ("globex", "acme")
]


@example(steps=STORY)
@settings(
    max_examples=15, suppress_health_check=[*settings().suppress_health_check, HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEP, max_size=20))
async def test_a_lease_and_the_writes_under_it_are_those_of_its_last_holder(
    store: Store, steps: list[tuple[str, str, str, int]]
) -> None:
    """`seen`: by tenant, each lease that anyone was told of, the last one as it is now; steps choose one by number."""
    space = uuid.uuid4().hex
    seen: dict[str, list[Lease]] = {}
    for what, name, owner, number in steps:
        tenant = f"{name}-{space}"
        told = seen.setdefault(tenant, [Lease(tenant, "", 0, 0)])
        now, chosen = told[-1], told[number % len(told)]
        holds = (chosen.owner, chosen.fence) == (now.owner, now.fence)
        match what:
            case "take" | "over":
                over = chosen if what == "over" else None
                if now.owner in {"", owner} or over == now:
                    told.append(Lease(tenant, owner, now.fence + 1, now.beat))
                assert await store.take_lease(tenant, owner, over) == told[-1]
            case "give" if chosen.owner:
                await store.give_lease(chosen)
                if holds:
                    told.append(replace(now, owner=""))
            case "beat" if chosen.owner:
                beaten = [(each, each[number % len(each)]) for each in seen.values() if each[number % len(each)].owner]
                await store.beat_leases([one for _, one in beaten])
                for each, one in beaten:
                    if (one.owner, one.fence) == (each[-1].owner, each[-1].fence):
                        each.append(replace(each[-1], beat=each[-1].beat + 1))
            case "write" if chosen.owner:
                with nullcontext() if holds else pytest.raises(LeaseLost, match=f"has taken over tenant {tenant}"):
                    await store.held(chosen).pause(tenant, NOON)
        kept = {row.tenant: Lease(**row._mapping) for row in await rows(store, tables.leases)}
        assert {tenant: kept.get(tenant, each[0]) for tenant, each in seen.items()} == {
            tenant: each[-1] for tenant, each in seen.items()
        }


async def test_no_lease_changes_hands_before_the_transaction_that_was_fenced_by_it_ends(store: Store, url: str) -> None:
    lease = await store.take_lease("acme", "A")
    impatient = f"{url}?timeout=0.1" if url.startswith("sqlite") else url
    engine = sql.engine(impatient, connections=2).execution_options(writes=True)

    def take_over() -> Lease:
        with engine.begin() as taking:
            if url.startswith("postgresql"):
                taking.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            return leases.take(taking, [leases.Take("acme", "B", lease)])[0]

    with engine.begin() as writing:
        leases.fence(writing, [lease])
        with pytest.raises(OperationalError, match="lock"):
            take_over()
    assert take_over() == replace(lease, owner="B", fence=2)
    engine.dispose()


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


async def test_what_other_processes_hold_is_known_and_that_they_were_at_work(store: Store) -> None:
    mine, theirs = f"mine-{uuid.uuid4().hex}", f"theirs-{uuid.uuid4().hex}"
    _, before = await store.leases_of_others(mine)
    await store.take_lease(mine, "me")
    lease = await store.take_lease(theirs, "they")
    held, total = await store.leases_of_others("me")
    assert [one for one in held if one.tenant in {mine, theirs}] == [lease]
    assert total == before + 2
    await store.give_lease(lease)
    held, total = await store.leases_of_others("me")
    assert (theirs in {one.tenant for one in held}, total) == (False, before + 2)
    await store.give_lease(await store.take_lease(theirs, "they"))
    assert (await store.leases_of_others("me"))[1] == before + 3
    fences = await store.fences()
    assert (fences[mine], fences[theirs], sum(fences.values())) == (1, 2, before + 3)


async def test_the_last_run_of_some_tenants_is_the_latest_that_ended(store: Store) -> None:
    acme, globex = f"acme-{uuid.uuid4().hex}", f"globex-{uuid.uuid4().hex}"
    for number in range(3):
        begun = run(acme, number)
        await store.begin(begun)
        if number < 2:
            await store.finish(replace(begun, ended_at=begun.started_at, outcome=Outcome.SUCCEEDED), misses=False)
    await store.begin(run(globex))
    found = await store.last_runs_of([acme, globex, "nobody"])
    assert {tenant: one.run_id for tenant, one in found.items()} == {acme: run(acme, 1).run_id}
    assert found[acme] == (await store.last_runs())[acme]
