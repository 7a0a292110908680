from dataclasses import replace
from datetime import timedelta

import pytest

from adsyncd.errors import Rejected, Unavailable
from adsyncd.model.campaign import Oddities, Page
from adsyncd.model.run import Listing, Outcome, Run, Tally
from adsyncd.store import Store, tables
from support.pipelines import Source, counts, cut_off, deleted, ids, reconciles, run
from support.records import rows
from support.tenants import a_tenant

# Listings that do not add up


class Repeating(Source):
    """Every page is the first one, and more is announced."""

    async def page(self, number: int, cursor: str | None = None) -> Page:
        return replace(await super().page(1, cursor), number=number, has_more=True)


class Gaps(Source):
    """Some pages in the midst are empty."""

    async def page(self, number: int, cursor: str | None = None) -> Page:
        if 2 <= number < 6:
            return Page(number, (), 20, has_more=True)
        return replace(await super().page(min(2, number), cursor), number=number)


async def test_a_listing_without_end_ends_in_a_clear_error(store: Store) -> None:
    record = await run(Repeating(), store)
    assert (record.outcome, record.listed) == (Outcome.FAILED, 10)
    assert record.error == "pages 2 to 11 bring nothing new, and more is still announced"
    assert reconciles(record)


async def test_empty_pages_in_the_midst_are_asked_past(store: Store) -> None:
    record = await run(Gaps(), store)
    assert counts(record) == (Outcome.SUCCEEDED, 20, 20, 0, 0, 0)
    assert (record.note, record.listing) == (None, Listing.COMPLETE)


async def test_a_page_without_news_among_others_is_no_error(store: Store) -> None:
    class Shifted(Source):
        async def page(self, number: int, cursor: str | None = None) -> Page:
            page = await super().page(1 if number == 2 else max(1, number - 1), cursor)
            return replace(page, number=number, has_more=number < 3)

    assert (await run(Shifted(), store)).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("total", [None, 1, 19, 20, 21, 10**7])
async def test_a_total_that_is_not_the_number_of_campaigns_is_a_note_and_no_error(
    store: Store, total: int | None
) -> None:
    tally = Tally()
    record = await run(Source(totals=dict.fromkeys((1, 2), total)), store, tally=tally)
    assert counts(record) == (Outcome.SUCCEEDED, 20, 20, 0, 0, 0)
    differs = f"the platform named {total} campaign{'s' if total != 1 else ''} in all and listed 20"
    assert (record.error, record.note) == (None, None if total in {None, 20} else differs)
    assert (record.listing, tally.announced) == (Listing.COMPLETE, 20)
    assert await store.runs("acme", 1) == [record]


# Items that can't be read


async def test_a_run_that_lists_an_odd_item_is_partial_and_names_it(store: Store) -> None:
    source = Source(odd={1: Oddities(1, 0, ("c003: budget: no number",)), 2: Oddities(3, 0, ("x", "y"))})
    record = await run(source, store)
    assert counts(record) == (Outcome.PARTIAL, 20, 20, 0, 0, 0)
    assert record.error == "not all can be read: c003: budget: no number; x; y; and 1 more"
    assert await store.runs("acme", 1) == [record]


async def test_a_run_that_lists_an_odd_item_and_is_taken_up_still_names_it(store: Store) -> None:
    source = Source(odd={1: Oddities(1, 0, ("c003: budget: no number",))})
    await cut_off(source, store, after_pages=1)
    record = await run(source, store)
    assert (record.outcome, record.error) == (Outcome.PARTIAL, "not all can be read: c003: budget: no number")


async def test_an_item_that_lacks_a_field_is_a_note_and_no_error(store: Store) -> None:
    record = await run(Source(lacking={2: Oddities(1, 0, ("c013 lacks budget",))}), store)
    assert (record.outcome, record.error, record.note) == (Outcome.SUCCEEDED, None, "c013 lacks budget")


async def test_all_that_went_wrong_in_a_run_is_told(store: Store) -> None:
    odd = {1: Oddities(1, 1, ("page 1, item 2: id: missing",))}
    source = Source(odd=odd, push_faults={"c000": Unavailable("503")}, totals=dict.fromkeys((1, 2), 21))
    record = await run(source, store)
    assert record.note is None  # of the 21 that the platform names one has no id
    assert record.error == (
        "1 of 20 campaigns were not pushed, the first because 503; not all can be read: page 1, item 2: id: missing"
    )


# Deletes


async def test_what_two_complete_listings_in_a_row_miss_is_marked_deleted(store: Store) -> None:
    fewer = Source(ids(18), push_faults={"c000": Unavailable("503")})  # what the pushes did is no matter
    await run(Source(ids(20)), store, 0)
    await run(fewer, store, 1)
    assert await deleted(store) == set()
    await run(Source(ids(20)), store, 2)
    await run(fewer, store, 3)
    assert await deleted(store) == set()
    await run(Source(page_faults={2: Unavailable("503")}), store, 4)  # says nothing, either way
    await run(fewer, store, 5)
    assert await deleted(store) == {"c018", "c019"}
    await run(Source(ids(20)), store, 6)
    assert await deleted(store) == set()


@pytest.mark.parametrize("left", [0, 5, 9])
async def test_a_listing_that_lost_more_than_half_is_partial_and_believed_when_the_next_one_agrees(
    store: Store, left: int
) -> None:
    await run(Source(ids(20)), store, 0)
    record = await run(Source(ids(left)), store, 1)
    assert counts(record) == (Outcome.PARTIAL, left, left, 0, 0, 0)
    assert record.error == (
        f"{20 - left} of 20 campaigns are missing from the listing: "
        "none is marked deleted unless the next listing agrees"
    )
    assert (record.listing, await deleted(store)) == (Listing.COLLAPSED, set())
    record = await run(Source(ids(left)), store, 2)
    assert (record.outcome, record.listing) == (Outcome.SUCCEEDED, Listing.COMPLETE)
    assert await deleted(store) == set(ids(20)[left:])


async def test_a_listing_that_collapsed_marks_not_even_those_deleted_that_the_one_before_missed(store: Store) -> None:
    for number, listed in enumerate((20, 18, 0)):
        await run(Source(ids(listed)), store, number)
    assert await deleted(store) == set()


async def test_a_listing_that_recovers_marks_nothing_deleted(store: Store) -> None:
    for number, listed in enumerate((20, 0, 20, 0, 5, 20)):  # with five back again the fifth does not agree
        record = await run(Source(ids(listed)), store, number)
        assert await deleted(store) == set()
    assert (record.outcome, record.listing) == (Outcome.SUCCEEDED, Listing.COMPLETE)


async def test_dead_letters_are_closed_only_with_the_deletion_of_their_campaigns(store: Store) -> None:
    await run(Source(push_faults={"c007": Rejected("422", 422)}), store, 0)
    letters = []
    for number in (1, 2):
        await run(Source([]), store, number)
        letters.append(len(await rows(store, tables.dead_letters)))
    assert letters == [1, 0]


async def test_campaigns_that_change_places_while_they_are_listed_mark_nothing_deleted(store: Store) -> None:
    class Sorted(Source):
        async def page(self, number: int, cursor: str | None = None) -> Page:
            if number == 2:  # the one that changed last comes first
                self.campaigns = ["c010", *ids(10), *ids(20)[11:]]
            return await super().page(number, cursor)

    await run(Source(), store, 0)
    for number in (1, 2):
        record = await run(Sorted(), store, number)
        assert counts(record) == (Outcome.SUCCEEDED, 19, 19, 0, 0, 0)
        assert record.note == (
            "the platform named 20 campaigns in all and listed 19; "
            "c009 was on two pages, so that another may have been on none"
        )
    assert await deleted(store) == set()


async def test_campaigns_that_go_while_they_are_listed_move_others_so_those_are_not_marked_deleted(
    store: Store,
) -> None:
    class Shrinking(Source):
        async def page(self, number: int, cursor: str | None = None) -> Page:
            if number == 2:
                self.campaigns = self.campaigns[1:]  # c010 is on page 1 by now, which was listed before
            return await super().page(number, cursor)

    await run(Source(), store, 0)
    source = Shrinking()
    assert counts(await run(source, store, 1)) == (Outcome.SUCCEEDED, 19, 19, 0, 0, 0)
    await run(source, store, 2)  # misses c000, which is gone, and c011
    assert await deleted(store) == set()
    await run(source, store, 3)
    assert await deleted(store) == {"c000"}


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        (Source(ids(19), page_faults={2: Unavailable("503")}), Outcome.FAILED),
        (Repeating(ids(19)), Outcome.FAILED),
        (Source(ids(19), page_s=600), Outcome.ABANDONED),
    ],
    ids=["failed", "repeated", "abandoned"],
)
async def test_a_listing_that_is_not_complete_marks_nothing_deleted(
    store: Store, source: Source, outcome: Outcome
) -> None:
    await run(Source(), store, 0)
    for number in (1, 2):
        record = await run(source, store, number, tenant=a_tenant(run_deadline=timedelta(minutes=15)))
        assert (record.outcome, record.listing) == (outcome, None)
    assert await deleted(store) == set()


@pytest.mark.parametrize("kept", [1, 2])
async def test_a_listing_that_was_cut_off_marks_nothing_deleted_when_it_is_taken_up(store: Store, kept: int) -> None:
    await run(Source(), store, 0)
    fewer = Source(ids(18))
    await run(fewer, store, 1)
    await cut_off(fewer, store, 2, after_pages=kept)
    assert counts(await run(fewer, store, 2)) == (Outcome.SUCCEEDED, 18, 18, 0, 0, 0)
    assert await deleted(store) == set()
    await run(fewer, store, 3)
    assert await deleted(store) == {"c018", "c019"}


@pytest.mark.parametrize(("listed", "misses"), [(20, False), (25, False), (19, True)])
async def test_the_end_of_a_run_that_misses_no_campaign_looks_for_none(
    store: Store, monkeypatch: pytest.MonkeyPatch, listed: int, *, misses: bool
) -> None:
    await run(Source(ids(20)), store, 0)
    told: list[bool] = []
    finish = Store.finish

    async def finished(of: Store, ended: Run, *, misses: bool) -> int:
        told.append(misses)
        return await finish(of, ended, misses=misses)

    monkeypatch.setattr(Store, "finish", finished)
    await run(Source(ids(listed)), store, 1)
    assert told == [misses]
    assert {row.campaign_id for row in await rows(store, tables.campaigns) if row.missed_at} == set(ids(20)[listed:])
