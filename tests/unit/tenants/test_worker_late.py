"""Ticks that are skipped because a run is in progress, and how late the next one is."""

from datetime import datetime, timedelta
from typing import Any

import anyio
import pytest

from adsyncd.host.owner import ProcessOwner
from adsyncd.model.run import Outcome, Run, run_id
from adsyncd.model.tenant import Every
from adsyncd.model.verdict import Trouble
from adsyncd.rate.quota import Quota
from adsyncd.rate.wait import WaitReason
from adsyncd.runs.lease import Leases
from adsyncd.store import Store
from adsyncd.telemetry.instruments import RUNS_OVERLAPPED
from support.inline_store import Disk
from support.supervised import World, a_world, tenant

OTHER = "process 7 on box; elsewhere"
SCARCE = Quota(10, timedelta(seconds=20))  # a run of 22 requests waits two windows


def tick(world: World) -> datetime:
    """Let the tenant be due now, and return that instant."""
    world.supervisor.tick(world.tasks, "acme", world.clock.now())
    return world.clock.now()


async def ended(world: World, fire_time: datetime) -> Run:
    """Wait for the end of the run of a fire time, and return its record."""
    with anyio.fail_after(3600):
        while True:
            for run in await world.store.runs("acme", 99):
                if run.fire_time == fire_time and run.outcome:
                    return run
            await anyio.sleep(1)


async def test_a_skipped_tick_shows_at_once_in_the_status_and_in_the_store(world: World) -> None:
    began = tick(world)
    await anyio.sleep(1)
    tick(world)
    await anyio.sleep(1)
    progress = world.supervisor.worker("acme").status(None).run
    assert progress
    assert (progress.skipped_ticks, progress.late_s) == (1, 0.0)
    [in_progress] = await world.store.open_runs("acme")
    assert in_progress.skipped_ticks == 1
    await ended(world, began)


async def test_a_run_is_late_from_the_first_tick_that_was_skipped_before_it(world: World) -> None:
    first = tick(world)
    await anyio.sleep(1)
    skipped = tick(world)
    await anyio.sleep(1)
    tick(world)
    assert (await ended(world, first)).late_s == 0
    second = tick(world)
    await anyio.sleep(1)
    progress = world.supervisor.worker("acme").status(None).run
    run = await ended(world, second)
    assert progress
    assert progress.late_s == run.late_s == (run.started_at - skipped).total_seconds() > 2
    third = tick(world)
    assert (await ended(world, third)).late_s == 0


async def test_ticks_that_were_skipped_while_another_process_ran_are_on_record_in_its_run(store: Store) -> None:
    other = Leases(store, ProcessOwner(OTHER))
    async with a_world(store, tenant("acme")) as world:
        world.tasks.start_soon(other.run)
        async with other.hold("acme"):
            began = world.clock.now()
            await store.begin(Run("acme", run_id("acme", began), began, began, "0" * 32))
            await anyio.sleep(5)
            skipped = tick(world)
            await anyio.sleep(20)
            tick(world)
            await anyio.sleep(20)
            [in_progress] = await store.open_runs("acme")
            assert in_progress.skipped_ticks == 2
        tick(world)
        run = await ended(world, began)  # it is resumed
        assert (run.skipped_ticks, run.late_s) == (2, 0)
        late = await ended(world, tick(world))
        assert late.late_s == (late.started_at - skipped).total_seconds() > 40
        assert world.measured(RUNS_OVERLAPPED) == {"acme": 2}


async def test_a_run_whose_process_died_goes_on_with_its_skipped_ticks(store: Store) -> None:
    async with a_world(store, tenant("acme")) as world:
        began = tick(world)
        await anyio.sleep(3)
        tick(world)
        tick(world)
        await anyio.sleep(1)
    async with a_world(store, tenant("acme")) as world:
        tick(world)
        await anyio.sleep(1)
        tick(world)
        run = await ended(world, began)
    assert (run.outcome, run.skipped_ticks, run.late_s) == (Outcome.SUCCEEDED, 3, 0)


async def test_a_run_that_could_not_begin_is_late_from_the_first_skipped_tick_all_the_same(
    store: Store, disk: Disk
) -> None:
    async with a_world(store, tenant("acme")) as world:
        began = tick(world)
        await anyio.sleep(1)
        skipped = tick(world)
        await ended(world, began)
        disk.gone = True
        second = tick(world)
        await anyio.sleep(10)
        disk.gone = False
        late = await ended(world, second)
    assert late.late_s == (late.started_at - skipped).total_seconds() > 30


@pytest.mark.parametrize(
    ("treatment", "changes", "reason"),
    [
        ({}, {"quota": SCARCE}, WaitReason.QUOTA),
        ({"push_503": 0.5}, {}, WaitReason.BACKOFF),
    ],
)
async def test_the_time_of_a_run_is_split_by_what_it_waited_for(
    store: Store, treatment: dict[str, Any], changes: dict[str, Any], reason: WaitReason
) -> None:
    async with a_world(store, tenant("acme", **changes), acme=treatment) as world:
        run = await ended(world, tick(world))
    assert run.ended_at
    took_s = (run.ended_at - run.started_at).total_seconds()
    assert max(run.waits, key=lambda each: run.waits[each]) is reason
    assert run.waits[reason] >= 1
    assert sum(run.waits.values()) <= took_s


async def test_the_verdict_follows_what_the_worker_knows(store: Store) -> None:
    async with a_world(store, tenant("acme", quota=SCARCE, schedule=Every(timedelta(seconds=20)))) as world:
        worker = world.supervisor.worker("acme")
        assert worker.verdict is None
        began = tick(world)
        await anyio.sleep(21)
        assert worker.verdict is None
        tick(world)
        late = worker.verdict
        assert late
        assert (late.trouble, late.sentence) == (Trouble.LATE, "acme is late: its run in progress has skipped 1 tick.")
        assert worker.verdict is late  # it is judged only when something changes
        await ended(world, began)
        await anyio.sleep(1)
        assert worker.status(None).verdict is worker.verdict
        assert worker.verdict
        assert worker.verdict.sentence == "acme is late: its last run skipped 1 tick."
        assert (
            "waits for the quota of 10 requests per 20s, which its 22 requests use up twice over"
            in (worker.verdict.causes[0])
        )
        await worker.pause()
        assert worker.verdict
        assert worker.verdict.trouble is Trouble.PAUSED
        await worker.resume()
        await ended(world, tick(world))
        await anyio.sleep(1)
        assert worker.verdict is None
