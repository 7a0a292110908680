import asyncio
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import pytest
import structlog
from structlog.testing import capture_logs

from adsyncd.errors import CommandRefused, LeaseHeld, Stopping
from adsyncd.host.owner import ProcessOwner
from adsyncd.host.ready_queue import go_first, goes_first
from adsyncd.model.campaign import PushState
from adsyncd.model.lease import Lease
from adsyncd.model.run import Outcome, Run, Tally, run_id
from adsyncd.model.status import State
from adsyncd.rate.quota import Quota
from adsyncd.runs.lease import Leases
from adsyncd.runs.replay import Replayed
from adsyncd.simulation.virtual_time import START
from adsyncd.store import Store, ending, tables
from adsyncd.telemetry.instruments import RUNS_OVERLAPPED, RUNS_PAUSED
from support.inline_store import Disk, inline_store
from support.pipelines import fire_time
from support.records import bury, rows
from support.supervised import World, a_world, tenant

# One run at a time


async def test_a_tick_is_skipped_and_counted_while_the_last_run_goes_on(world: World) -> None:
    world.tick(number=0)
    await anyio.sleep(1)
    world.tick(number=1)
    world.tick(number=2)
    await world.ended()
    world.tick(number=3)
    await world.ended(number=3)
    second, first = await world.store.runs("acme", 9)
    assert [(run.fire_time, run.skipped_ticks) for run in (second, first)] == [(fire_time(3), 0), (fire_time(0), 2)]
    assert world.measured(RUNS_OVERLAPPED) == {"acme": 2}


async def test_a_run_has_nothing_of_its_tick_s_context(world: World) -> None:
    with world.spans.tracer.start_as_current_span("whatever"), structlog.contextvars.bound_contextvars(tenant="other"):
        world.tick()
        await world.ended()
        world.tick(number=1)
        await world.ended(number=1)
    roots = world.spans.named("sync.run")
    assert [root.parent for root in roots] == [None, None]
    assert len({root.context.trace_id for root in roots}) == 2


async def test_a_run_that_the_control_api_starts_has_no_turns_of_the_control_api(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, seen = world.supervisor.worker("acme"), list[bool]()

    async def sync(*_: object) -> Run:
        seen.append(goes_first(asyncio.get_running_loop().call_soon(int)))
        raise Stopping("enough")

    def trigger() -> None:
        go_first()
        worker.trigger(world.tasks)

    monkeypatch.setattr(worker, "sync", sync)
    copy_context().run(trigger)
    await anyio.wait_all_tasks_blocked()
    assert seen == [False]


async def test_a_mistake_of_ours_in_one_run_ends_there(store: Store) -> None:
    async with a_world(store, tenant("broken"), tenant("acme")) as world:
        with capture_logs() as logged:
            world.tick("broken")
            world.tick("acme")
            assert (await world.ended("acme")).outcome is Outcome.SUCCEEDED
        run = await world.ended("broken")
        assert (run.outcome, run.error) == (Outcome.FAILED, "internal error: see the log")
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == ["run broke down"]


async def test_a_single_run_is_counted_as_it_goes_and_returned(world: World) -> None:
    tally = Tally()
    run = await world.supervisor.worker("acme").sync(fire_time(0), tally)
    assert run == await world.ended()
    assert (tally.pushed, tally.requests, run.requests) == (20, 22, 22)


async def test_what_repeats_is_logged_once_and_what_changes_again(store: Store) -> None:
    async with a_world(store, tenant("acme", max_attempts=1)) as world:
        with capture_logs() as logged:
            for number, fault in enumerate(["none", "none", "503", "503", "none"]):
                await world.platform.post("/_settings", json={"everyone": {"fault": fault}})
                world.tick(number=number)
                run = await world.ended(number=number)
                await anyio.sleep(0.1)
    told = [(entry["log_level"], entry["outcome"]) for entry in logged if entry["event"] == "run ended"]
    assert told == [
        ("info", "succeeded"),
        ("debug", "succeeded"),
        ("warning", "failed"),
        ("debug", "failed"),
        ("info", "succeeded"),
    ]
    last = next(entry for entry in reversed(logged) if entry["event"] == "run ended")
    assert (last["tenant"], last["run_id"], last["trace_id"]) == ("acme", run.run_id, run.trace_id)
    assert (last["listed"], last["pushed"], last["stored"]) == (run.listed, run.pushed, 0)


# A database in trouble


async def test_a_run_that_the_database_did_not_let_begin_begins_when_it_is_back(store: Store, disk: Disk) -> None:
    async with a_world(store, tenant("acme")) as world:
        with capture_logs() as logged:
            disk.gone = True
            world.tick(number=0)
            await anyio.sleep(100)
            disk.gone = False
            assert (await world.ended(number=0)).outcome is Outcome.SUCCEEDED
    refusals = [entry for entry in logged if entry["event"] == "run not recorded"]
    assert [entry["log_level"] for entry in refusals] == ["error", "debug", "debug", "debug"]
    assert "the disk is gone" in refusals[0]["error"]


async def test_a_run_that_the_database_cut_off_goes_on_when_it_is_back_without_another_tick(
    store: Store, disk: Disk
) -> None:
    async with a_world(store, tenant("acme")) as world:
        world.tick(number=0)
        await anyio.sleep(3)
        disk.gone = True
        await anyio.sleep(40)
        disk.gone = False
        run = await world.ended(number=0)
        assert (run.outcome, run.pushed) == (Outcome.SUCCEEDED, 20)
        assert [len(keys) for keys in (await world.ledger())["effects"].values()] == [1] * 20


async def test_an_end_that_was_recorded_late_does_not_hold_the_tenant() -> None:
    class Slow(Disk):
        async def __call__(self, call: Callable[[], Any], limiter: anyio.CapacityLimiter) -> Any:  # noqa: ANN401 - whatever it returns
            writes = call.args[0] if isinstance(call, partial) and isinstance(call.args[0], list) else []
            self.takes_s = 20 if any(write.operation is ending.finish for write in writes) else 0
            return await super().__call__(call, limiter)

    async with inline_store(Slow()) as store, a_world(store, tenant("acme")) as world:
        with capture_logs() as logged:
            world.tick(number=0)
            run = await world.ended(number=0)
            await anyio.sleep(60)
            world.tick(number=1)
            assert (await world.ended(number=1)).outcome is Outcome.SUCCEEDED
            await anyio.sleep(60)
    taken_for_open = [entry for entry in logged if entry["event"] == "run interrupted"]
    assert [entry["run_id"] for entry in taken_for_open] == [run.run_id, run_id("acme", fire_time(1))]


@pytest.mark.parametrize("begun", [False, True])
async def test_why_a_run_is_not_recorded_or_left_open_is_told_until_it_goes_on(
    world: World, disk: Disk, *, begun: bool
) -> None:
    disk.gone = not begun
    world.tick()
    await anyio.sleep(3 if begun else 1)
    disk.gone = True
    await anyio.sleep(10 * begun)  # its pushes are back, and it is not yet taken up again
    told = world.supervisor.worker("acme").status(None)
    assert told.state is State.RUNNING
    assert "the disk is gone" in str(told.error)
    disk.gone = False
    await world.ended()
    assert world.supervisor.worker("acme").status(None).error is None


# Open runs, and other processes


async def test_a_run_that_was_cut_off_is_taken_up_in_place_of_the_tick_s_own(store: Store) -> None:
    async with a_world(store, tenant("acme")) as world:
        world.tick(number=0)
        await anyio.sleep(3)
        before = await world.ledger()
    assert before["effects_total"] > 0
    [left] = await store.open_runs()
    async with a_world(store, tenant("acme")) as world:
        world.tick(number=4)
        run = await world.ended(number=0)
        assert (run.outcome, run.pushed, run.started_at) == (Outcome.SUCCEEDED, 20, left.started_at)
        effects = (await world.ledger())["effects"]
        world.tick(number=5)
        await world.ended(number=5)
    both = [before["effects"].get(name, {}) | effects.get(name, {}) for name in before["effects"] | effects]
    assert [len(keys) for keys in both] == [1] * 20
    assert [run.fire_time for run in await store.runs("acme", 9)] == [fire_time(5), fire_time(0)]


OTHER = "process 7 on box; elsewhere"


async def test_a_tick_is_skipped_and_counted_while_another_process_is_at_work_and_that_is_told_once(
    store: Store,
) -> None:
    other = Leases(store, ProcessOwner(OTHER))
    async with a_world(store, tenant("acme")) as world:
        world.tasks.start_soon(other.run)
        with capture_logs() as logged:
            async with other.hold("acme"):
                for number in range(3):
                    world.tick(number=number)
                    await anyio.sleep(20)
            world.tick(number=3)
            assert (await world.ended(number=3)).outcome is Outcome.SUCCEEDED
        assert [run.fire_time for run in await world.store.runs("acme", 9)] == [fire_time(3)]
        assert world.measured(RUNS_OVERLAPPED) == {"acme": 3}
        assert (await world.ledger())["effects_total"] == 20
    skipped = [entry for entry in logged if entry["event"] == "tick skipped, another process is at work"]
    assert [entry["log_level"] for entry in skipped] == ["info", "debug", "debug"]
    assert skipped[0]["reason"].startswith("process 7 on box is working on tenant acme")


async def test_a_tenant_whose_process_gives_no_sign_of_life_is_taken_over(store: Store) -> None:
    await store.take_lease("acme", OTHER)
    await store.begin(Run("acme", run_id("acme", fire_time(0)), fire_time(0), fire_time(0), "0" * 32))
    async with a_world(store, tenant("acme")) as world:
        world.tick(number=1)
        run = await world.ended(number=0)
        assert (run.outcome, run.ended_at) == (Outcome.SUCCEEDED, START + timedelta(seconds=30 + 8))


async def test_a_run_whose_tenant_was_taken_over_ends_without_a_record_and_sends_nothing_more(store: Store) -> None:
    async with a_world(store, tenant("acme", concurrency=2)) as world:
        with capture_logs() as logged:
            world.tick(number=0)
            await anyio.sleep(3)
            [mine] = await rows(store, tables.leases)
            await store.take_lease("acme", OTHER, over=Lease(**mine._mapping))
            await anyio.sleep(10)
        # pages, and pushes: two on record, two under way, and two that were begun before the store refused an outcome
        assert (await world.ledger())["accepted"] == 2 + 3 * 2
        [run] = await store.runs("acme", 9)
        assert (run.outcome, run.pushed) == (None, 2)
        told = [(entry["log_level"], entry["event"]) for entry in logged if "taken over" in str(entry)]
        assert told == [("warning", "run left open"), ("debug", "run interrupted")]
        assert world.measured(RUNS_OVERLAPPED) == {"acme": 0}


async def test_a_replay_waits_for_no_run_of_its_process_but_leaves_alone_whom_another_is_at_work_on(
    store: Store,
) -> None:
    async with a_world(store, tenant("acme"), acme={"rejected": ["cmp-0001"]}) as world:
        world.tick(number=0)
        assert (await world.ended(number=0)).dead_lettered == 1
        await world.treat("acme", rejected=[])
        letters = await store.dead_letters()
        world.tick(number=1)
        await anyio.sleep(1)
        replayed = await world.supervisor.worker("acme").replay(letters, Tally())
        assert [each.state for each in replayed] == [PushState.PUSHED]
        assert world.supervisor.runs == 1
        await world.ended(number=1)
        other = Leases(store, ProcessOwner(OTHER))
        world.tasks.start_soon(other.run)
        async with other.hold("acme"):
            with pytest.raises(LeaseHeld):
                await world.supervisor.worker("acme").replay(letters, Tally())


# Replays


async def test_a_replay_keeps_to_the_quota_as_runs_do(store: Store) -> None:
    slow = replace(tenant("acme"), quota=Quota(10, timedelta(seconds=60)))
    sick = {"rejected": [f"cmp-{number:04d}" for number in range(1, 21)], "quota_requests": 10, "quota_window_s": 60}
    async with a_world(store, slow, acme=sick) as world:
        world.tick()
        assert (await world.ended()).dead_lettered == 20
        await world.treat("acme", rejected=[])
        letters, tally = await store.dead_letters(), Tally()
        replayed = await world.supervisor.worker("acme").replay(letters, tally)
        ledger = await world.ledger()
    assert [each.state for each in replayed] == [PushState.PUSHED] * 20
    assert ledger["effects"] == {letter.campaign_id: {letter.idempotency_key: 1} for letter in letters}
    assert (ledger["refused"], ledger["largest_window"]) == (0, 10)
    assert (tally.pushed, tally.requests) == (20, 20)


async def test_a_replay_at_a_platform_that_takes_no_pushes_is_refused_with_the_way_out(store: Store) -> None:
    await bury(store, "acme", "c1")
    pulls = tenant("acme")
    profile = replace(pulls.platform.profile, push=None)
    pulls = replace(pulls, platform=replace(pulls.platform, profile=profile))
    async with a_world(store, pulls) as world:
        letters = await store.dead_letters()
        fix = "discard them: adsyncd dead-letters discard --tenant acme"
        with pytest.raises(CommandRefused, match=f"profile adsyncd of its platform has no push; {fix}"):
            await world.supervisor.worker("acme").replay(letters, Tally())
        [replayed] = await world.supervisor.replay_all(letters, Tally(), refuse=lambda _: None)
        assert (replayed.state, fix in str(replayed.error)) == (PushState.PENDING, True)
        assert await store.dead_letters() == letters


# Paused


async def test_the_ticks_of_a_paused_tenant_are_skipped_and_counted_until_it_is_resumed(world: World) -> None:
    await world.supervisor.worker("acme").pause()
    world.tick(number=0)
    world.tick(number=1)
    assert world.measured(RUNS_PAUSED) == {"acme": 2}
    await world.supervisor.worker("acme").resume()
    world.tick(number=2)
    await world.ended(number=2)
    assert [run.fire_time for run in await world.store.runs("acme", 9)] == [fire_time(2)]


async def test_a_pause_lets_a_run_and_a_replay_end_and_neither_starts_meanwhile(store: Store) -> None:
    async with a_world(store, tenant("acme"), acme={"rejected": ["cmp-0001"]}) as world:
        world.tick(number=0)
        await world.ended(number=0)
        letters = await store.dead_letters()
        await world.treat("acme", rejected=[])
        world.tick(number=1)
        replayed = list[Replayed]()
        world.tasks.start_soon(world.replay, letters, replayed)
        await anyio.sleep(1)
        await world.supervisor.worker("acme").pause()
        paused = world.supervisor.worker("acme").status(None)
        assert (paused.state, paused.paused_since) == (State.RUNNING, world.clock.now())
        with pytest.raises(CommandRefused, match="acme is paused"):
            world.supervisor.worker("acme").refuse_if_paused()
        assert (await world.ended(number=1)).pushed == 19
        assert [each.state for each in replayed] == [PushState.PUSHED]
        await anyio.sleep(0.1)
        assert world.supervisor.worker("acme").status(None).state is State.PAUSED
        with pytest.raises(CommandRefused, match="acme is paused"):
            world.supervisor.worker("acme").trigger(world.tasks)


async def test_a_command_concerns_its_own_tenant_alone(store: Store) -> None:
    async with a_world(store, tenant("acme"), tenant("globex")) as world:
        await world.supervisor.worker("acme").pause()
        await world.supervisor.worker("globex").pause()
        await world.supervisor.worker("globex").resume()
        assert await store.pauses() == {"acme": world.clock.now()}
        fire_time = world.supervisor.worker("globex").trigger(world.tasks)
        with pytest.raises(CommandRefused, match="a run of globex is already in progress"):
            world.supervisor.worker("globex").trigger(world.tasks)
        await anyio.sleep(60)
        assert [(run.tenant, run.fire_time) for run in await store.runs(None, 9)] == [("globex", fire_time)]
        states = [world.supervisor.worker(tenant_id).status(None) for tenant_id in ("acme", "globex")]
        assert [(one.state, one.last_run is None) for one in states] == [(State.PAUSED, True), (State.IDLE, False)]
