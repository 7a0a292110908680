from dataclasses import asdict, replace
from datetime import timedelta

import pytest
from opentelemetry.trace import NoOpTracer

from adsyncd.errors import RunEnded
from adsyncd.model.campaign import Campaign, Oddities, Push, PushState, idempotency_key
from adsyncd.model.run import Listing, Outcome, ResumePoint, Tally
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, beginning, ending, journal, open_store, tables
from support.records import NOON, HandClock, campaign, page, rows, run, settle

ALL = PushPolicy.ALL
PENDING, PUSHED, FAILED = PushState.PENDING, PushState.PUSHED, PushState.FAILED
DEAD_LETTERED = PushState.DEAD_LETTERED


async def test_a_push_is_journaled_with_its_key_before_it_is_handed_out(store: Store) -> None:
    await store.begin(run())
    await store.keep_page(run(), page("c1"), ALL)
    [journaled] = await rows(store, tables.pushes)
    assert journaled.idempotency_key == idempotency_key("acme", "c1", run().run_id)
    assert (journaled.owed_at, journaled.settled_at) == (NOON, None)


async def test_what_a_run_has_seen_is_not_owed_twice(store: Store) -> None:
    await store.begin(run())
    first = await store.keep_page(run(), page("c1", "c1", "c2", has_more=True), ALL)
    await settle(store, run(), first[0], PUSHED)
    assert [push.campaign_id for push in first] == ["c1", "c2"]
    assert await store.keep_page(run(), page("c1", "c2", "c3", number=2), ALL) == [Push("c3", PENDING)]


async def test_a_campaign_is_kept_as_the_platform_listed_it(store: Store) -> None:
    listed = replace(campaign("c1", "Größe"), created_at=NOON.astimezone(tz=None) - timedelta(microseconds=1))
    await store.begin(run())
    await store.keep_page(run(), page(listed), ALL)
    [kept] = await rows(store, tables.campaigns)
    assert {**asdict(listed), "tenant": "acme", "campaign_id": "c1"}.items() - {("id", "c1")} <= kept._asdict().items()
    assert kept.created_at.utcoffset() == timedelta(0)
    assert kept.synced_at is None


async def test_a_campaign_is_synced_when_its_push_is_settled(store: Store, clock: HandClock) -> None:
    await store.begin(run())
    [push] = await store.keep_page(run(), page("c1"), ALL)
    clock.instant += timedelta(seconds=2)
    await settle(store, run(), push, PUSHED)
    [kept] = await rows(store, tables.campaigns)
    assert kept.synced_at == NOON + timedelta(seconds=2)


async def test_a_run_left_open_is_taken_up_where_it_stood(store: Store, url: str) -> None:
    await store.begin(run())
    pushes = await store.keep_page(run(), page("c1", "c2", "c3", "c4", has_more=True), ALL)
    await settle(store, run(), pushes[0], PUSHED, attempts=1)
    await settle(store, run(), pushes[1], FAILED, attempts=5)
    async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as after:
        [left] = await after.open_runs()
        point = await after.begin(
            replace(
                left, trace_id="f" * 32, span_id="e" * 16, account_hash="d" * 16, started_at=NOON + timedelta(hours=1)
            )
        )
        assert point == ResumePoint(
            started_at=NOON,
            next_page=2,
            complete=False,
            owed=(Push("c3", PENDING), Push("c4", PENDING)),
            tally=Tally(listed=4, pushed=1, failed=1, requests=7, retries=4),
            announced=4,
            source="",
        )
        [again] = await after.open_runs()
        assert (again.trace_id, again.span_id, again.account_hash) == ("f" * 32, "e" * 16, "d" * 16)
        await after.keep_page(left, page("c5", number=2), ALL)
        assert (await after.begin(left)).complete


async def test_the_account_of_a_run_is_on_record_from_its_beginning_on(store: Store) -> None:
    of_account = replace(run(), account_hash="a" * 16)
    await store.begin(of_account)
    assert [one.account_hash for one in await store.open_runs()] == ["a" * 16]
    await store.finish(replace(of_account, ended_at=NOON, outcome=Outcome.FAILED))
    [ended] = (await store.last_runs()).values()
    assert ended.account_hash == "a" * 16


async def test_a_run_left_open_before_its_first_page_began_when_it_began(store: Store) -> None:
    await store.begin(run())
    point = await store.begin(replace(run(), started_at=NOON + timedelta(hours=1)))
    assert (point.started_at, point.next_page) == (NOON, 1)


async def test_a_listing_that_is_used_again_took_no_requests(store: Store) -> None:
    await store.begin(run())
    await store.keep_page(run(), replace(page("c1"), listed_at=NOON - timedelta(minutes=1)), ALL)
    assert (await store.begin(run())).tally == Tally(listed=1)


async def test_a_listing_is_complete_with_its_last_page_whatever_the_platform_names(store: Store) -> None:
    await store.begin(run())
    await store.keep_page(run(), replace(page("c1", has_more=True), total=9), ALL)
    assert not (await store.begin(run())).complete
    await store.keep_page(run(), replace(page("c2", number=2), total=1), ALL)
    point = await store.begin(run())
    assert (point.announced, point.complete) == (9, True)


async def test_a_run_that_has_ended_does_not_begin_again(store: Store) -> None:
    await store.begin(run())
    await store.finish(replace(run(), ended_at=NOON))
    with pytest.raises(RunEnded, match=f"{run().run_id} has ended"):
        await store.begin(run())


async def test_a_campaign_is_kept_without_the_values_that_it_does_not_have(store: Store) -> None:
    bare = Campaign("c1", None, None, None, None, None, None, None, None, '{"id":"c1","name":"\\u0000 \\ud800"}')
    await store.begin(run())
    await store.keep_page(run(), replace(page(bare), source="ads", etag="v1"), ALL)
    assert await store.kept_page("acme", "ads", 1) == replace(page(bare), source="ads", etag="v1")


async def test_words_that_a_database_can_t_store_are_stored_without_what_it_can_t(store: Store) -> None:
    await store.begin(run())
    [push] = await store.keep_page(run(), page("c1"), ALL)
    await settle(store, run(), push, DEAD_LETTERED, error="no\x00 \ud83d \U0001f600")
    await store.finish(replace(run(), ended_at=NOON, error="a\x00", note="b\udcff"))
    [letter] = await store.dead_letters()
    [ended] = await store.runs("acme", 9)
    assert (letter.reason, ended.error, ended.note) == ("no\ufffd \ufffd \U0001f600", "a\ufffd", "b\ufffd")


async def test_a_run_that_is_taken_up_knows_of_the_odd_items_that_it_listed(store: Store) -> None:
    odd = replace(page("c1", has_more=True), odd=Oddities(2, 1, ("c1: budget", "page 1, item 2: id")), etag="v1")
    await store.begin(run())
    await store.keep_page(run(), odd, ALL)
    await store.keep_page(run(), replace(page("c2", number=2), odd=Oddities(1, 0, ("c2: name",))), ALL)
    assert (await store.begin(run())).odd == "c1: budget; page 1, item 2: id"
    assert await store.kept_page("acme", "", 1) is None  # of which the items could not be shown again


async def test_a_page_may_do_without_a_total(store: Store) -> None:
    unnamed = replace(page("c1"), total=None, source="ads", etag="v1")
    await store.begin(run())
    await store.keep_page(run(), unnamed, ALL)
    assert await store.kept_page("acme", "ads", 1) == unnamed
    assert (await store.begin(run())).announced == 0


async def test_history_keeps_no_pushes_of_runs_that_ended(store: Store) -> None:
    await store.begin(run("globex"))
    await store.keep_page(run("globex"), page("g1"), ALL)
    await store.begin(run())
    await store.keep_page(run(), page("c1"), ALL)
    await store.finish(replace(run(), ended_at=NOON))
    assert [push.campaign_id for push in await rows(store, tables.pushes)] == ["g1"]


async def test_a_page_that_was_kept_in_part_is_owed_in_part_and_kept_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PIECE", 2)
    whole = replace(page("c1", "c2", "c3", "c4", "c5"), source="ads", etag="v1")
    await store.begin(run())
    first, *_ = journal.Keep(run(), whole, ALL, NOON).pieces()
    assert [push.campaign_id for push in await store._write(journal.keep, first)] == ["c1", "c2"]
    point = await store.begin(run())  # as after a crash
    assert (point.next_page, point.complete, point.tally) == (1, False, Tally(listed=2))
    assert [push.campaign_id for push in point.owed] == ["c1", "c2"]
    assert await store.kept_page("acme", "ads", 1) is None
    assert [push.campaign_id for push in await store.keep_page(run(), whole, ALL)] == ["c3", "c4", "c5"]
    assert await store.kept_page("acme", "ads", 1) == whole
    point = await store.begin(run())
    assert (point.next_page, point.complete, len(point.owed)) == (2, True, 5)


@pytest.mark.parametrize("size", range(6))
def test_the_pieces_of_a_page_are_all_of_it_and_the_last_one_ends_it(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PIECE", 2)
    whole = page(*(f"c{number}" for number in range(size)))
    pieces = journal.Keep(run(), whole, ALL, NOON).pieces()
    assert sum((each.page.campaigns[each.start : each.stop] for each in pieces), ()) == whole.campaigns
    assert [each.stop is None for each in pieces] == [False] * (len(pieces) - 1) + [True]
    assert len(pieces) == max(1, (size + 1) // 2)


async def test_the_run_of_a_tenant_with_many_campaigns_begins_as_that_of_any_other(store: Store) -> None:
    ids = [f"c{number}" for number in reversed(range(1000, 1000 + beginning._COUNTED + 9))]
    await store.begin(run())
    await store.keep_page(run(), page(*ids), ALL)
    await store.finish(replace(run(), ended_at=NOON))
    await store.begin(run(number=1))
    await store.keep_page(run(number=1), page(*ids[3:]), ALL)
    await store.finish(replace(run(number=1), ended_at=NOON, listing=Listing.COMPLETE))
    began = run(number=2)
    expected = ResumePoint(began.started_at, 1, complete=False, owed=(), tally=Tally(), live=len(ids), missed=3)
    assert await store.begin(began) == expected
    await store.keep_page(began, page(*ids[5:]), ALL)
    assert await store.missing(began) == (5, 3)


async def list_five(store: Store) -> None:
    """Begin and end a run that lists all of five campaigns."""
    await store.begin(run())
    await store.keep_page(run(), page("c1", "c2", "c3", "c4", "c5"), ALL)
    await store.finish(replace(run(), ended_at=NOON, listing=Listing.COMPLETE))


async def test_an_end_that_a_crash_cuts_short_leaves_an_open_run_and_marks_that_are_true(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "PIECE", 2)
    await list_five(store)
    done = [replace(run(number=number), ended_at=NOON, listing=Listing.COMPLETE) for number in (1, 2)]
    for each in (run(number=1), run(number=2)):
        await store.begin(each)
        await store.keep_page(each, page("c3"), ALL)

    left = await store._write(ending.finish, ending.Finish(done[0], NOON))
    assert left == ending.Finish(done[0], NOON, after="c2")
    assert [each.run_id for each in await store.open_runs()] == [each.run_id for each in done]
    assert [push.campaign_id for push in (await store.begin(run(number=1))).owed] == ["c3"]
    assert await marked(store) == {"c1": (True, False), "c2": (True, False)}

    await store.finish(replace(done[0], listing=None))  # as a run that is resumed ends
    await store.finish(done[1])
    expected = {"c1": (True, True), "c2": (True, True), "c4": (True, False), "c5": (True, False)}
    assert await marked(store) == expected


async def test_an_ended_run_stays_as_it_is_though_it_is_ended_again_in_pieces(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "PIECE", 2)
    await list_five(store)
    assert len(await rows(store, tables.pushes)) == 3  # they are left, and no run owes them
    await store.finish(replace(run(), ended_at=NOON, listing=Listing.COMPLETE))
    with pytest.raises(RunEnded):
        await store.begin(run())
    assert (await marked(store), len(await rows(store, tables.pushes))) == ({}, 3)
    await store.begin(run(number=1))
    assert (await store.begin(run(number=1))).owed == ()


async def marked(store: Store) -> dict[str, tuple[bool, bool]]:
    """Return the campaigns that are marked missing, and which of them are marked deleted."""
    return {
        row.campaign_id: (True, row.deleted_at is not None)
        for row in await rows(store, tables.campaigns)
        if row.missed_at
    }


async def test_a_run_that_is_taken_up_knows_the_cursor_of_its_next_page_once_the_page_before_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PIECE", 1)
    first, second = (replace(page("c1", "c2", number=n, has_more=True), next=f"to {n + 1}") for n in (1, 2))
    assert (await store.begin(run())).cursor is None
    await store.keep_page(run(), first, ALL)
    assert ((point := await store.begin(run())).next_page, point.cursor) == (2, "to 2")
    some, *_ = journal.Keep(run(), second, ALL, NOON).pieces()  # and the process dies
    await store._write(journal.keep, some)
    assert ((point := await store.begin(run())).next_page, point.cursor) == (2, "to 2")
    await store.keep_page(run(), second, ALL)
    assert ((point := await store.begin(run())).next_page, point.cursor) == (3, "to 3")
    await store.keep_page(run(), first, ALL)  # of a listing that begins anew
    assert ((point := await store.begin(run())).next_page, point.cursor) == (2, "to 2")
    await store.keep_page(run(), page("c3", number=2), ALL)
    assert (await store.begin(run())).cursor is None


async def test_a_cursor_that_a_database_can_t_store_costs_no_page(store: Store) -> None:
    await store.begin(run())
    await store.keep_page(run(), replace(page("c1", has_more=True), next="a\x00b\ud800"), ALL)
    assert (await store.begin(run())).cursor == "a\ufffdb\ufffd"
