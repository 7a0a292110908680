from dataclasses import replace
from datetime import timedelta

from adsyncd.model.campaign import Page
from adsyncd.model.run import Listing, Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store
from support.records import NOON, HandClock, campaign, page, run

ALL = PushPolicy.ALL
HOUR = timedelta(hours=1)
SOURCE = "ads acme 10"


async def listed(store: Store, this: Run, *pages: Page) -> None:
    """Let a run list pages of `SOURCE`, and end."""
    await store.begin(this)
    for each in pages:
        await store.keep_page(this, replace(each, source=each.source or SOURCE), ALL)
    await store.finish(replace(this, ended_at=NOON, listing=Listing.COMPLETE))


async def test_a_listing_is_kept_whole(store: Store) -> None:
    await listed(store, run(), page("c3", "c1", has_more=True), page(campaign("c2", "Größe"), number=2))
    await listed(store, run("globex"), page("g1"))
    assert await store.kept_listing("acme", SOURCE, HOUR) == Page(
        number=1,
        campaigns=(campaign("c1"), campaign("c2", "Größe"), campaign("c3")),
        total=3,
        has_more=False,
        source=SOURCE,
        listed_at=NOON,
    )


async def test_a_listing_is_as_old_as_its_first_page(store: Store, clock: HandClock) -> None:
    await store.begin(run())
    await store.keep_page(run(), replace(page("c1", has_more=True), source=SOURCE), ALL)
    clock.instant += timedelta(minutes=10)
    await store.keep_page(run(), replace(page("c2", number=2), source=SOURCE), ALL)
    await store.finish(replace(run(), ended_at=clock.instant, listing=Listing.COMPLETE))
    assert await store.kept_listing("acme", SOURCE, timedelta(minutes=10)) is None
    assert await store.kept_listing("acme", SOURCE, timedelta(minutes=11)) is not None


async def test_using_a_listing_again_makes_it_no_younger(store: Store, clock: HandClock) -> None:
    await listed(store, run(), page("c1"))
    clock.instant += timedelta(minutes=50)
    again = await store.kept_listing("acme", SOURCE, HOUR)
    assert again is not None
    await listed(store, run(number=1), again)
    assert await store.kept_listing("acme", SOURCE, HOUR) == again
    clock.instant += timedelta(minutes=10)
    assert await store.kept_listing("acme", SOURCE, HOUR) is None


async def test_a_listing_of_the_future_is_not_used(store: Store, clock: HandClock) -> None:
    await listed(store, run(), page("c1"))
    clock.instant -= timedelta(seconds=1)  # the clock was set back
    assert await store.kept_listing("acme", SOURCE, HOUR) is None


async def test_a_listing_from_elsewhere_is_not_used(store: Store) -> None:
    await listed(store, run(), page("c1"))
    assert await store.kept_listing("acme", "ads globex 10", HOUR) is None
    assert await store.kept_listing("globex", SOURCE, HOUR) is None


async def test_the_listing_of_the_last_run_that_ended_counts_and_an_open_one_does_not_hide_it(store: Store) -> None:
    await listed(store, run(), page("c1"))
    await listed(store, run(number=1), replace(page("c1"), source="elsewhere"))
    await store.begin(run(number=2))
    assert await store.kept_listing("acme", SOURCE, HOUR) is None
    assert await store.kept_listing("acme", "elsewhere", HOUR) is not None


async def test_a_page_is_kept_under_what_the_platform_calls_it(store: Store) -> None:
    first = replace(page("c3", "c1", has_more=True), total=7, source=SOURCE, etag='"v1"')
    second = replace(page("c2", number=2), source=SOURCE, etag='W/"v2"')
    await listed(store, run(), first, second)
    assert await store.kept_page("acme", SOURCE, 1) == first
    assert await store.kept_page("acme", SOURCE, 2) == second
    assert await store.kept_page("acme", SOURCE, 3) is None
    assert await store.kept_page("globex", SOURCE, 1) is None
    assert await store.kept_page("acme", "ads acme 20", 1) is None


async def test_pages_of_any_size_are_kept(store: Store) -> None:
    many = replace(page(*[f"c{number:04d}" for number in range(1200)]), source=SOURCE, etag="v1")
    await listed(store, run(), many)
    assert await store.kept_page("acme", SOURCE, 1) == many
