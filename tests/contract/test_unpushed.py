from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from adsyncd.errors import StoreError
from adsyncd.model.campaign import Campaign, PushState
from adsyncd.model.failure import Unpushed, unpushed_of
from adsyncd.model.run import Outcome, Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, ending, tables, unpushed
from support.plans import scans
from support.records import NOON, HandClock, bury, campaign, page, rows, run, settle

FAILED, DEAD, PUSHED, SKIPPED = PushState.FAILED, PushState.DEAD_LETTERED, PushState.PUSHED, PushState.SKIPPED
A_MINUTE = timedelta(minutes=1)


async def fail(store: Store, clock: HandClock, this: Run, *ids: str | Campaign, state: PushState = FAILED) -> None:
    """Let campaigns that are new to a run fail in it, one a minute."""
    for push in await store.keep_page(this, page(*ids), PushPolicy.ALL):
        if push.state is PushState.PENDING:
            clock.instant += A_MINUTE
            await settle(store, this, push, state, attempts=3, error=f"503: {push.campaign_id}")


def ended(this: Run, failed: int = 0, dead: int = 0, untried: int = 0) -> Run:
    return replace(
        this, ended_at=NOON, outcome=Outcome.PARTIAL, failed=failed + untried, dead_lettered=dead, untried=untried
    )


def ids(found: Sequence[Unpushed]) -> list[str]:
    return [one.campaign_id for one in found]


async def test_an_ended_run_keeps_what_it_did_not_push_with_reasons_and_the_latest_failure_first(
    store: Store, clock: HandClock
) -> None:
    await store.begin(run())
    await fail(store, clock, run(), campaign("c1", "Spring sale"), "c2")
    await fail(store, clock, run(), "c3", state=DEAD)
    await fail(store, clock, run(), "c4", state=PUSHED)
    await store.keep_page(run(), page("c5"), PushPolicy.ALL)  # never tried
    so_far = await store.unpushed(run().run_id)
    await store.finish(ended(run(), failed=2, dead=1, untried=1))
    found = await store.unpushed(run().run_id)
    assert found == [
        Unpushed("c3", DEAD, "503: c3", 3, NOON + 3 * A_MINUTE, ""),
        Unpushed("c2", FAILED, "503: c2", 3, NOON + 2 * A_MINUTE, ""),
        Unpushed("c1", FAILED, "503: c1", 3, NOON + A_MINUTE, "Spring sale"),
    ]
    assert so_far == found
    assert await rows(store, tables.pushes) == []
    kept = await store.run(run().run_id)
    assert kept
    assert (kept.untried, unpushed_of(kept)) == (1, 3)


async def test_a_dead_letter_that_a_run_skips_is_kept_with_the_reason_and_the_time_of_its_death(
    store: Store, clock: HandClock
) -> None:
    await bury(store, "acme", "c1", reason="422: over budget")
    clock.instant = NOON + timedelta(days=3)
    for number in range(1, 4):
        await store.begin(run(number=number))
        await fail(store, clock, run(number=number), "c1", "c2")
        await store.finish(ended(run(number=number), failed=1, dead=1))
    for number in range(1, 4):
        failed, dead = await store.unpushed(run(number=number).run_id)
        assert (failed.campaign_id, failed.state, failed.since) == (
            *("c2", FAILED),
            NOON + timedelta(days=3, minutes=number),
        )
        assert dead == Unpushed("c1", DEAD, "422: over budget", 5, NOON, "")


async def test_a_dead_letter_that_was_closed_meanwhile_is_kept_without_a_reason(store: Store, clock: HandClock) -> None:
    await bury(store, "acme", "c1")
    clock.instant += A_MINUTE
    await store.begin(run(number=1))
    await store.keep_page(run(number=1), page("c1"), PushPolicy.ALL)
    await store.discard(await store.dead_letters())
    await store.finish(ended(run(number=1), dead=1))
    assert await store.unpushed(run(number=1).run_id) == [Unpushed("c1", DEAD, None, 0, clock.instant, "")]


async def test_of_many_the_latest_failures_are_kept_before_dead_letters_of_earlier_runs(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpushed, "_OPEN", unpushed._open(3))
    await bury(store, "acme", "d1", "d2", "d3")
    for number, names, kept in (
        (1, ["c1", "c2"], ["c2", "c1", "d1"]),
        (2, ["c1", "c2", "c3", "c4"], ["c4", "c3", "c2"]),
    ):
        await store.begin(run(number=number))
        await fail(store, clock, run(number=number), "d1", "d2", "d3", *names)
        await store.finish(ended(run(number=number), failed=len(names), dead=3))
        assert ids(await store.unpushed(run(number=number).run_id)) == kept


async def test_pages_of_what_was_not_pushed_follow_each_other(store: Store, clock: HandClock) -> None:
    await store.begin(run())
    await fail(store, clock, run(), "c1", "c2", "c3")
    clock.instant -= A_MINUTE  # so that two failed at once
    await fail(store, clock, run(), "c4")
    for end in (None, ended(run(), failed=4)):
        if end:
            await store.finish(end)
        pages, after = [], None
        while found := ids(await store.unpushed(run().run_id, limit=2, after=after)):
            pages.append(found)
            after = found[-1]
        assert pages == [["c3", "c4"], ["c2", "c1"]]
        assert await store.unpushed(run().run_id, after="c9") == []
    assert await store.unpushed("acme-20200101T000000.000Z") == []


async def test_a_run_that_pushed_all_reads_and_keeps_nothing(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpushed, "of_open_run", None)  # calling it fails
    await store.begin(run())
    await fail(store, clock, run(), "c1", state=PUSHED)
    await store.keep_page(run(), page("c2"), PushPolicy.ALL)
    await store.finish(ended(run(), untried=1))
    assert await rows(store, tables.unpushed) == []


async def test_what_was_not_pushed_and_the_end_are_one_write(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill -9` leaves what a failed transaction leaves."""
    await store.begin(run())
    await fail(store, clock, run(), "c1", "c2")
    monkeypatch.setattr(ending, "remove_pushes", None)  # calling it fails, after both were written
    with pytest.raises(StoreError):
        await store.finish(ended(run(), failed=2))
    assert await rows(store, tables.unpushed) == []
    assert [one.run_id for one in await store.open_runs()] == [run().run_id]
    monkeypatch.undo()
    await store.finish(ended(run(), failed=2))
    assert ids(await store.unpushed(run().run_id)) == ["c2", "c1"]


async def test_an_end_in_pieces_keeps_it_with_the_last_one(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "PIECE", 1)
    await store.begin(run())
    await fail(store, clock, run(), "c1", "c2", "c3")
    await store.finish(replace(ended(run(), failed=3), listing="complete"))  # type: ignore[arg-type]  # its value
    assert ids(await store.unpushed(run().run_id)) == ["c3", "c2", "c1"]


async def test_a_large_run_s_failures_are_chosen_without_holding_other_writes(store: Store, clock: HandClock) -> None:
    await store.begin(run())
    await fail(store, clock, run(), *(f"c{number:04}" for number in range(1200)))
    await store.finish(ended(run(), failed=1200))
    found = ids(await store.unpushed(run().run_id))
    assert (len(found), found[0], found[-1]) == (1000, "c1199", "c0200")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_what_was_not_pushed_is_found_by_an_index(store: Store, clock: HandClock) -> None:
    with scans(store) as scanned:
        await store.begin(run())
        await fail(store, clock, run(), "c1", "c2")
        await store.unpushed(run().run_id, after="c2")
        await store.finish(ended(run(), failed=2))
        assert ids(await store.unpushed(run().run_id, after="c2")) == ["c1"]
    assert not scanned
