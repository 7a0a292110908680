from dataclasses import replace
from datetime import timedelta

from adsyncd.model.day import Day
from adsyncd.model.run import Outcome, Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.rate.wait import WaitReason
from adsyncd.store import Store
from support.records import NOON, page, run

ENDED = replace(run(), ended_at=NOON, outcome=Outcome.SUCCEEDED)


async def latest(store: Store) -> Run:
    await store.pause("nobody", NOON)  # what was queued before is done with it
    return (await store.runs("acme", 1))[0]


async def test_a_skipped_tick_is_on_record_at_once_for_the_open_run_of_its_tenant_alone(store: Store) -> None:
    done = replace(run(number=-1), ended_at=NOON, outcome=Outcome.SUCCEEDED, skipped_ticks=7)
    await store.begin(run(number=-1))
    await store.finish(done)
    for tenant in ("acme", "globex"):
        await store.begin(run(tenant))
    for _ in range(3):
        store.note_skipped_tick("acme")
    assert (await latest(store)).skipped_ticks == 3
    assert [one.skipped_ticks for one in await store.open_runs("globex")] == [0]
    assert [one.skipped_ticks for one in await store.runs("acme", 9)] == [3, 7]


async def test_a_tick_that_is_skipped_with_no_run_in_progress_is_no_run_s(store: Store) -> None:
    store.note_skipped_tick("acme")
    await store.begin(run())
    await store.finish(ENDED)
    store.note_skipped_tick("acme")
    assert (await latest(store)).skipped_ticks == 0


async def test_the_end_of_a_run_never_lowers_its_skipped_ticks(store: Store) -> None:
    for number, (noted, told) in enumerate([(2, 0), (2, 3), (0, 1), (1, 1)]):
        this = run(number=number)
        await store.begin(this)
        for _ in range(noted):
            store.note_skipped_tick("acme")
        await store.finish(replace(this, ended_at=NOON, outcome=Outcome.SUCCEEDED, skipped_ticks=told))
        assert (await latest(store)).skipped_ticks == max(noted, told)


async def test_a_resumed_run_goes_on_with_its_skipped_ticks_and_is_as_late_as_it_was(store: Store) -> None:
    late = replace(run(), late_s=120.5, skipped_ticks=1)
    point = await store.begin(late)
    assert (point.late_s, point.tally.skipped_ticks) == (120.5, 1)
    store.note_skipped_tick("acme")
    await store.keep_page(late, page("c1"), PushPolicy.ALL)
    again = await store.begin(replace(late, started_at=NOON + timedelta(hours=1), late_s=7200.0, skipped_ticks=0))
    assert (again.late_s, again.tally.skipped_ticks) == (120.5, 2)
    assert (await latest(store)).late_s == 120.5


async def test_the_waits_and_the_lateness_of_a_run_are_kept_and_its_skipped_ticks_are_summed_up(store: Store) -> None:
    waits = {WaitReason.QUOTA: 119.25, WaitReason.STORE: 0.012}
    late = replace(ENDED, late_s=120.5, skipped_ticks=2, waits=waits)
    await store.begin(replace(run(), late_s=120.5))
    await store.finish(late)
    assert await store.runs("acme", 9) == [late]
    assert await store.days("acme") == [Day("acme", NOON.date(), runs_succeeded=1, skipped_ticks=2)]
