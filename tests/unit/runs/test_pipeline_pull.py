"""Runs of tenants that only pull: they list and store, and push nothing."""

import pytest

from adsyncd.errors import Rejected, Unavailable
from adsyncd.model.run import Listing, Outcome, Tally
from adsyncd.model.tenant import PushPolicy, Tenant
from adsyncd.store import Store, tables
from adsyncd.telemetry.instruments import SPAN_PUSH
from support.metrics import Metrics
from support.pipelines import FOREVER, Source, cut_off, deleted, ids, reconciles, run
from support.records import bury, rows
from support.spans import Spans
from support.tenants import a_tenant

PULLS = a_tenant(push=PushPolicy.NONE, run_deadline=FOREVER)
PUSHES = a_tenant(push=PushPolicy.CHANGED, run_deadline=FOREVER)


async def test_a_run_that_pulls_stores_every_campaign_and_pushes_none(store: Store) -> None:
    source, tally, spans = Source(ids(25)), Tally(), Spans()
    record = await run(source, store, tenant=PULLS, tally=tally, tracer=spans.tracer)
    assert (record.outcome, record.listed, record.stored, record.failed) == (Outcome.SUCCEEDED, 25, 25, 0)
    assert (record.error, record.note, record.listing) == (None, None, Listing.COMPLETE)
    assert (tally.settled, tally.announced) == (25, 25)
    assert (source.asked, source.pushed, spans.named(SPAN_PUSH)) == ([1, 2, 3], [], [])
    assert await store.runs("acme", 9) == [record]
    assert {row.synced_at for row in await rows(store, tables.campaigns)} == {None}
    assert await rows(store, tables.pushes) == []


async def test_a_listing_that_fails_leaves_what_was_stored(store: Store) -> None:
    record = await run(Source(ids(25), page_faults={3: Unavailable("503")}), store, tenant=PULLS)
    assert (record.outcome, record.listed, record.stored, record.failed) == (Outcome.FAILED, 20, 20, 0)
    assert len(await rows(store, tables.campaigns)) == 20


async def test_what_is_missing_twice_is_marked_deleted(store: Store) -> None:
    for number, count in enumerate((25, 20, 20)):
        await run(Source(ids(count)), store, number, tenant=PULLS)
    assert await deleted(store) == set(ids(25)[20:])


async def test_an_open_run_of_a_tenant_that_pushes_no_more_stores_what_it_owed(store: Store) -> None:
    source = Source(page_s=1, push_faults={"c000": Rejected("422", 422)})
    await cut_off(source, store, after_pages=2, pushes=4, tenant=PUSHES)
    pushed, failed = sum(source.effects.values()), 1
    again, tally = Source(), Tally()
    record = await run(again, store, tenant=PULLS, tally=tally)
    assert (again.asked, again.pushed) == ([], [])
    assert (record.listed, record.stored > 0, record.pushed > 0) == (20, True, True)
    assert (record.pushed <= pushed, record.dead_lettered) == (True, failed)
    assert tally.settled == 20
    assert reconciles(record)
    assert record.outcome is Outcome.PARTIAL  # for the one that was refused
    later = Source()
    assert (await run(later, store, 1, tenant=PUSHES)).skipped == record.pushed
    assert len(later.pushed) == record.stored


async def test_an_open_run_of_a_tenant_that_pushes_again_pushes_what_it_has_not_stored(store: Store) -> None:
    await cut_off(Source(page_s=1), store, after_pages=1, tenant=PULLS)
    source = Source()
    record = await run(source, store, tenant=PUSHES)
    assert (record.outcome, record.stored, record.pushed) == (Outcome.SUCCEEDED, 10, 10)
    assert (await run(source, store, 1, tenant=PUSHES)).pushed == 10


async def test_dead_letters_of_a_tenant_that_pushes_no_more_stay_and_cost_no_run(store: Store) -> None:
    await bury(store, "acme", "c001")
    record = await run(Source(), store, tenant=PULLS)
    assert (record.outcome, record.stored, record.dead_lettered) == (Outcome.SUCCEEDED, 20, 0)
    assert [letter.campaign_id for letter in await store.dead_letters()] == ["c001"]


@pytest.mark.parametrize(("tenant", "stored"), [(PULLS, [20]), (PUSHES, [])])
async def test_stored_campaigns_are_counted(store: Store, tenant: Tenant, stored: list[int]) -> None:
    metrics = Metrics()
    await run(Source(), store, tenant=tenant, instruments=metrics.instruments)
    assert [point["value"] for point in metrics.points("adsyncd.campaigns.stored")] == stored
    assert [point["value"] for point in metrics.points("adsyncd.campaigns.listed")] == [20]
