"""An operator ends a run in progress."""

from datetime import timedelta

import anyio
import pytest

from adsyncd.errors import CommandRefused
from adsyncd.model.run import CANCELLED, Outcome, Run
from adsyncd.model.status import State
from adsyncd.model.verdict import Trouble
from adsyncd.rate.quota import Quota
from adsyncd.store import Store
from support.inline_store import Disk, inline_store
from support.pipelines import fire_time, reconciles
from support.supervised import World, a_world, tenant

HOURLY = Quota(9, timedelta(hours=1))  # two pages, and seven of twenty pushes


async def waiting(world: World, pushed: int) -> None:
    """Wait until the run has pushed so many campaigns, and all others wait."""
    with anyio.fail_after(600):
        while not (going := world.supervisor.worker("acme").going) or going.tally.pushed < pushed:  # noqa: ASYNC110 - the run's
            await anyio.sleep(0.5)
    await anyio.sleep(5)


async def rest(world: World) -> None:
    with anyio.fail_after(60):
        while world.supervisor.worker("acme").busy:  # noqa: ASYNC110 - nothing tells of it
            await anyio.sleep(0.1)


async def cancelled(world: World, *, resumable: bool, pushed: int = 7) -> Run:
    """Run until all requests wait for an hour, cancel that, and return the record of the run."""
    world.tick()
    await waiting(world, pushed)
    before = world.clock.now()
    run_id = world.supervisor.worker("acme").cancel(resumable=resumable)
    await rest(world)
    assert world.clock.now() - before < timedelta(seconds=5)
    [run] = await world.store.runs("acme", 9)
    assert run.run_id == run_id
    return run


async def test_a_cancelled_run_ends_at_once_as_abandoned_and_all_its_campaigns_are_accounted_for(store: Store) -> None:
    async with a_world(store, tenant("acme", quota=HOURLY, run_deadline=timedelta(days=1))) as world:
        run = await cancelled(world, resumable=False)
        assert (run.outcome, run.error, run.note) == (Outcome.ABANDONED, None, CANCELLED)
        assert (run.listed, run.pushed, run.failed, run.untried) == (20, 7, 13, 13)
        assert reconciles(run)
        assert run.requests == 9
        status = world.supervisor.worker("acme").status(None)
        assert (status.state, status.error, status.verdict, status.last_run) == (State.IDLE, None, None, run)
        assert await world.store.open_runs() == []


async def test_the_last_run_of_a_removed_tenant_can_be_cancelled_which_then_is_gone(store: Store) -> None:
    async with a_world(store, tenant("acme", quota=HOURLY, run_deadline=timedelta(days=1))) as world:
        world.tick()
        await waiting(world, pushed=7)
        worker = world.supervisor.worker("acme")
        world.supervisor.remove("acme")
        assert worker.state is State.DRAINING
        worker.cancel(resumable=True)
        with anyio.fail_after(60):
            while "acme" in world.supervisor.workers:  # noqa: ASYNC110 - nothing tells of it
                await anyio.sleep(0.1)
        assert [run.tenant for run in await world.store.open_runs()] == ["acme"]


async def test_requests_in_flight_finish_and_their_outcomes_are_recorded(store: Store) -> None:
    async with a_world(store, tenant("acme"), acme={"push_latency_s": 5}) as world:
        world.tick()
        await anyio.sleep(3)  # the first pushes are in flight
        assert (await world.ledger())["effects_total"] < 20
        world.supervisor.worker("acme").cancel(resumable=False)
        await rest(world)
        [run] = await world.store.runs("acme", 9)
        effects = (await world.ledger())["effects_total"]
    assert 0 < run.pushed == effects < 20
    assert run.failed == run.untried == 20 - effects
    assert reconciles(run)


async def test_a_run_that_stays_open_is_resumed_by_the_next_tick_with_its_keys(store: Store) -> None:
    async with a_world(store, tenant("acme", quota=HOURLY, run_deadline=timedelta(days=1))) as world:
        left = await cancelled(world, resumable=True)
        assert (left.outcome, left.pushed) == (None, 7)
        worker = world.supervisor.worker("acme")
        assert str(worker.status(None).error) == f"{CANCELLED}; the next run resumes it"
        await anyio.sleep(100)
        assert not worker.busy  # nothing resumes it before the next tick
        world.tick(number=1)
        await anyio.sleep(3 * 3600)  # for thirteen pushes
        run = await world.ended()
        assert (run.run_id, run.outcome, run.pushed, run.failed) == (left.run_id, Outcome.SUCCEEDED, 20, 0)
        assert all(set(keys.values()) == {1} for keys in (await world.ledger())["effects"].values())
        assert worker.status(None).error is None


async def test_what_a_cancelled_run_says_changes_no_verdict(store: Store) -> None:
    async with a_world(store, tenant("acme", max_attempts=1)) as world:
        await world.treat("acme", fault="503")
        world.tick()
        await world.ended()
        await world.treat("acme", fault="none", push_latency_s=5)
        world.tick(number=1)
        await anyio.sleep(3)
        world.supervisor.worker("acme").cancel(resumable=False)
        await rest(world)
        status = world.supervisor.worker("acme").status(None)
        assert status.last_run
        assert status.last_run.was_cancelled
        assert status.verdict
        assert status.verdict.trouble is Trouble.FAILING
        assert status.error


async def test_only_a_run_in_progress_is_cancelled_and_once(store: Store) -> None:
    async with a_world(store, tenant("acme"), acme={"push_latency_s": 5}) as world:
        worker = world.supervisor.worker("acme")
        with pytest.raises(CommandRefused, match="no run of acme is in progress; see adsyncd status acme"):
            worker.cancel(resumable=False)
        world.tick()
        await anyio.sleep(3)
        worker.cancel(resumable=True)
        with pytest.raises(CommandRefused, match="the run of acme ends already: cancelled by an operator; the next"):
            worker.cancel(resumable=False)
        await rest(world)
        with pytest.raises(CommandRefused, match="no run"):
            worker.cancel(resumable=False)


async def test_a_run_that_the_database_keeps_from_beginning_does_not_begin() -> None:
    disk = Disk()
    async with inline_store(disk) as store, a_world(store, tenant("acme")) as world:
        disk.gone = True
        world.tick()
        await anyio.sleep(1)
        worker = world.supervisor.worker("acme")
        assert worker.running
        assert worker.cancel(resumable=False) is None
        await rest(world)
        disk.gone = False
        await anyio.sleep(100)
        assert await world.store.runs("acme", 9) == []
        world.tick(number=1)
        assert (await world.ended(number=1)).fire_time == fire_time(1)
