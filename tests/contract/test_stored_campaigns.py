"""Stored campaigns are read by filters and in pages, on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest

from adsyncd.model.campaign import PushState
from adsyncd.model.run import Listing, Outcome
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store
from adsyncd.store.stored_campaigns import CampaignFilter, StoredCampaign
from support.records import NOON, HandClock, campaign, page, run, settle

A_MINUTE = timedelta(minutes=1)
ALL = CampaignFilter()


@pytest.fixture
async def filled(store: Store, clock: HandClock) -> Store:
    """A store with campaigns of acme: c1 was pushed, c2 died, c3 failed, c4 is paused and pushed later, as c5 is."""
    first = run()
    await store.begin(first)
    listed = [campaign("c1", "Spring 50%_off"), campaign("c2", "Brand"), campaign("c3", "brand name")]
    paused = replace(campaign("c4", "Winter"), status="Paused")
    pushes = await store.keep_page(first, page(*listed, paused, "c5"), PushPolicy.ALL)
    states = (PushState.PUSHED, PushState.DEAD_LETTERED, PushState.FAILED, PushState.PUSHED, PushState.PUSHED)
    for push, state in zip(pushes, states, strict=True):
        clock.instant += A_MINUTE
        failed = state is not PushState.PUSHED
        await settle(store, first, push, state, attempts=1, error="422: over budget" if failed else None)
    await store.finish(replace(first, ended_at=clock.instant, outcome=Outcome.PARTIAL, listed=5, pushed=3))
    await store.begin(run("acme-2"))
    await store.keep_page(run("acme-2"), page(campaign("c1", "Brand")), PushPolicy.ALL)
    return store


async def ids(store: Store, wanted: CampaignFilter = ALL, limit: int = 10, after: str | None = None) -> list[str]:
    found = await store.campaigns("acme", wanted, limit, after)
    assert await store.campaign_count("acme", wanted) >= len(found)
    return [one.campaign_id for one in found]


async def test_a_campaign_is_as_it_was_listed_with_what_became_of_it(filled: Store) -> None:
    first, second, *_ = await filled.campaigns("acme", ALL, 2, payload=True)
    one = campaign("c1", "Spring 50%_off")
    as_listed = (one.id, one.name, "active", 100.5, "EUR", 10, 2, 1, NOON)
    assert first == StoredCampaign(*as_listed, NOON + A_MINUTE, None, None, None, None, one.payload)
    assert (second.synced_at, second.dead_since, second.reason) == (None, NOON + 2 * A_MINUTE, "422: over budget")
    [lean] = await filled.campaigns("acme", ALL, 1)
    assert lean == replace(first, payload=None)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ALL, ["c1", "c2", "c3", "c4", "c5"]),
        (CampaignFilter(campaign_id="c3"), ["c3"]),
        (CampaignFilter(campaign_id="c"), []),
        (CampaignFilter(name="BRAND"), ["c2", "c3"]),
        (CampaignFilter(name="50%_o"), ["c1"]),
        (CampaignFilter(name="5%o"), []),
        (CampaignFilter(status="paused"), ["c4"]),
        (CampaignFilter(synced_since=NOON + 4 * A_MINUTE), ["c4", "c5"]),
        (CampaignFilter(dead=True), ["c2"]),
        (CampaignFilter(dead=True, name="name"), []),
        (CampaignFilter(deleted=True), []),
    ],
)
async def test_filters_narrow_what_is_returned(filled: Store, wanted: CampaignFilter, found: list[str]) -> None:
    assert await ids(filled, wanted) == found
    assert await filled.campaign_count("acme", wanted) == len(found)


async def test_deleted_campaigns_are_returned_if_asked_for_and_only_then(filled: Store, clock: HandClock) -> None:
    for number in (1, 2):
        later = run("acme", number)
        await filled.begin(later)
        await filled.keep_page(later, page("c1", "c2", "c3", "c4"), PushPolicy.NONE)
        ended = replace(later, ended_at=clock.instant, outcome=Outcome.SUCCEEDED, listed=4, stored=4)
        await filled.finish(replace(ended, listing=Listing.COMPLETE))
        [gone] = await filled.campaigns("acme", CampaignFilter(campaign_id="c5", deleted=number == 2), 10)
        assert gone.missing_since == clock.instant
    assert gone.deleted_at == clock.instant
    assert await ids(filled) == ["c1", "c2", "c3", "c4"]
    assert await ids(filled, CampaignFilter(deleted=True)) == ["c5"]


async def test_pages_follow_each_other_without_a_gap_in_the_order_of_ids(filled: Store) -> None:
    seen, after = list[str](), None
    while found := await ids(filled, limit=2, after=after):
        seen += found
        after = found[-1]
    assert seen == ["c1", "c2", "c3", "c4", "c5"]
    assert await ids(filled, CampaignFilter(name="brand"), 1, after="c2") == ["c3"]
