from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adsyncd.errors import ListingError
from adsyncd.model.campaign import Oddities, Page, Push, PushState
from adsyncd.model.run import Listing, Outcome, ResumePoint, Run, Tally
from adsyncd.runs.progress import RunCounts
from support.records import NOON, page
from support.records import run as a_run

LATER = NOON + timedelta(minutes=5)
START = ResumePoint(NOON, 1, False, (), Tally())  # noqa: FBT003 - nothing is listed


def a_progress(counts: Tally | None = None, **point: Any) -> RunCounts:  # noqa: ANN401 - a resume point's fields
    return RunCounts(replace(START, **point), counts or Tally(), page_size=2)


def listed(progress: RunCounts, *states: PushState, **details: Any) -> Page:  # noqa: ANN401 - a page's
    """Count a page of campaigns of which the run owes pushes in these states, and return it."""
    ids = [f"c{number}" for number in range(len(states))]
    seen = replace(page(*ids), **details)
    progress.add_page(seen, [Push(each, state) for each, state in zip(ids, states, strict=True)])
    return seen


OWED, SKIPPED = PushState.PENDING, PushState.SKIPPED
COLLAPSED = "6 of 10 campaigns are missing from the listing: none is marked deleted unless the next listing agrees"
LOST = "of 4 campaigns were not pushed, the first because"


@pytest.mark.parametrize(
    ("settled", "missing", "failure", "outcome", "failed", "error"),
    [
        (["pushed", "pushed"], (0, 0), None, Outcome.SUCCEEDED, 0, None),
        (["pushed", "failed"], (0, 0), None, Outcome.PARTIAL, 1, f"1 {LOST} c1"),
        (["failed", "dead_lettered"], (0, 0), None, Outcome.PARTIAL, 1, f"2 {LOST} c0"),
        (["pushed"], (0, 0), (Outcome.FAILED, "503"), Outcome.FAILED, 1, "503"),
        (["pushed", "pushed"], (6, 0), None, Outcome.PARTIAL, 0, COLLAPSED),
    ],
)
def test_the_outcome_follows_from_the_evidence_and_the_counts_reconcile(
    settled: list[str],
    missing: tuple[int, int],
    failure: tuple[Outcome, str] | None,
    outcome: Outcome,
    failed: int,
    error: str | None,
) -> None:
    progress = a_progress(live=10)
    seen = listed(progress, OWED, OWED, SKIPPED, SKIPPED)
    progress.end_listing(seen)
    for number, state in enumerate(settled):
        progress.add_push(Push(f"c{number}", PushState(state), error=f"c{number}"))
    assert progress.lists_all
    record = progress.ended(a_run(), LATER, failure, missing)
    assert (record.outcome, record.failed, record.error, record.ended_at) == (outcome, failed, error, LATER)
    assert record.listed == record.pushed + record.skipped + record.dead_lettered + record.failed
    assert record.untried == 2 - len(settled)
    assert record.listing is (Listing.COLLAPSED if missing[0] else Listing.COMPLETE)


@pytest.mark.parametrize(
    ("point", "details", "listing"),
    [
        ({}, {}, Listing.COMPLETE),
        ({}, {"listed_at": NOON}, Listing.KEPT),
        ({"next_page": 2}, {}, None),  # two lives of the run listed it
        ({}, {"odd": Oddities(1, 1, ("no id",))}, None),
        ({}, {"odd": Oddities(1, 0, ("no budget",))}, Listing.COMPLETE),
        ({}, {"campaigns": page("c0", "c0", "c9").campaigns}, None),  # one was on an earlier page, too
    ],
)
def test_only_a_listing_of_one_piece_says_what_is_missing(
    point: dict[str, Any], details: dict[str, Any], listing: Listing | None
) -> None:
    progress = a_progress(**point)
    seen = listed(progress, OWED, **details)
    assert not progress.lists_all  # before its end
    progress.end_listing(seen)
    assert progress.lists_all is (listing is Listing.COMPLETE)
    assert progress.ended(a_run(), LATER, None, None).listing is listing


def test_an_open_run_keeps_its_counts_and_what_is_not_settled_has_not_failed() -> None:
    tally = Tally()
    before = Tally(listed=3, pushed=1, dead_lettered=1, requests=9, retries=2)
    progress = a_progress(tally, tally=before, announced=5)
    assert (tally.announced, tally.requests, tally.retries) == (5, 9, 2)
    progress.add_push(Push("c7", PushState.PUSHED))
    record = progress.left_open(a_run(), "stopping")
    assert record == replace(a_run(), listed=3, pushed=2, dead_lettered=1, requests=9, retries=2, error="stopping")


def test_a_clock_that_is_set_back_makes_no_run_end_before_it_began() -> None:
    record: Run = a_progress().ended(a_run(), NOON - timedelta(hours=1), None, None)
    assert record.ended_at == record.started_at


@pytest.mark.parametrize(
    ("total", "fresh", "pages", "why"),
    [
        (None, 0, 10, "pages 1 to 10 bring nothing new"),
        (1, 2, 16, "after 32 campaigns of the 1 that it names in all, the platform still announces more"),
        (None, 2, 51, "after 102 campaigns, the platform still announces more"),
    ],
)
def test_a_listing_without_end_is_noticed(
    monkeypatch: pytest.MonkeyPatch, total: int | None, fresh: int, pages: int, why: str
) -> None:
    monkeypatch.setattr("adsyncd.runs.progress._MOST_LISTED", 100)
    progress = a_progress()
    for number in range(1, pages):
        listed(progress, *[OWED] * fresh, total=total, has_more=True)
        progress.check_end(number)
    listed(progress, *[OWED] * fresh, total=total, has_more=True)
    with pytest.raises(ListingError, match=why):
        progress.check_end(pages)


def test_a_kept_listing_that_a_crash_left_in_part_has_no_campaign_on_two_pages() -> None:
    progress = a_progress(owed=(Push("c0", OWED),), tally=Tally(listed=1))
    seen = replace(page("c0", "c1"), listed_at=NOON)
    progress.add_page(seen, [Push("c1", OWED)])
    progress.end_listing(seen)
    record = progress.ended(a_run(), LATER, None, None)
    assert (record.listed, record.note, record.listing) == (2, None, None)
