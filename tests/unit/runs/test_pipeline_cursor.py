"""Listings in which each page names what leads to the next one, and runs that are resumed in the midst of them."""

from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adsyncd.errors import BadAnswer, Rejected, RunEnded, Unavailable
from adsyncd.model.campaign import Page, idempotency_key
from adsyncd.model.profile import PagingKind
from adsyncd.model.run import Listing, Outcome
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, tables
from support.crashes import Life, World
from support.examples import examples
from support.inline_store import inline_store
from support.pipelines import (
    Crash,
    CursorSource,
    Source,
    counts,
    cut_off,
    deleted,
    fire_time,
    ids,
    paged_by,
    reconciles,
    run,
)
from support.records import rows

TENANT = paged_by(PagingKind.CURSOR)
PULLS = paged_by(PagingKind.CURSOR, push=PushPolicy.NONE)


async def test_each_page_is_asked_for_by_what_the_page_before_it_names(store: Store) -> None:
    source = CursorSource(ids(25))
    record = await run(source, store, tenant=TENANT)
    assert counts(record) == (Outcome.SUCCEEDED, 25, 25, 0, 0, 0)
    assert (source.asked, source.cursors) == ([1, 2, 3], [None, "10@1", "20@1"])
    assert record.listing is Listing.COMPLETE


async def test_a_run_goes_on_at_the_cursor_where_it_was_cut_off(store: Store) -> None:
    source = CursorSource(ids(50), page_s=3)
    await cut_off(source, store, after_pages=2, tenant=TENANT)
    record = await run(source, store, tenant=TENANT)
    assert counts(record) == (Outcome.SUCCEEDED, 50, 50, 0, 0, 0)
    assert source.cursors == [None, *[f"{first}@1" for first in (10, 20, 30, 40)]]
    assert all(source.keys(each) == {idempotency_key("acme", each, record.run_id)} for each in ids(50))
    assert record.listing is None  # two lives listed it


REFUSALS = [Rejected("400: no", 400), Rejected("404", 404), BadAnswer("no records")]


@pytest.mark.parametrize("refusal", REFUSALS, ids=[str(each) for each in REFUSALS])
async def test_a_listing_whose_cursor_is_refused_begins_anew_and_owes_each_push_once(
    store: Store, refusal: Exception
) -> None:
    await run(CursorSource(ids(60)), store, tenant=TENANT)
    source = CursorSource(ids(40), page_s=3, refusal=lambda: refusal)
    await cut_off(source, store, 1, after_pages=2, tenant=TENANT)
    again = CursorSource(ids(40), generation=2, refusal=lambda: refusal)
    with capture_logs() as logged:
        record = await run(again, store, 1, tenant=TENANT)
    assert counts(record) == (Outcome.SUCCEEDED, 40, 40, 0, 0, 0)
    assert again.cursors == ["20@1", None, "10@2", "20@2", "30@2"]
    assert {each: len(source.keys(each) | again.keys(each)) for each in ids(40)} == dict.fromkeys(ids(40), 1)
    assert set(again.effects.values()) == {1}
    assert (record.listing, record.note) == (None, None)
    assert await deleted(store) == set()
    [anew] = [entry for entry in logged if entry["event"] == "listing begins anew"]
    assert (anew["log_level"], anew["reason"]) == ("info", str(refusal))


async def test_only_the_first_page_of_a_resumed_listing_is_asked_for_again(store: Store) -> None:
    await cut_off(CursorSource(ids(40), page_s=3), store, after_pages=1, tenant=TENANT)

    class Forgetful(CursorSource):
        async def page(self, number: int, cursor: str | None = None) -> Page:
            if number == 3:
                raise Rejected("400: no", 400)
            return await super().page(number, cursor)

    source = Forgetful(ids(40))
    record = await run(source, store, tenant=TENANT)
    assert (record.outcome, record.error, source.asked) == (Outcome.FAILED, "400: no", [2])
    assert reconciles(record)


async def test_a_platform_that_refuses_every_page_is_asked_for_the_first_one_once(store: Store) -> None:
    await cut_off(CursorSource(ids(40), page_s=3), store, after_pages=1, tenant=TENANT)

    class Closed(CursorSource):
        async def page(self, number: int, cursor: str | None = None) -> Page:
            self.asked.append(number)
            self.cursors.append(cursor)
            raise Rejected("403: no", 403)

    source = Closed()
    assert (await run(source, store, tenant=TENANT)).outcome is Outcome.FAILED
    assert source.cursors == ["10@1", None]


async def test_trouble_of_the_platform_is_no_refusal_of_a_cursor(store: Store) -> None:
    await cut_off(CursorSource(ids(40), page_s=3), store, after_pages=1, tenant=TENANT)
    source = CursorSource(ids(40), generation=2, refusal=lambda: Unavailable("503"))
    assert (await run(source, store, tenant=TENANT)).outcome is Outcome.FAILED
    assert source.asked == [2]


@pytest.mark.parametrize("kind", [PagingKind.OFFSET, PagingKind.CURSOR, PagingKind.LINK])
async def test_a_listing_of_which_the_next_page_is_unknown_begins_anew(store: Store, kind: PagingKind) -> None:
    tenant = paged_by(kind)
    await cut_off(Source(ids(30), page_s=3), store, after_pages=2, tenant=tenant)  # it keeps no cursor
    source = CursorSource(ids(30))
    assert counts(await run(source, store, tenant=tenant)) == (Outcome.SUCCEEDED, 30, 30, 0, 0, 0)
    assert (source.asked, source.cursors) == ([1, 2, 3], [None, "10@1", "20@1"])


async def test_a_cursor_of_another_listing_is_never_sent(store: Store) -> None:
    await cut_off(CursorSource(ids(30), page_s=3, name="of account 1"), store, after_pages=2, tenant=TENANT)
    source = CursorSource(ids(30), name="of account 2")
    record = await run(source, store, tenant=TENANT)
    assert (record.outcome, source.cursors) == (Outcome.SUCCEEDED, [None, "10@1", "20@1"])


@pytest.mark.parametrize("pages", [15, 40])
async def test_what_an_earlier_life_listed_is_no_listing_without_end(store: Store, pages: int) -> None:
    await cut_off(CursorSource(ids(10 * pages), page_s=50), store, after_pages=pages - 1, tenant=PULLS)
    source = CursorSource(ids(10 * pages), generation=2, page_s=50)
    await cut_off(source, store, after_pages=1, tenant=PULLS)  # the third life resumes a listing that began anew
    assert counts(await run(source, store, tenant=PULLS))[:2] == (Outcome.SUCCEEDED, 10 * pages)


async def test_a_resumed_listing_that_goes_in_circles_ends(store: Store) -> None:
    class Circle(CursorSource):
        async def page(self, number: int, cursor: str | None = None) -> Page:
            assert len(self.asked) < 100
            page = await super().page(number, cursor)
            return replace(page, has_more=True, next=page.next or "10@1")

    await cut_off(Circle(ids(50), page_s=3), store, after_pages=3, tenant=PULLS)
    source = Circle(ids(50))
    record = await run(source, store, tenant=PULLS)
    assert (record.outcome, len(source.asked) < 30) == (Outcome.FAILED, True)
    assert "bring nothing new" in str(record.error)


# Crashes


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("calls", range(1, 13))
@pytest.mark.parametrize("generation", [1, 2], ids=["the cursor is known", "the cursor is forgotten"])
async def test_whatever_the_instant_of_the_crash_the_listing_is_complete_and_nothing_is_deleted(
    store: Store, calls: int, *, before: bool, generation: int
) -> None:
    await run(CursorSource(ids(55)), store, tenant=PULLS)
    source = CursorSource(ids(50))
    world = World(Random(0), source, store, Life(calls, before), flaky=False)
    with pytest.raises((Crash, BaseExceptionGroup)):
        await run(world, world, 1, tenant=PULLS)
    world.life = Life(10_000, before=True)
    source.generation = generation
    with suppress(RunEnded):  # the last crash is that after its end is on record
        await run(world, world, 1, tenant=PULLS)
    [record] = await store.runs("acme", 1)
    assert (record.outcome, record.listed, record.stored) == (Outcome.SUCCEEDED, 50, 50)
    assert await deleted(store) == set()
    assert await rows(store, tables.pushes) == []


LIVES = st.lists(st.tuples(st.integers(1, 40), st.booleans(), st.integers(1, 2)), max_size=4)


@examples(20)
@given(
    seed=st.integers(0, 2**32),
    campaigns=st.integers(0, 45),
    policy=st.sampled_from(PushPolicy),
    runs=st.lists(LIVES, min_size=1, max_size=3),
)
async def test_whatever_happens_the_counts_reconcile_and_no_campaign_is_marked_deleted(
    seed: int, campaigns: int, policy: PushPolicy, runs: list[list[tuple[int, bool, int]]]
) -> None:
    """`runs`: for each, the ends of the processes before the last one, and which cursors the platform knows then."""
    source = CursorSource(ids(campaigns))
    tenant = paged_by(PagingKind.CURSOR, push=policy)
    with capture_logs():
        async with inline_store() as store:
            world = World(Random(seed), source, store, Life(1, before=True))
            for number, ends in enumerate(runs):
                for calls, before, generation in [*ends, (10_000, True, 1)]:
                    world.life, source.generation = Life(calls, before), generation
                    try:
                        await run(world, world, number, tenant=tenant)
                    except (Crash, BaseExceptionGroup):
                        assert world.life.dead
                    if fire_time(number) in {each.fire_time for each in await store.runs("acme", 1) if each.outcome}:
                        break
                [record] = await store.runs("acme", 1)
                assert (record.fire_time, record.outcome is None) == (fire_time(number), False)
                assert reconciles(record)
                assert record.stored == (record.listed if policy is PushPolicy.NONE else 0)
                assert await deleted(store) == set()
                if record.outcome in {Outcome.SUCCEEDED, Outcome.PARTIAL}:
                    assert record.listed == campaigns
