from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import TypeVar

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adsyncd.errors import Rejected, Stopping, StoreError, Unavailable
from adsyncd.model.campaign import Page, Push, idempotency_key
from adsyncd.model.run import Outcome, Run
from adsyncd.store import Store, tables
from support.crashes import Life, World
from support.examples import examples
from support.inline_store import Disk, inline_store
from support.pipelines import Crash, Doomed, Source, counts, cut_off, deleted, fire_time, ids, reconciles, run
from support.records import rows
from support.tenants import a_tenant

Result = TypeVar("Result")

# Open runs


async def test_a_run_is_taken_up_where_it_was_cut_off_with_the_same_keys_and_knows_what_may_have_been_sent(
    store: Store,
) -> None:
    source = Source(ids(50), page_s=3)
    await cut_off(source, store, after_pages=2)
    assert (source.asked, len(source.pushed), source.effects.total()) == ([1, 2], 10, 5)  # five were on their way
    sent, pushed_again = {campaign_id for campaign_id, _ in source.pushed}, set(source.pushed_again)
    record = await run(source, store)
    assert counts(record) == (Outcome.SUCCEEDED, 50, 50, 0, 0, 0)
    assert source.asked == [1, 2, 3, 4, 5]
    assert len(source.pushed) == 55
    assert all(source.keys(each) == {idempotency_key("acme", each, record.run_id)} for each in ids(50))
    twice = {campaign_id for campaign_id, count in Counter(each for each, _ in source.pushed).items() if count > 1}
    assert pushed_again == set()
    assert twice <= source.pushed_again <= set(ids(20))
    assert len(sent & source.pushed_again) == 5  # they were on their way


async def test_a_complete_listing_is_not_asked_for_again(store: Store) -> None:
    source = Source()
    await cut_off(source, store, after_pages=2)
    asked = len(source.asked)
    assert (await run(source, store)).outcome is Outcome.SUCCEEDED
    assert len(source.asked) == asked


async def test_a_listing_whose_pages_became_others_while_it_was_cut_off_is_listed_from_its_start(store: Store) -> None:
    await cut_off(Source(ids(30), page_size=5, name="5 on a page"), store, after_pages=2)
    source = Source(ids(30), name="10 on a page")
    record = await run(source, store)
    assert counts(record) == (Outcome.SUCCEEDED, 30, 30, 0, 0, 0)
    assert (source.asked, record.listing, record.note) == ([1, 2, 3], None, None)
    assert await deleted(store) == set()


async def test_failures_before_and_after_a_cut_are_both_accounted_for(store: Store) -> None:
    source = Source(push_faults={"c000": Unavailable("503"), "c019": Rejected("422", 422)})
    await cut_off(source, store, after_pages=1, pushes=6)
    assert counts(await run(source, store)) == (Outcome.PARTIAL, 20, 18, 0, 1, 1)


async def test_a_stop_lets_what_is_on_its_way_come_back_and_leaves_the_run_open(store: Store) -> None:
    class Stopped(Source):
        stopped_at = anyio.current_time() + 3

        async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
            if anyio.current_time() >= self.stopped_at:
                raise Stopping("stopping: nothing is sent any more")
            return await super().push(campaign_id, key, again=again)

    source = Stopped(ids(40))
    record = await run(source, store)
    assert (record.outcome, record.ended_at) == (None, None)
    assert record.pushed == source.effects.total() == 10
    assert [found.run_id for found in await store.open_runs()] == [record.run_id]
    source.stopped_at += 3600
    assert counts(await run(source, store)) == (Outcome.SUCCEEDED, 40, 40, 0, 0, 0)
    assert max(source.effects.values()) == 1
    assert len(source.pushed) == 40


async def test_a_stop_of_the_listing_leaves_the_run_open(store: Store) -> None:
    source = Source(page_faults={2: Stopping("stopping")})
    with capture_logs() as logged:
        record = await run(source, store)
    told = [(entry["event"], entry["log_level"]) for entry in logged]
    assert told == [("run left open", "info")]  # a stop is no fault
    assert record.outcome is None
    assert record.pushed == source.effects.total() > 0
    source.page_faults = {}
    assert (await run(source, store)).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("gone_at", [0.5, 3.0, 5.0])
async def test_a_database_that_goes_away_leaves_the_run_open_until_it_is_back(
    store: Store, disk: Disk, gone_at: float
) -> None:
    source = Source(ids(30), page_s=1)
    records: list[Run] = []

    async def try_it() -> None:
        records.append(await run(source, store))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(try_it)
        await anyio.sleep(gone_at)
        disk.gone = True
    [record] = records
    assert record.outcome is None
    assert "the disk is gone" in str(record.error)
    disk.gone = False
    assert counts(await run(source, store)) == (Outcome.SUCCEEDED, 30, 30, 0, 0, 0)
    assert all(len(source.keys(each)) == 1 for each in ids(30))


async def test_an_end_that_can_t_be_recorded_leaves_the_run_open(store: Store) -> None:
    class Unfinished(Doomed):
        async def finish(self, run: Run, *, misses: bool) -> int:  # noqa: ARG002 - the journal's signature
            raise StoreError("the disk is full")

    source = Source()
    record = await run(source, Unfinished(store, {"keep_page": 99, "settle": 99}))
    assert (record.outcome, record.ended_at, record.pushed) == (None, None, 20)
    assert (await run(source, store)).outcome is Outcome.SUCCEEDED
    assert len(source.pushed) == 20


async def test_a_store_that_hangs_does_not_hold_a_run_for_ever(store: Store, disk: Disk) -> None:
    class Hanging(Source):
        async def page(self, number: int, cursor: str | None = None) -> Page:
            disk.takes_s = 10_000
            return await super().page(number, cursor)

    began = anyio.current_time()
    record = await run(Hanging(), store)
    assert record.outcome is None
    assert record.error == "the store took longer than 15 s"
    assert anyio.current_time() - began < 60


# Cancellation


async def test_outcomes_that_are_known_are_recorded_though_the_run_is_cancelled(store: Store, disk: Disk) -> None:
    source = Source(ids(10))
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, source, store)
            await anyio.sleep(1.9)
            disk.takes_s = 1
            await anyio.sleep(0.5)  # the first five are being recorded, the others are on their way
            scope.cancel()
    disk.takes_s = 0
    [left] = await store.open_runs()
    assert (left.listed, left.pushed) == (10, 5)
    await run(source, store)
    assert len(source.pushed) == 15


async def test_an_end_waits_for_the_outcomes_that_are_being_recorded_though_the_run_is_cancelled(
    store: Store, disk: Disk
) -> None:
    source = Source(ids(5))
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, source, store)
            await anyio.sleep(1.9)
            disk.takes_s = 1
            await anyio.sleep(0.5)  # all five are being recorded
            scope.cancel()
    [record] = await store.runs("acme", 9)
    assert counts(record) == (Outcome.SUCCEEDED, 5, 5, 0, 0, 0)


async def test_an_outcome_that_can_t_be_recorded_leaves_the_run_open_and_its_campaign_owed(store: Store) -> None:
    class Full(Doomed):
        def settle(self, run: Run, push: Push, recorded: Callable[[StoreError | None], None]) -> None:
            if push.campaign_id == "c012":
                recorded(StoreError("the disk is full"))
            else:
                super().settle(run, push, recorded)

    source = Source(ids(40))
    record = await run(source, Full(store, {"keep_page": 99, "settle": 99}))
    assert (record.outcome, record.error) == (None, "the disk is full")
    assert record.pushed == len(source.pushed) - 1 < 20  # what was on its way came back, nothing else was sent
    [left] = await store.open_runs()
    assert left.pushed == record.pushed
    assert counts(await run(source, store)) == (Outcome.SUCCEEDED, 40, 40, 0, 0, 0)
    assert [push for push, times in Counter(source.pushed).items() if times > 1] == [("c012", *source.keys("c012"))]


async def test_an_end_that_is_known_is_recorded_though_the_run_is_cancelled(store: Store, disk: Disk) -> None:
    records: list[Run] = []

    async def keep_record() -> None:
        records.append(await run(Source([], page_s=1), store))

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_record)
            await anyio.sleep(0.9)
            disk.takes_s = 1
            await anyio.sleep(1.5)  # its only page is kept, and its end is being recorded
            scope.cancel()
    assert [record.outcome for record in records] == [Outcome.SUCCEEDED]
    assert await store.runs("acme", 9) == records


async def test_a_page_that_is_being_kept_when_time_is_up_is_accounted_for(store: Store, disk: Disk) -> None:
    class Slow(Source):
        async def page(self, number: int, cursor: str | None = None) -> Page:
            disk.takes_s = 5 if number == 2 else 0
            return await super().page(number, cursor)

    record = await run(Slow(page_s=57, push_s=1), store, tenant=a_tenant(run_deadline=timedelta(minutes=2)))
    assert record.outcome is Outcome.ABANDONED
    assert record.listed == len(await rows(store, tables.campaigns)) == 20
    assert reconciles(record)


# Crashes, one after the other


LIVES = st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.none() | st.floats(0, 60)), max_size=4)


@examples(40)
@given(
    seed=st.integers(0, 2**32),
    campaigns=st.integers(0, 25),
    page_size=st.integers(1, 10),
    concurrency=st.integers(1, 5),
    deadline_s=st.sampled_from([20, 60, 10_000]),
    runs=st.lists(LIVES, min_size=1, max_size=4),
)
async def test_whatever_happens_the_counts_reconcile_and_every_campaign_is_accounted_for(
    seed: int,
    campaigns: int,
    page_size: int,
    concurrency: int,
    deadline_s: int,
    runs: list[list[tuple[int, bool, float | None]]],
) -> None:
    """`runs`: for each, the ends of the processes before the one that brings it to its end."""
    source = Source(ids(campaigns), page_size)
    tenant = a_tenant(page_size=page_size, concurrency=concurrency, run_deadline=timedelta(seconds=deadline_s))
    with capture_logs():
        async with inline_store() as store:
            world = World(Random(seed), source, store, Life(1, before=True))
            for number, ends in enumerate(runs):
                for calls, before, cancelled_after_s in [*ends, (10_000, True, None)]:
                    world.life = Life(calls, before)
                    try:
                        with anyio.move_on_after(cancelled_after_s):
                            await run(world, world, number, tenant=tenant)
                    except (Crash, BaseExceptionGroup):
                        assert world.life.dead
                    if fire_time(number) in {found.fire_time for found in await store.runs("acme", 1) if found.outcome}:
                        break
                [record] = await store.runs("acme", 1)
                assert (record.fire_time, record.outcome is None) == (fire_time(number), False)
                assert reconciles(record)
                await check(record, source, store)
                source.pushed.clear()
                source.effects.clear()


async def check(record: Run, source: Source, store: Store) -> None:
    """Compare a run that has ended with what the platform saw of it."""
    assert source.peak <= 5
    assert all(key == idempotency_key("acme", each, record.run_id) for each, key in source.pushed)
    dead = {row.campaign_id for row in await rows(store, tables.dead_letters)}
    assert len(source.effects) >= record.pushed
    assert record.dead_lettered <= len(dead)
    assert await rows(store, tables.pushes) == []
    assert await deleted(store) == set()  # no campaign ever went
    if record.outcome in {Outcome.SUCCEEDED, Outcome.PARTIAL}:
        assert record.listed == len(source.campaigns)
    if record.outcome is Outcome.SUCCEEDED:
        assert {each for each, _ in source.effects} == set(source.campaigns)
