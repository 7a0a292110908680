from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracer, StatusCode, Tracer
from structlog.testing import capture_logs

from adsyncd.errors import (
    BadAnswer,
    CredentialsMissing,
    PlatformError,
    Rejected,
    SignInRefused,
    Stopping,
    StoreError,
    Unauthorized,
    Unavailable,
    Unconfirmed,
    WaitTooLong,
)
from adsyncd.model.campaign import Oddities, Page, Push, idempotency_key
from adsyncd.model.run import Listing, Outcome, Run, Tally, Wait, run_id
from adsyncd.model.tenant import PushPolicy, Tenant
from adsyncd.rate.wait import WaitReason
from adsyncd.runs.pipeline import Journal, Pipeline
from adsyncd.simulation.virtual_time import START
from adsyncd.store import ResumePoint, Store, tables
from adsyncd.telemetry.instruments import Instruments
from support.inline_store import Disk, inline_store
from support.records import campaign, rows
from support.spans import Spans, attributes
from support.tenants import a_tenant
from support.virtual_time import BACKEND, VirtualClock

SILENT = Instruments(NoOpMeterProvider().get_meter("test"))
FOREVER = timedelta(days=9)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def store(disk: Disk) -> AsyncIterator[Store]:
    async with inline_store(disk) as opened:
        yield opened


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


def ids(count: int) -> list[str]:
    return [f"c{number:03}" for number in range(count)]


@dataclass
class Source:
    """A platform that does as it is told, and remembers what it was asked."""

    campaigns: Sequence[str] = field(default_factory=lambda: ids(20))
    page_size: int = 10
    content: str = ""
    page_s: float = 0.0
    push_s: float = 2.0
    page_faults: Mapping[int, Exception] = field(default_factory=dict)
    push_faults: Mapping[str, Exception] = field(default_factory=dict)
    totals: dict[int, int | None] = field(default_factory=dict)  # by page, where it is not the number of campaigns
    odd: Mapping[int, Oddities] = field(default_factory=dict)  # by page
    lacking: Mapping[int, Oddities] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    pushed: list[tuple[str, str]] = field(default_factory=list)
    pushed_again: set[str] = field(default_factory=set)
    effects: Counter[tuple[str, str]] = field(default_factory=Counter)
    in_flight: int = 0
    peak: int = 0

    async def page(self, number: int) -> Page:
        self.asked.append(number)
        await anyio.sleep(self.page_s)
        if number in self.page_faults:
            raise self.page_faults[number]
        end = number * self.page_size
        listed = tuple(campaign(each, self.content) for each in self.campaigns[end - self.page_size : end])
        return Page(
            number,
            listed,
            self.totals.get(number, len(self.campaigns)),
            len(self.campaigns) > end,
            odd=self.odd.get(number, Oddities()),
            lacking=self.lacking.get(number, Oddities()),
        )

    async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
        self.pushed.append((campaign_id, key))
        if again:
            self.pushed_again.add(campaign_id)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await anyio.sleep(self.push_s)
        finally:
            self.in_flight -= 1
        if campaign_id in self.push_faults:
            raise self.push_faults[campaign_id]
        self.effects[campaign_id, key] += 1
        return 1

    def keys(self, of: str) -> set[str]:
        return {key for campaign_id, key in self.pushed if campaign_id == of}


async def run(
    source: Source,
    journal: Journal,
    number: int = 0,
    *,
    tenant: Tenant | None = None,
    tally: Tally | None = None,
    tracer: Tracer | None = None,
    clock: VirtualClock | None = None,
) -> Run:
    """Run the tenant for the fire time `number`; again for the same one means to take it up."""
    tenant = tenant or a_tenant(page_size=source.page_size, run_deadline=FOREVER)
    pipeline = Pipeline(
        tenant,
        source,
        journal,
        tally or Tally(),
        clock=clock or VirtualClock(),
        tracer=tracer or NoOpTracer(),
        instruments=SILENT,
    )
    return await pipeline.run(fire_time(number))


def fire_time(number: int) -> datetime:
    return START + timedelta(minutes=15 * number)


def reconciles(record: Run) -> bool:
    return record.listed == record.pushed + record.skipped + record.dead_lettered + record.failed


def counts(record: Run) -> tuple[Outcome | None, int, int, int, int, int]:
    return (
        record.outcome,
        record.listed,
        record.pushed,
        record.skipped,
        record.dead_lettered,
        record.failed,
    )


async def deleted(store: Store) -> set[str]:
    return {row.campaign_id for row in await rows(store, tables.campaigns) if row.deleted_at}


# A run that goes well


async def test_a_run_pushes_every_campaign_once_and_is_recorded_as_it_is_returned(store: Store) -> None:
    source = Source(ids(25))
    record = await run(source, store)
    assert counts(record) == (Outcome.SUCCEEDED, 25, 25, 0, 0, 0)
    assert (record.run_id, record.error) == (run_id("acme", fire_time(0)), None)
    assert source.asked == [1, 2, 3]
    assert source.effects == {(each, idempotency_key("acme", each, record.run_id)): 1 for each in ids(25)}
    assert await store.runs("acme", 9) == [record]
    assert all(row.synced_at for row in await rows(store, tables.campaigns))


async def test_a_tenant_without_campaigns_is_a_success(store: Store) -> None:
    assert counts(await run(Source([]), store)) == (Outcome.SUCCEEDED, 0, 0, 0, 0, 0)


async def test_pages_and_pushes_flow_at_the_same_time(store: Store) -> None:
    source = Source(ids(100), page_s=1, push_s=2)
    began = anyio.current_time()
    await run(source, store, tenant=a_tenant(concurrency=5))
    assert anyio.current_time() - began == pytest.approx(1 + 100 / 5 * 2)  # only the first page was waited for
    assert source.peak == 5


async def test_a_run_holds_no_more_campaigns_than_two_pages_and_what_is_on_its_way(store: Store) -> None:
    held = []
    tally = Tally()

    class Watched(Source):
        async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
            held.append(tally.listed - tally.settled)
            return await super().push(campaign_id, key, again=again)

    await run(Watched(ids(500)), store, tally=tally, tenant=a_tenant(concurrency=3))
    assert max(held) <= 10 + 10 + 3


async def test_content_that_was_pushed_before_is_skipped_where_the_policy_says_so(store: Store) -> None:
    changed = a_tenant(push=PushPolicy.CHANGED)
    await run(Source(), store, 0, tenant=changed)
    again = Source()
    assert counts(await run(again, store, 1, tenant=changed)) == (Outcome.SUCCEEDED, 20, 0, 20, 0, 0)
    assert again.pushed == []


async def test_the_tally_is_counted_up_while_the_run_goes(store: Store) -> None:
    seen: list[tuple[int, int]] = []
    tally = Tally()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: run(Source(ids(10)), store, tally=tally, tenant=a_tenant(concurrency=5)))
        for _ in range(3):
            await anyio.sleep(1.5)
            seen.append((tally.listed, tally.settled))
    assert seen == [(10, 0), (10, 5), (10, 10)]


# Campaigns that can't be pushed


@pytest.mark.parametrize("error", [Unavailable("503"), BadAnswer("HTML"), Unconfirmed("no"), Unauthorized("401")])
async def test_a_campaign_that_fails_costs_itself_alone(store: Store, error: PlatformError) -> None:
    error.attempts = 5
    record = await run(Source(push_faults={"c007": error}), store)
    assert counts(record) == (Outcome.PARTIAL, 20, 19, 0, 0, 1)
    assert record.error == f"1 of 20 campaigns were not pushed, the first because {error}"
    assert await rows(store, tables.dead_letters) == []


async def test_a_permanent_rejection_is_a_dead_letter_that_later_runs_leave_alone(store: Store) -> None:
    rejected = Rejected("422: no", 422)
    rejected.attempts = 2
    record = await run(Source(push_faults={"c007": rejected}), store)
    assert counts(record) == (Outcome.PARTIAL, 20, 19, 0, 1, 0)
    [letter] = await rows(store, tables.dead_letters)
    assert (letter.campaign_id, letter.reason, letter.attempts, letter.trace_id) == (
        "c007",
        "422: no",
        2,
        record.trace_id,
    )
    again = Source()
    assert counts(await run(again, store, 1)) == (Outcome.PARTIAL, 20, 19, 0, 1, 0)
    assert again.keys("c007") == set()


async def test_a_third_failing_run_in_a_row_makes_a_dead_letter(store: Store) -> None:
    sick = {"c007": Unavailable("503")}
    fates = [await run(Source(push_faults=faults), store, n) for n, faults in enumerate([sick, sick, {}, sick, sick])]
    assert [(record.failed, record.dead_lettered) for record in fates] == [(1, 0), (1, 0), (0, 0), (1, 0), (1, 0)]
    record = await run(Source(push_faults=sick), store, 5)
    assert (record.failed, record.dead_lettered) == (0, 1)
    [letter] = await rows(store, tables.dead_letters)
    assert (letter.campaign_id, letter.failures) == ("c007", 3)


# Listings that do not add up


class Repeating(Source):
    """Every page is the first one, and more is announced."""

    async def page(self, number: int) -> Page:
        return replace(await super().page(1), number=number, has_more=True)


class Endless(Source):
    """Each page has campaigns of its own, and more is announced."""

    async def page(self, number: int) -> Page:
        first = await super().page(1)
        listed = tuple(replace(each, id=f"{number}-{each.id}") for each in first.campaigns)
        return replace(first, number=number, campaigns=listed, has_more=True)


async def test_a_page_that_repeats_ends_in_a_clear_error(store: Store) -> None:
    record = await run(Repeating(), store)
    assert (record.outcome, record.listed) == (Outcome.FAILED, 10)
    assert record.error == "pages 2 to 11 bring nothing new, and more is still announced"
    assert reconciles(record)


async def test_a_listing_without_end_ends_in_a_clear_error(store: Store) -> None:
    record = await run(Endless(), store)
    assert (record.outcome, record.listed) == (Outcome.FAILED, 310)
    assert record.error == ("after 310 campaigns of the 20 that it names in all, the platform still announces more")
    assert reconciles(record)


async def test_a_listing_without_end_or_total_ends_in_a_clear_error(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adsyncd.runs.pipeline._MOST_LISTED", 500)
    record = await run(Endless(totals={1: None}), store)
    assert (record.outcome, record.listed) == (Outcome.FAILED, 510)
    assert record.error == "after 510 campaigns, the platform still announces more"


class Gaps(Source):
    """Some pages in the midst are empty."""

    empty = range(2, 6)

    async def page(self, number: int) -> Page:
        if number in self.empty:
            return Page(number, (), 20, has_more=True)
        return replace(await super().page(min(2, number)), number=number)


async def test_empty_pages_in_the_midst_are_asked_past(store: Store) -> None:
    record = await run(Gaps(), store)
    assert counts(record) == (Outcome.SUCCEEDED, 20, 20, 0, 0, 0)
    assert (record.note, record.listing) == (None, Listing.COMPLETE)


async def test_empty_pages_are_asked_past_a_bounded_number_of_times(store: Store) -> None:
    source = Gaps()
    source.empty = range(2, 99)
    record = await run(source, store)
    assert (record.outcome, record.error) == (
        Outcome.FAILED,
        "pages 2 to 11 bring nothing new, and more is still announced",
    )


async def test_a_page_without_news_among_others_is_no_error(store: Store) -> None:
    class Shifted(Source):
        async def page(self, number: int) -> Page:
            page = await super().page(1 if number == 2 else max(1, number - 1))
            return replace(page, number=number, has_more=number < 3)

    assert (await run(Shifted(), store)).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("total", [1, 19, 21, 10**7])
async def test_a_total_that_is_not_the_number_of_campaigns_is_a_note_and_no_error(store: Store, total: int) -> None:
    tally = Tally()
    record = await run(Source(totals=dict.fromkeys((1, 2), total)), store, tally=tally)
    assert counts(record) == (Outcome.SUCCEEDED, 20, 20, 0, 0, 0)
    assert (record.error, record.note) == (None, f"the platform named {total} campaigns in all and listed 20")
    assert (record.listing, tally.announced) == (Listing.COMPLETE, 20)
    assert await store.runs("acme", 1) == [record]


async def test_a_listing_does_without_a_total(store: Store) -> None:
    tally = Tally()
    record = await run(Source(totals=dict.fromkeys((1, 2), None)), store, tally=tally)
    assert counts(record) == (Outcome.SUCCEEDED, 20, 20, 0, 0, 0)
    assert (record.note, tally.announced) == (None, 20)


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


async def test_a_listing_of_somebody_else_s_campaigns_has_lost_all(store: Store) -> None:
    await run(Source(ids(20)), store, 0)
    record = await run(Source([f"other{number}" for number in range(30)]), store, 1)
    assert record.error is not None
    assert record.error.startswith("20 of 20 campaigns are missing")


async def test_dead_letters_are_closed_only_with_the_deletion_of_their_campaigns(store: Store) -> None:
    await run(Source(push_faults={"c007": Rejected("422", 422)}), store, 0)
    letters = []
    for number in (1, 2):
        await run(Source([]), store, number)
        letters.append(len(await rows(store, tables.dead_letters)))
    assert letters == [1, 0]


async def test_a_listing_with_an_item_without_an_id_marks_nothing_deleted(store: Store) -> None:
    await run(Source(), store, 0)
    for number in (1, 2, 3):
        record = await run(Source(ids(19), odd={2: Oddities(1, 1, ("page 2, item 10: id: missing",))}), store, number)
        assert (record.outcome, record.listing) == (Outcome.PARTIAL, None)
    assert await deleted(store) == set()


async def test_campaigns_that_change_places_while_they_are_listed_mark_nothing_deleted(store: Store) -> None:
    class Sorted(Source):
        async def page(self, number: int) -> Page:
            if number == 2:  # the one that changed last comes first
                self.campaigns = ["c010", *ids(10), *ids(20)[11:]]
            return await super().page(number)

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
        async def page(self, number: int) -> Page:
            if number == 2:
                self.campaigns = self.campaigns[1:]  # c010 is on page 1 by now, which was listed before
            return await super().page(number)

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


# What concerns the whole run


@pytest.mark.parametrize(
    "error",
    [
        SignInRefused("the platform refused the tenant's email and password"),
        CredentialsMissing("there is no adsyncd/acme"),
        WaitTooLong("the quota frees no permit for 1900 s, and the run has to end before that"),
        Rejected("403", 403),
        Unavailable("503"),
    ],
)
async def test_an_error_of_the_listing_fails_the_run_with_its_text(store: Store, error: Exception) -> None:
    record = await run(Source(page_faults={2: error}), store)
    assert (record.outcome, record.error) == (Outcome.FAILED, str(error))
    assert reconciles(record)
    assert await store.runs("acme", 1) == [record]


@pytest.mark.parametrize("error", [SignInRefused("no"), CredentialsMissing("none"), WaitTooLong("too long")])
async def test_an_error_of_a_push_that_concerns_all_fails_the_run_with_its_text(store: Store, error: Exception) -> None:
    source = Source(ids(100), push_faults={"c012": error})
    record = await run(source, store)
    assert (record.outcome, record.error) == (Outcome.FAILED, str(error))
    assert reconciles(record)
    assert len(source.pushed) == 15  # nothing was begun after it


async def test_what_is_on_its_way_comes_back_and_is_recorded_when_a_run_has_to_end(store: Store) -> None:
    class Uneven(Source):
        async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
            if campaign_id == "c002":
                await anyio.sleep(1)
                raise SignInRefused("no")
            return await super().push(campaign_id, key, again=again)

    source = Uneven()
    record = await run(source, store)
    assert record.error == "no"
    assert record.pushed == source.effects.total() == 4


async def test_of_several_errors_that_end_a_run_the_first_is_told(store: Store) -> None:
    class Falling(Source):
        async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
            if campaign_id == "c000":
                await anyio.sleep(1)
                raise CredentialsMissing("first")
            return await super().push(campaign_id, key, again=again)

    assert (await run(Falling(push_faults={"c001": SignInRefused("second")}), store)).error == "first"


async def test_a_run_that_takes_too_long_is_abandoned(store: Store) -> None:
    record = await run(Source(ids(50), push_s=100), store, tenant=a_tenant(run_deadline=timedelta(minutes=5)))
    assert (record.outcome, record.error) == (Outcome.ABANDONED, "not done within run_deadline (5m)")
    assert (record.pushed, record.listed) == (10, 30)
    assert reconciles(record)
    assert record.ended_at == record.started_at + timedelta(minutes=5)


async def test_a_run_that_was_waiting_when_its_time_was_up_says_what_for(store: Store) -> None:
    tally = Tally()

    class Held(Source):
        async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
            if self.pushed:
                with tally.waiting(WaitReason.BREAKER) as tell:
                    tell(Wait(WaitReason.BREAKER, detail="ads.invalid: nothing but failures"))
                    await anyio.sleep(1000)
            return await super().push(campaign_id, key, again=again)

    record = await run(Held(), store, tally=tally, tenant=a_tenant(run_deadline=timedelta(minutes=5), concurrency=1))
    assert record.error == (
        "not done within run_deadline (5m): was waiting for the circuit breaker of ads.invalid: nothing but failures"
    )
    assert (record.outcome, record.pushed) == (Outcome.ABANDONED, 1)


async def test_the_first_cause_is_told_even_when_time_is_up_before_the_rest_came_back(store: Store) -> None:
    source = Source(push_s=1000, page_faults={2: Unavailable("503")})
    record = await run(source, store, tenant=a_tenant(run_deadline=timedelta(minutes=5)))
    assert (record.outcome, record.error) == (Outcome.FAILED, "503")
    assert reconciles(record)


@pytest.mark.parametrize("faults", [{"page_faults": {2: KeyError("canary")}}, {"push_faults": {"c012": KeyError()}}])
async def test_a_mistake_of_ours_ends_the_run_and_goes_no_further(
    store: Store, faults: dict[str, Any], logged: list[Any]
) -> None:
    record = await run(Source(**faults), store)
    assert (record.outcome, record.error) == (Outcome.FAILED, "internal error: see the log")
    assert reconciles(record)
    [entry] = [entry for entry in logged if entry["event"] == "run broke down"]
    assert entry["exc_info"]
    assert await store.runs("acme", 1) == [record]


# Runs that are left open, and taken up


async def cut_off(source: Source, store: Store, number: int = 0, *, after_pages: int, pushes: int = 0) -> None:
    """Run until so many pages are kept and pushes settled, and lose the process at that instant."""
    with pytest.raises(BaseExceptionGroup):
        await run(source, Doomed(store, {"keep_page": after_pages, "settle": pushes}), number)


class Crash(BaseException):
    """The process is gone: nothing is recorded any more, and no answer arrives."""


@dataclass
class Doomed:
    """A journal whose process dies once it has done what is `left` of each kind."""

    store: Store
    left: dict[str, int]

    async def begin(self, run: Run) -> ResumePoint:
        return await self.store.begin(run)

    async def keep_page(self, run: Run, page: Page, policy: PushPolicy) -> list[Push]:
        fresh = await self.store.keep_page(run, page, policy)
        self._did("keep_page")
        return fresh

    async def settle(self, run: Run, push: Push) -> None:
        await self.store.settle(run, push)
        self._did("settle")

    async def missing(self, run: Run) -> tuple[int, int]:
        return await self.store.missing(run)

    async def finish(self, run: Run) -> int:  # noqa: ARG002 - the journal's signature
        raise Crash

    def _did(self, what: str) -> None:
        self.left[what] -= 1
        if max(self.left.values()) <= 0:
            raise Crash


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


async def test_a_clock_that_is_set_back_makes_no_run_end_before_it_began(store: Store) -> None:
    class SetBack(VirtualClock):
        def now(self) -> datetime:
            return super().now() - (timedelta(hours=1) if anyio.current_time() > began + 1 else timedelta(0))

    began = anyio.current_time()
    record = await run(Source(), store, clock=SetBack())
    assert record.ended_at == record.started_at


# Traces


async def test_a_run_is_one_trace_with_the_right_parents() -> None:
    spans = Spans()
    async with inline_store(tracer=spans.tracer) as traced:
        record = await run(Source(ids(25)), traced, tracer=spans.tracer)
    [root], [listing] = spans.named("sync.run"), spans.named("campaigns.list")
    parents = {span.name: set[str]() for span in spans.all()}
    by_id = {span.context.span_id: span.name for span in spans.all()}
    for span in spans.all():
        parents[span.name].add(by_id[span.parent.span_id] if span.parent else "")
    assert parents == {
        "sync.run": {""},
        "campaigns.list": {"sync.run"},
        "campaigns.page": {"campaigns.list"},
        "campaign.push": {"sync.run"},
        "store.write": {"sync.run", "campaigns.page", "campaign.push"},
    }
    assert {span.context.trace_id for span in spans.all()} == {int(record.trace_id, 16)}
    assert attributes(root) == {
        "adsyncd.tenant": "acme",
        "adsyncd.client_id": "acme",
        "adsyncd.run_id": record.run_id,
        "adsyncd.outcome": "succeeded",
    }
    assert [attributes(page)["adsyncd.page"] for page in spans.named("campaigns.page")] == [1, 2, 3]
    pushes = spans.named("campaign.push")
    assert sorted(str(attributes(push)["adsyncd.campaign_id"]) for push in pushes) == ids(25)
    assert {(attributes(push)["adsyncd.outcome"], attributes(push)["adsyncd.attempt"]) for push in pushes} == {
        ("pushed", 1)
    }
    writes = spans.named("store.write")
    owners = Counter(write.parent.span_id for write in writes if write.parent)
    assert all(owners[push.context.span_id] == 1 for push in pushes)  # each in its own push, not in a neighbour's
    assert {span.status.status_code for span in spans.all()} == {StatusCode.UNSET}
    assert listing.parent == root.context


async def test_spans_say_what_failed_and_how(store: Store) -> None:
    spans = Spans()
    failing = Unavailable("the platform answered 503")
    failing.attempts = 5
    faults = {"c003": failing, "c004": Rejected("422", 422)}
    await run(Source(ids(10), push_faults=faults), store, tracer=spans.tracer)
    failed = [span for span in spans.all() if span.status.status_code is StatusCode.ERROR]
    told = ("error.type", "adsyncd.outcome", "adsyncd.attempt")
    assert {
        (span.name, span.status.description, *(attributes(span).get(name) for name in told)) for span in failed
    } == {
        ("campaign.push", "the platform answered 503", "Unavailable", "failed", 5),
        ("campaign.push", "422", "Rejected", "dead_lettered", 1),
        ("sync.run", "2 of 10 campaigns were not pushed, the first because 422", "partial", "partial", None),
    }


async def test_a_run_that_failed_or_was_left_open_is_an_error_in_its_trace(store: Store) -> None:
    spans = Spans()
    await run(Source(page_faults={1: SignInRefused("no")}), store, 0, tracer=spans.tracer)
    await run(Source(page_faults={1: Stopping("stopping")}), store, 1, tracer=spans.tracer)
    roots = spans.named("sync.run")
    assert [(root.status.status_code, root.status.description) for root in roots] == [
        (StatusCode.ERROR, "no"),
        (StatusCode.ERROR, "stopping"),
    ]
    assert [attributes(root).get("adsyncd.outcome") for root in roots] == ["failed", None]
    assert [attributes(root)["error.type"] for root in roots] == ["failed", "Stopping"]


# Whatever happens


@dataclass
class Life:
    """One process: it dies at its call number `calls` of platform and store, before or after that takes place."""

    calls: int
    before: bool
    dead: bool = False

    def call(self, *, over: bool) -> None:
        """Say that a call begins or, if `over`, has taken place. Raises Crash if that is the end."""
        self.calls -= not over
        self.dead = self.dead or (self.calls <= 0 and self.before is not over)
        if self.dead:
            raise Crash


@dataclass
class World:
    """A flaky platform and the store behind it, as one process after another sees them."""

    random: Random
    source: Source
    store: Store
    life: Life

    async def page(self, number: int) -> Page:
        self.life.call(over=False)
        await anyio.sleep(self.random.uniform(0, 5))
        if self.random.random() < 0.05:
            raise self.random.choice([Unavailable("503"), BadAnswer("HTML"), WaitTooLong("long"), KeyError("oops")])
        page = await self.source.page(number)
        self.life.call(over=True)
        return page

    async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
        self.life.call(over=False)
        await anyio.sleep(self.random.uniform(0, 5))
        lost = self.random.random() < 0.2
        if not lost or self.random.random() < 0.5:  # an answer may be lost after it took effect
            self.source.push_s = self.random.uniform(0, 5)
            await self.source.push(campaign_id, key, again=again)
        if lost:
            raise self.random.choice([Unavailable("503"), BadAnswer("HTML"), Unauthorized("401"), Rejected("4", 422)])
        self.life.call(over=True)
        return self.random.randint(1, 5)

    async def begin(self, run: Run) -> ResumePoint:
        self.life.call(over=False)
        point = await self.store.begin(run)
        self.life.call(over=True)
        return point

    async def keep_page(self, run: Run, page: Page, policy: PushPolicy) -> list[Push]:
        self.life.call(over=False)
        fresh = await self.store.keep_page(run, page, policy)
        self.life.call(over=True)
        return fresh

    async def settle(self, run: Run, push: Push) -> None:
        self.life.call(over=False)
        await self.store.settle(run, push)
        self.life.call(over=True)

    async def missing(self, run: Run) -> tuple[int, int]:
        return await self.store.missing(run)

    async def finish(self, run: Run) -> int:
        self.life.call(over=False)
        letters = await self.store.finish(run)
        self.life.call(over=True)
        return letters


LIVES = st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.none() | st.floats(0, 60)), max_size=4)


@settings(max_examples=40)
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
                            await run_in(world, number, tenant)
                    except (Crash, BaseExceptionGroup):
                        assert world.life.dead
                    if any(
                        found.fire_time == fire_time(number) and found.outcome for found in await store.runs("acme", 1)
                    ):
                        break
                [record] = await store.runs("acme", 1)
                assert (record.fire_time, record.outcome is None) == (fire_time(number), False)
                assert reconciles(record)
                await check(record, source, store)
                source.pushed.clear()
                source.effects.clear()


async def run_in(world: World, number: int, tenant: Tenant) -> None:
    pipeline = Pipeline(
        tenant,
        world,
        world,
        Tally(),
        clock=VirtualClock(),
        tracer=NoOpTracer(),
        instruments=SILENT,
    )
    await pipeline.run(fire_time(number))


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
