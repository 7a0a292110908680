import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import anyio
import pytest
import structlog
from structlog.testing import capture_logs

from adsyncd.errors import LeaseHeld, NoSuchTenant
from adsyncd.host.owner import Owner
from adsyncd.model.campaign import DeadLetter, PushState
from adsyncd.model.lease import Lease
from adsyncd.model.run import Outcome, Run, Tally, run_id
from adsyncd.model.status import State
from adsyncd.model.tenant import EnvRef, Tenant
from adsyncd.rate.quota import Quota
from adsyncd.runs.lease import Leases
from adsyncd.runs.replay import Replayed
from adsyncd.simulation.virtual_time import START
from adsyncd.store import Store, journal, tables
from adsyncd.telemetry.instruments import DEAD_LETTERS, QUOTA_PERMITS, RUNS_OVERLAPPED, RUNS_PAUSED, TOKEN_EXPIRES_IN
from adsyncd.tenants.diff import Change
from support.inline_store import Disk, inline_store
from support.records import rows
from support.supervised import World, a_world, fire_time, tenant
from support.virtual_time import BACKEND


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
async def world(store: Store) -> AsyncIterator[World]:
    async with a_world(store, tenant("acme")) as begun:
        yield begun


# One run at a time


async def test_a_tick_runs_its_tenant(world: World) -> None:
    world.tick()
    run = await world.ended()
    assert (run.run_id, run.outcome, run.pushed) == (run_id("acme", fire_time(0)), Outcome.SUCCEEDED, 20)
    assert (await world.ledger())["effects_total"] == 20


async def test_a_tick_may_come_from_a_timer_s_callback_as_apscheduler_s_do(world: World) -> None:
    asyncio.get_running_loop().call_later(1, world.tick)
    assert (await world.ended()).outcome is Outcome.SUCCEEDED


async def test_a_tick_is_skipped_and_counted_while_the_last_run_goes_on(world: World) -> None:
    world.tick(number=0)
    await anyio.sleep(1)
    world.tick(number=1)
    world.tick(number=2)
    await world.ended()
    world.tick(number=3)
    await world.ended(number=3)
    assert [run.fire_time for run in await world.store.runs("acme", 9)] == [fire_time(3), fire_time(0)]
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


# Bulkheads


SICK: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "hanging": ({}, {"fault": "hang"}),
    "down": ({}, {"fault": "503"}),
    "endless": ({}, {"fault": "endless"}),
    "html": ({}, {"fault": "html"}),
    "refused": ({"credentials": EnvRef("stranger")}, {}),
    "broken": ({}, {}),
    "slow": ({"quota": Quota(1, timedelta(seconds=10))}, {"quota_requests": 1, "quota_window_s": 10}),
    "flooding": ({"concurrency": 100}, {"campaigns": 500, "push_latency_s": 0.01}),
}


async def test_one_tenant_s_trouble_changes_nothing_for_another(store: Store) -> None:
    well = [tenant(f"well-{number}") for number in range(5)]
    sick = [tenant(name, **changes) for name, (changes, _) in SICK.items()]
    treatments = {name: treatment for name, (_, treatment) in SICK.items() if treatment}

    async def took(company: list[Tenant], number: int) -> dict[str, tuple[Outcome | None, int, timedelta]]:
        """Run the healthy ones among `company`, and return how that went for them."""
        async with a_world(store, *well, *company, **treatments) as world:
            for each in [*company, *well]:
                world.tick(each.id, number)
            runs = [await world.ended(each.id, number) for each in well]
        return {run.tenant: (run.outcome, run.pushed, ended(run) - run.started_at) for run in runs}

    with capture_logs():
        alone = await took([], 0)
        assert set(alone.values()) == {(Outcome.SUCCEEDED, 20, timedelta(seconds=8))}
        assert await took(sick, 1) == alone


def ended(run: Run) -> datetime:
    assert run.ended_at
    return run.ended_at


async def test_a_mistake_of_ours_in_one_run_ends_there(store: Store) -> None:
    async with a_world(store, tenant("broken"), tenant("acme")) as world:
        with capture_logs() as logged:
            world.tick("broken")
            world.tick("acme")
            assert (await world.ended("acme")).outcome is Outcome.SUCCEEDED
        run = await world.ended("broken")
        assert (run.outcome, run.error) == (Outcome.FAILED, "internal error: see the log")
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == ["run broke down"]


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


async def test_a_stop_does_not_wait_for_a_database_that_is_gone(store: Store, disk: Disk) -> None:
    async with a_world(store, tenant("acme")) as world:
        disk.gone = True
        world.tick()
        await anyio.sleep(1)
        before = anyio.current_time()
        await world.supervisor.drain(timedelta(seconds=20))
        assert anyio.current_time() - before < 1


# Runs that were cut off


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


async def test_an_end_that_was_recorded_late_does_not_hold_the_tenant() -> None:
    class Slow(Disk):
        async def __call__(self, call: Callable[[], Any], limiter: anyio.CapacityLimiter) -> Any:  # noqa: ANN401 - whatever it returns
            writes = call.args[0] if isinstance(call, partial) and isinstance(call.args[0], list) else []
            self.takes_s = 20 if any(write.operation is journal.finish for write in writes) else 0
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


async def test_what_another_process_left_open_is_taken_up_too(world: World) -> None:
    other = Run("acme", run_id("acme", fire_time(1)), fire_time(1), fire_time(1), "0" * 32)
    await world.store.begin(other)
    world.tick(number=2)
    assert (await world.ended(number=1)).pushed == 20


# Tenants that come, change and go


async def test_who_is_removed_runs_to_the_end_and_never_again(store: Store) -> None:
    async with a_world(store, tenant("acme")) as world:
        world.tick(number=0)
        await anyio.sleep(3)
        world.supervisor.remove("acme")
        assert world.supervisor.status("acme", None).state is State.DRAINING
        world.tick(number=1)
        run = await world.ended(number=0)
        assert (run.outcome, run.pushed) == (Outcome.SUCCEEDED, 20)
        await anyio.sleep(1)
        assert "acme" not in world.supervisor.tenants
        assert world.measured(QUOTA_PERMITS) == {}
        world.tick(number=2)
        await anyio.sleep(60)
        assert len(await world.store.runs("acme", 9)) == 1
        assert world.measured(RUNS_OVERLAPPED) == {}


async def test_who_is_removed_at_rest_is_gone_at_once(world: World) -> None:
    world.supervisor.remove("acme")
    assert not world.supervisor.tenants


async def test_who_is_put_back_while_the_last_run_goes_on_does_not_run_twice_at_once(world: World) -> None:
    world.tick(number=0)
    await anyio.sleep(3)
    world.supervisor.remove("acme")
    world.supervisor.add(tenant("acme", page_size=20))
    world.tick(number=1)
    assert world.measured(RUNS_OVERLAPPED) == {"acme": 1}
    await world.ended(number=0)
    world.tick(number=2)
    run = await world.ended(number=2)
    assert (run.requests, run.pushed) == (21, 20)  # one page, as it says now


async def test_a_run_goes_on_by_what_the_tenant_was_when_it_began_and_the_next_by_what_it_is(store: Store) -> None:
    before = tenant("acme", concurrency=2)
    after = tenant("acme", client_id="globex", credentials=EnvRef("globex"), page_size=20, concurrency=4)
    async with a_world(store, before, globex={}) as world:
        world.tick(number=0)
        await anyio.sleep(3)
        world.supervisor.change(Change(before, after))
        await world.ended(number=0)
        ledger = await world.ledger("acme")
        assert (ledger["effects_total"], ledger["peak_concurrency"]) == (20, 2 + 1)  # the second page beside the pushes
        world.tick(number=1)
        await world.ended(number=1)
        ledger = await world.ledger("globex")
    assert (ledger["effects_total"], ledger["accepted"], ledger["peak_concurrency"]) == (20, 21, 4)


async def test_another_quota_counts_at_once_and_forgets_no_permit_that_was_spent(store: Store) -> None:
    small, large = (
        tenant("acme", quota=Quota(5, timedelta(seconds=60))),
        tenant("acme", quota=Quota(10, timedelta(seconds=60))),
    )
    async with a_world(store, small, acme={"quota_requests": 10, "quota_window_s": 60}) as world:
        world.tick()
        await anyio.sleep(30)
        assert (await world.ledger())["accepted"] == 5
        world.supervisor.change(Change(small, large))
        await anyio.sleep(1)
        assert (await world.ledger())["accepted"] == 10
        world.supervisor.remove("acme")
        world.supervisor.add(small)
        await world.ended()
        ledger = await world.ledger()
    assert (ledger["refused"], ledger["largest_window"]) == (0, 10)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"quota": Quota(7, timedelta(seconds=7)), "page_size": 7}, True),
        ({"credentials": EnvRef("globex")}, False),
        ({"client_id": "globex"}, False),
        ({"base_url": "http://other.invalid"}, False),
    ],
)
async def test_a_session_lasts_until_who_signs_in_or_where_is_another(
    world: World, changes: Mapping[str, Any], kept: bool
) -> None:
    bulkhead = world.supervisor._bulkheads["acme"]
    session, secrets = bulkhead.session, bulkhead.session.secrets
    world.supervisor.change(Change(bulkhead.tenant, tenant("acme", **changes)))
    assert (bulkhead.session is session) is kept
    assert bulkhead.session.secrets is secrets


# Other processes


OTHER = "process 7 on box; elsewhere"


async def test_a_tick_is_skipped_and_counted_while_another_process_is_at_work_and_that_is_told_once(
    store: Store,
) -> None:
    other = Leases(store, Owner(OTHER))
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
    assert skipped[0]["reason"].startswith("tenant acme is in the hands of process 7 on box")


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
        assert (await world.ledger())["accepted"] == 2 + 2 * 2  # pages, and pushes of which two were under way
        [run] = await store.runs("acme", 9)
        assert (run.outcome, run.pushed) == (None, 2)
        told = [(entry["log_level"], entry["event"]) for entry in logged if "taken over" in str(entry)]
        assert told == [("warning", "run left open"), ("debug", "run interrupted")]
        assert world.measured(RUNS_OVERLAPPED) == {}


async def test_a_replay_waits_for_no_run_of_its_process_but_leaves_alone_whom_another_is_at_work_on(
    store: Store,
) -> None:
    async with a_world(store, tenant("acme"), acme={"rejected": ["cmp-0001"]}) as world:
        world.tick(number=0)
        assert (await world.ended(number=0)).dead_lettered == 1
        await world.platform.post("/_settings", json={"clients": {"acme": {"rejected": []}}})
        letters = await store.dead_letters()
        world.tick(number=1)
        await anyio.sleep(1)
        replayed = await world.supervisor.replay("acme", letters, Tally())
        assert [each.state for each in replayed] == [PushState.PUSHED]
        assert world.supervisor.runs == 1
        await world.ended(number=1)
        other = Leases(store, Owner(OTHER))
        world.tasks.start_soon(other.run)
        async with other.hold("acme"):
            with pytest.raises(LeaseHeld):
                await world.supervisor.replay("acme", letters, Tally())


async def test_a_stop_does_not_wait_for_another_process(store: Store) -> None:
    await store.take_lease("acme", OTHER)
    async with a_world(store, tenant("acme")) as world:
        world.tick()
        await anyio.sleep(5)
        before = anyio.current_time()
        await world.supervisor.drain(timedelta(seconds=20))
        assert anyio.current_time() - before < 1


# Stopping


async def test_a_stop_sends_nothing_new_and_lets_what_is_on_its_way_come_back(world: World) -> None:
    world.tick()
    await anyio.sleep(2.5)
    sent = (await world.ledger())["accepted"]
    began = anyio.current_time()
    await world.supervisor.drain(timedelta(seconds=60))
    assert anyio.current_time() - began == pytest.approx(1.5)  # of the two seconds that a push takes
    ledger = await world.ledger()
    assert ledger["accepted"] == sent
    [run] = await world.store.runs("acme", 9)
    assert (run.outcome, run.pushed) == (None, ledger["effects_total"])


async def test_a_stop_waits_no_longer_than_the_grace(store: Store) -> None:
    async with a_world(store, tenant("acme", timeout=timedelta(seconds=100)), acme={"fault": "hang"}) as world:
        world.tick()
        await anyio.sleep(1)
        began = anyio.current_time()
        await world.supervisor.drain(timedelta(seconds=5))
        assert anyio.current_time() - began == pytest.approx(5)


async def test_a_stop_with_nothing_under_way_is_over_at_once(world: World) -> None:
    world.tick()
    await world.ended()
    began = anyio.current_time()
    await world.supervisor.drain(timedelta(seconds=60))
    assert anyio.current_time() - began < 0.2


async def test_a_stop_waits_for_the_pushes_of_replays_that_are_under_way_and_leaves_the_rest(store: Store) -> None:
    async with a_dead_letter_s_world(store) as (world, letters):
        replayed: list[Replayed] = []
        world.tasks.start_soon(replay, world, letters, replayed)
        await anyio.sleep(1)
        began = anyio.current_time()
        await world.supervisor.drain(timedelta(seconds=60))
        assert anyio.current_time() - began == pytest.approx(5)  # of the six seconds that a push takes
        assert [each.state for each in replayed] == [PushState.PUSHED, PushState.PENDING]
        assert await store.dead_letters() == letters[1:]


async def test_a_stop_waits_until_a_command_is_on_record(store: Store, disk: Disk) -> None:
    async with a_world(store, tenant("acme")) as world:
        disk.takes_s = 3
        world.tasks.start_soon(world.supervisor.pause, "acme")
        await anyio.sleep(1)
        await world.supervisor.drain(timedelta(seconds=60))
        assert await store.pauses() == {"acme": START}


async def test_a_run_that_begins_after_the_stop_sends_nothing(world: World) -> None:
    world.supervisor.stop()
    world.tick()
    await world.supervisor.drain(timedelta(seconds=60))
    assert (await world.ledger())["accepted"] == 0
    assert [run.outcome for run in await world.store.runs("acme", 9)] == [None]


# Replays


async def test_a_replay_keeps_to_the_quota_as_runs_do(store: Store) -> None:
    slow = replace(tenant("acme"), quota=Quota(10, timedelta(seconds=60)))
    sick = {"rejected": [f"cmp-{number:04d}" for number in range(1, 21)], "quota_requests": 10, "quota_window_s": 60}
    async with a_world(store, slow, acme=sick) as world:
        world.tick()
        assert (await world.ended()).dead_lettered == 20
        await world.platform.post("/_settings", json={"clients": {"acme": {"rejected": []}}})
        letters, tally = await store.dead_letters(), Tally()
        replayed = await world.supervisor.replay("acme", letters, tally)
        ledger = await world.ledger()
    assert [each.state for each in replayed] == [PushState.PUSHED] * 20
    assert ledger["effects"] == {letter.campaign_id: {letter.idempotency_key: 1} for letter in letters}
    assert (ledger["refused"], ledger["largest_window"]) == (0, 10)
    assert (tally.pushed, tally.requests) == (20, 20)


async def test_a_tenant_that_is_removed_stays_until_its_replay_has_ended(store: Store) -> None:
    async with a_dead_letter_s_world(store) as (world, letters):
        replayed: list[Replayed] = []
        world.tasks.start_soon(replay, world, letters, replayed)
        await anyio.sleep(1)
        world.supervisor.remove("acme")
        assert world.supervisor.status("acme", None).state is State.DRAINING
        await anyio.sleep(60)
        assert [each.state for each in replayed] == [PushState.PUSHED] * 2
        assert not world.supervisor.tenants


@asynccontextmanager
async def a_dead_letter_s_world(store: Store) -> AsyncIterator[tuple[World, list[DeadLetter]]]:
    """Begin with a tenant that has two dead letters, whose pushes succeed by now, one after the other in 6 s each."""
    rejected = ["cmp-0001", "cmp-0002"]
    acme = tenant("acme", concurrency=1)
    async with a_world(store, acme, acme={"campaigns": 2, "rejected": rejected}) as world:
        world.tick()
        assert (await world.ended()).dead_lettered == 2
        await world.platform.post("/_settings", json={"clients": {"acme": {"rejected": [], "push_latency_s": 6}}})
        yield world, await store.dead_letters()


async def replay(world: World, letters: Sequence[DeadLetter], replayed: list[Replayed]) -> None:
    replayed += await world.supervisor.replay_all(letters, Tally(), refuse=lambda _: None)


# What is told


async def test_dead_letters_are_measured_from_the_start_and_after_each_run(store: Store) -> None:
    async with a_world(store, tenant("acme"), tenant("globex"), acme={"rejected": ["cmp-0001", "cmp-0002"]}) as world:
        assert world.measured(DEAD_LETTERS) == {}
        world.tick()
        await world.ended()
        assert world.measured(DEAD_LETTERS) == {"acme": 2}
        world.supervisor.add(tenant("globex"), dead_letters=7)
        assert world.measured(DEAD_LETTERS) == {"acme": 2, "globex": 7}
        world.tick("globex")
        await world.ended("globex")
        assert world.measured(DEAD_LETTERS) == {"acme": 2, "globex": 0}


async def test_a_single_run_is_counted_as_it_goes_and_returned(world: World) -> None:
    tally = Tally()
    run = await world.supervisor.sync("acme", fire_time(0), tally)
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


async def test_permits_and_tokens_are_measured_for_each_tenant(store: Store) -> None:
    small = replace(tenant("globex"), quota=Quota(30, timedelta(seconds=60)))
    async with a_world(store, tenant("acme"), small) as world:
        assert world.measured(QUOTA_PERMITS) == {"acme": 1000, "globex": 30}
        assert world.measured(TOKEN_EXPIRES_IN) == {}
        world.tick("globex")
        await world.ended("globex")
        assert world.measured(QUOTA_PERMITS) == {"acme": 1000, "globex": 8}
        world.supervisor._bulkheads["acme"].gate = None  # type: ignore[assignment]  # so that it can't be measured
        assert world.measured(QUOTA_PERMITS) == {"globex": 8}
        assert 3580 < world.measured(TOKEN_EXPIRES_IN)["globex"] < 3600


# Paused, and how a tenant stands


async def test_the_ticks_of_a_paused_tenant_are_skipped_and_counted_until_it_is_resumed(world: World) -> None:
    await world.supervisor.pause("acme")
    world.tick(number=0)
    world.tick(number=1)
    assert world.measured(RUNS_PAUSED) == {"acme": 2}
    await world.supervisor.resume("acme")
    world.tick(number=2)
    await world.ended(number=2)
    assert [run.fire_time for run in await world.store.runs("acme", 9)] == [fire_time(2)]


async def test_pauses_and_last_runs_are_recalled_after_a_restart(store: Store) -> None:
    async with a_world(store, tenant("acme")) as world:
        world.tick()
        ended = await world.ended()
        await world.supervisor.pause("acme")
    async with a_world(store, tenant("acme")) as world:
        await world.supervisor.recall()
        status = world.supervisor.status("acme", fire_time(1))
        assert (status.state, status.last_run, status.next_fire_time) == (State.PAUSED, ended, None)
        world.tick(number=1)
        assert world.measured(RUNS_PAUSED) == {"acme": 1}


async def test_a_tenant_that_is_removed_drains_as_long_as_its_run_goes_on(world: World) -> None:
    world.tick()
    await anyio.sleep(1)
    world.supervisor.remove("acme")
    assert world.supervisor.status("acme", None).state is State.DRAINING
    await world.ended()
    with pytest.raises(NoSuchTenant):
        world.supervisor.status("acme", None)


async def test_why_nothing_can_be_recorded_is_told_until_it_can(world: World, disk: Disk) -> None:
    disk.gone = True
    world.tick()
    await anyio.sleep(1)
    gone = world.supervisor.status("acme", None)
    assert gone.state is State.RUNNING
    assert gone.error
    disk.gone = False
    await world.ended()
    assert world.supervisor.status("acme", None).error is None


async def test_why_a_run_was_left_open_is_told_from_then_on(world: World, disk: Disk) -> None:
    world.tick()
    await anyio.sleep(3)
    disk.gone = True
    await anyio.sleep(10)  # its pushes are back, and it is not yet taken up again
    assert "the disk is gone" in str(world.supervisor.status("acme", None).error)
    disk.gone = False
    await world.ended()
    assert world.supervisor.status("acme", None).error is None
