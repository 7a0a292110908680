from collections import Counter
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from structlog.testing import capture_logs

from adsyncd.errors import Rejected, Stopping, StoreError, Unavailable
from adsyncd.model.campaign import Page, idempotency_key
from adsyncd.model.run import Outcome, Run
from adsyncd.store import Store, tables
from support.inline_store import Disk
from support.pipelines import Doomed, Source, counts, cut_off, ids, reconciles, run
from support.records import rows
from support.tenants import a_tenant
from support.virtual_time import VirtualClock

# Open runs


async def test_a_run_is_taken_up_where_it_was_cut_off_with_the_same_keys(store: Store) -> None:
    source = Source(ids(50), page_s=3)
    await cut_off(source, store, after_pages=2)
    assert (source.asked, len(source.pushed), source.effects.total()) == ([1, 2], 10, 5)  # five were on their way
    record = await run(source, store)
    assert counts(record) == (Outcome.SUCCEEDED, 50, 50, 0, 0, 0)
    assert source.asked == [1, 2, 3, 4, 5]
    assert len(source.pushed) == 55
    assert all(source.keys(each) == {idempotency_key("acme", each, record.run_id)} for each in ids(50))


async def test_of_a_run_that_is_taken_up_pushes_that_may_have_been_sent_are_told_from_new_ones(store: Store) -> None:
    source = Source(ids(50), page_s=3)
    await cut_off(source, store, after_pages=2)
    sent = {campaign_id for campaign_id, _ in source.pushed}
    assert source.pushed_again == set()
    await run(source, store)
    twice = {campaign_id for campaign_id, count in Counter(each for each, _ in source.pushed).items() if count > 1}
    assert twice <= source.pushed_again <= set(ids(20))
    assert len(sent & source.pushed_again) == 5  # they were on their way


async def test_a_run_that_is_taken_up_began_when_it_first_began(store: Store) -> None:
    source = Source(ids(30))
    began_at = VirtualClock().now()
    await cut_off(source, store, after_pages=2)
    await anyio.sleep(3600)
    record = await run(source, store)
    assert record.started_at == began_at
    assert record.ended_at is not None
    assert record.ended_at > began_at + timedelta(hours=1)
    assert await store.runs("acme", 9) == [record]


async def test_a_complete_listing_is_not_asked_for_again(store: Store) -> None:
    source = Source()
    await cut_off(source, store, after_pages=2)
    asked = len(source.asked)
    assert (await run(source, store)).outcome is Outcome.SUCCEEDED
    assert len(source.asked) == asked


async def test_a_listing_whose_pages_became_others_while_it_was_cut_off_is_listed_from_its_start(store: Store) -> None:
    class Sized(Source):
        async def page(self, number: int) -> Page:
            return replace(await super().page(number), source=f"{self.page_size} on a page")

    await cut_off(Sized(ids(30), page_size=5), store, after_pages=2)
    source = Sized(ids(30))
    assert counts(await run(source, store)) == (Outcome.SUCCEEDED, 30, 30, 0, 0, 0)
    assert source.asked == [3, 1, 2, 3]


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
    assert [(entry["event"], entry["log_level"]) for entry in logged] == [
        ("run left open", "info")
    ]  # a stop is no fault
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


async def test_a_run_that_can_t_begin_says_so(store: Store, disk: Disk) -> None:
    disk.gone = True
    with pytest.raises(StoreError, match="the disk is gone"):
        await run(Source(), store)


async def test_an_end_that_can_t_be_recorded_leaves_the_run_open(store: Store) -> None:
    class Unfinished(Doomed):
        async def finish(self, run: Run) -> int:  # noqa: ARG002 - the journal's signature
            raise StoreError("the disk is full")

    source = Source()
    record = await run(source, Unfinished(store, {"keep_page": 99, "settle": 99}))
    assert (record.outcome, record.ended_at, record.pushed) == (None, None, 20)
    assert (await run(source, store)).outcome is Outcome.SUCCEEDED
    assert len(source.pushed) == 20


async def test_a_store_that_hangs_does_not_hold_a_run_for_ever(store: Store, disk: Disk) -> None:
    class Hanging(Source):
        async def page(self, number: int) -> Page:
            disk.takes_s = 10_000
            return await super().page(number)

    began = anyio.current_time()
    record = await run(Hanging(), store)
    assert record.outcome is None
    assert record.error == "the store took longer than 15 s"
    assert anyio.current_time() - began < 60


# Cancellation


async def test_outcomes_that_are_known_are_recorded_though_the_run_is_cancelled(store: Store, disk: Disk) -> None:
    source = Source(ids(5))
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, source, store)
            await anyio.sleep(1.9)
            disk.takes_s = 1
            await anyio.sleep(0.5)  # all five are being recorded
            scope.cancel()
    disk.takes_s = 0
    [left] = await store.open_runs()
    assert (left.listed, left.pushed) == (5, 5)
    await run(source, store)
    assert len(source.pushed) == 5


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
        async def page(self, number: int) -> Page:
            disk.takes_s = 5 if number == 2 else 0
            return await super().page(number)

    record = await run(Slow(page_s=57, push_s=1), store, tenant=a_tenant(run_deadline=timedelta(minutes=2)))
    assert record.outcome is Outcome.ABANDONED
    assert record.listed == len(await rows(store, tables.campaigns)) == 20
    assert reconciles(record)
