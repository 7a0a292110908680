"""Runs that only list and store: what the store keeps of them, and of the pushes before and after them."""

from dataclasses import replace

import pytest

from adsyncd.model.campaign import Push, PushState
from adsyncd.model.run import Listing, Outcome, Tally
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, tables
from support.records import NOON, bury, campaign, page, rows, run, settle

ALL, CHANGED, NONE = PushPolicy.ALL, PushPolicy.CHANGED, PushPolicy.NONE
PENDING, PUSHED, SKIPPED, STORED = PushState.PENDING, PushState.PUSHED, PushState.SKIPPED, PushState.STORED


async def listed(store: Store, number: int, policy: PushPolicy, *campaigns: str, content: str = "") -> list[Push]:
    """Begin a run that lists campaigns, and return its pushes."""
    await store.begin(run(number=number))
    return await store.keep_page(run(number=number), page(*[campaign(each, content) for each in campaigns]), policy)


async def ended(store: Store, number: int, listing: Listing | None = Listing.COMPLETE) -> None:
    await store.finish(replace(run(number=number), ended_at=NOON, outcome=Outcome.SUCCEEDED, listing=listing))


async def pushed(store: Store, number: int, *campaigns: str, content: str = "") -> None:
    """Let a run push campaigns and end."""
    for push in await listed(store, number, ALL, *campaigns, content=content):
        await settle(store, run(number=number), push, PUSHED, attempts=1)
    await ended(store, number)


async def states(store: Store, number: int, policy: PushPolicy, *campaigns: str, content: str = "") -> list[PushState]:
    return [push.state for push in await listed(store, number, policy, *campaigns, content=content)]


async def test_what_is_only_stored_is_not_owed_and_has_no_key(store: Store) -> None:
    assert await listed(store, 0, NONE, "c1", "c2") == [Push("c1", STORED), Push("c2", STORED)]
    assert {(row.state, row.idempotency_key, row.settled_at) for row in await rows(store, tables.pushes)} == {
        (STORED, "", NOON)
    }
    point = await store.begin(run())
    assert (point.owed, point.tally) == ((), Tally(listed=2, stored=2, requests=1))
    [open_run] = await store.open_runs()
    assert (open_run.listed, open_run.stored) == (2, 2)
    assert all((row.pushed_hash, row.synced_at) == (None, None) for row in await rows(store, tables.campaigns))


@pytest.mark.parametrize(
    ("content", "state"), [("a", SKIPPED), ("b", PENDING)], ids=["as it was pushed", "changed meanwhile"]
)
async def test_what_was_pushed_before_is_still_known_after_a_run_that_only_stores(
    store: Store, content: str, state: PushState
) -> None:
    await pushed(store, 0, "c1", content="a")
    assert await states(store, 1, NONE, "c1", content=content) == [STORED]
    await ended(store, 1)
    assert await states(store, 2, CHANGED, "c1", content=content) == [state]


async def test_what_was_only_stored_is_pushed_by_the_first_run_that_pushes(store: Store) -> None:
    await listed(store, 0, NONE, "c1")
    await ended(store, 0)
    assert await states(store, 1, CHANGED, "c1") == [PENDING]


async def test_a_run_that_only_stores_brings_in_no_dead_letters_and_leaves_them(store: Store) -> None:
    await bury(store, "acme", "c1")
    assert await states(store, 1, NONE, "c1", "c2") == [STORED, STORED]
    await ended(store, 1)
    [letter] = await store.dead_letters("acme")
    assert letter.campaign_id == "c1"
    await store.discard([letter])
    assert await store.dead_letters("acme") == []
    assert await states(store, 2, CHANGED, "c1") == [PENDING]


async def test_failures_are_counted_on_after_a_run_that_only_stores(store: Store) -> None:
    [push] = await listed(store, 0, ALL, "c1")
    await settle(store, run(), push, PushState.FAILED, attempts=5)
    await ended(store, 0)
    await listed(store, 1, NONE, "c1")
    await ended(store, 1)
    assert await listed(store, 2, ALL, "c1") == [Push("c1", PENDING, failures=1)]


async def test_a_push_that_is_not_made_any_more_leaves_it_unknown_what_the_platform_has(store: Store) -> None:
    await pushed(store, 0, "c1", content="a")
    [push] = await listed(store, 1, ALL, "c1", content="b")  # perhaps sent, before the process died
    await settle(store, run(number=1), replace(push, failures=2), STORED)
    point = await store.begin(run(number=1))
    assert (point.owed, point.tally.stored) == ((), 1)
    await ended(store, 1)
    assert await store.dead_letters("acme") == []
    assert await listed(store, 2, CHANGED, "c1", content="a") == [Push("c1", PENDING, failures=2)]


async def test_a_run_that_only_stores_marks_what_is_missing(store: Store) -> None:
    await pushed(store, 0, "c1", "c2")
    for number in (1, 2):
        await listed(store, number, NONE, "c1")
        assert await store.missing(run(number=number)) == (1, number - 1)
        await ended(store, number)
    assert [row.campaign_id for row in await rows(store, tables.campaigns) if row.deleted_at] == ["c2"]


async def test_the_currency_of_a_campaign_is_kept_and_a_new_one_replaces_it(store: Store) -> None:
    for currency in ("EUR", "USD", None):
        await store.begin(run())
        await store.keep_page(run(), page(replace(campaign("c1"), currency=currency)), NONE)
        [kept] = await rows(store, tables.campaigns)
        assert kept.currency == currency
