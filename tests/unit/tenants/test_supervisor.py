from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from adsyncd.errors import CommandRefused, NoSuchTenant
from adsyncd.model.campaign import DeadLetter, PushState
from adsyncd.model.run import Outcome
from adsyncd.model.status import State
from adsyncd.model.tenant import EnvRef, Tenant
from adsyncd.rate.quota import Quota
from adsyncd.runs.replay import Replayed
from adsyncd.simulation.virtual_time import START
from adsyncd.store import Store
from adsyncd.telemetry.instruments import DEAD_LETTERS, QUOTA_PERMITS, RUNS_OVERLAPPED, TOKEN_EXPIRES_IN
from adsyncd.tenants.diff import Change
from adsyncd.tenants.turns import AT_ONCE
from support.inline_store import Disk
from support.supervised import World, a_world, tenant

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
        return {run.tenant: (run.outcome, run.pushed, (run.ended_at or START) - run.started_at) for run in runs}

    with capture_logs():
        alone = await took([], 0)
        assert set(alone.values()) == {(Outcome.SUCCEEDED, 20, timedelta(seconds=8))}
        assert await took(sick, 1) == alone


# Tenants that come, change and go


async def test_who_is_removed_runs_to_the_end_and_never_again(store: Store) -> None:
    async with a_world(store, tenant("acme")) as world:
        world.tick(number=0)
        await anyio.sleep(3)
        world.supervisor.remove("acme")
        assert world.supervisor.worker("acme").status(None).state is State.DRAINING
        with pytest.raises(CommandRefused, match="already in progress"):
            world.supervisor.worker("acme").trigger(world.tasks)
        world.tick(number=1)
        run = await world.ended(number=0)
        assert (run.outcome, run.pushed) == (Outcome.SUCCEEDED, 20)
        with pytest.raises(NoSuchTenant):
            world.supervisor.worker("acme").status(None)
        assert world.measured(QUOTA_PERMITS) == {}
        world.tick(number=2)
        await anyio.sleep(60)
        assert len(await world.store.runs("acme", 9)) == 1
        world.supervisor.add(tenant("acme"))
        world.supervisor.remove("acme")  # at rest
        assert not world.supervisor.tenants
        assert world.measured(RUNS_OVERLAPPED) == {}


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
        world.supervisor.worker("acme").change(Change(before, after))
        await world.ended(number=0)
        ledger = await world.ledger("acme")
        assert (ledger["effects_total"], ledger["peak_concurrency"]) == (20, 2 + 1)  # the second page beside the pushes
        world.tick(number=1)
        await world.ended(number=1)
        ledger = await world.ledger("globex")
    assert (ledger["effects_total"], ledger["accepted"], ledger["peak_concurrency"]) == (20, 21, 4)


async def test_another_quota_counts_at_once_and_forgets_no_permit_that_was_spent(store: Store) -> None:
    small, large = (tenant("acme", quota=Quota(requests, timedelta(seconds=60))) for requests in (5, 10))
    async with a_world(store, small, acme={"quota_requests": 10, "quota_window_s": 60}) as world:
        world.tick()
        await anyio.sleep(30)
        assert (await world.ledger())["accepted"] == 5
        world.supervisor.worker("acme").change(Change(small, large))
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
    worker = world.supervisor.worker("acme")
    session, secrets = worker.session, worker.session.secrets
    worker.change(Change(worker.tenant, tenant("acme", **changes)))
    assert (worker.session is session) is kept
    assert worker.session.secrets is secrets


async def test_a_tenant_that_is_removed_stays_until_its_replay_has_ended(store: Store) -> None:
    async with replaying(store) as (world, _, replayed):
        world.supervisor.remove("acme")
        assert world.supervisor.worker("acme").status(None).state is State.DRAINING
        with pytest.raises(CommandRefused, match="the drop-in of acme is gone"):
            world.supervisor.worker("acme").trigger(world.tasks)
        await anyio.sleep(60)
        assert [each.state for each in replayed] == [PushState.PUSHED] * 2
        assert not world.supervisor.tenants


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


async def test_a_stop_waits_for_the_pushes_of_replays_that_are_under_way_and_leaves_the_rest(store: Store) -> None:
    async with replaying(store) as (world, letters, replayed):
        began = anyio.current_time()
        await world.supervisor.drain(timedelta(seconds=60))
        assert anyio.current_time() - began == pytest.approx(5)  # of the six seconds that a push takes
        assert [each.state for each in replayed] == [PushState.PUSHED, PushState.PENDING]
        assert await store.dead_letters() == letters[1:]


async def test_a_stop_waits_until_a_command_is_on_record(store: Store, disk: Disk) -> None:
    async with a_world(store, tenant("acme")) as world:
        disk.takes_s = 3
        world.tasks.start_soon(world.supervisor.worker("acme").pause)
        await anyio.sleep(1)
        await world.supervisor.drain(timedelta(seconds=60))
        assert await store.pauses() == {"acme": START}


async def test_no_run_begins_after_the_stop(world: World) -> None:
    world.supervisor.stop()
    world.tick()
    await world.supervisor.drain(timedelta(seconds=60))
    assert (await world.ledger())["accepted"] == 0
    assert await world.store.runs("acme", 9) == []


async def test_a_stop_leaves_those_due_that_wait_for_their_turn(store: Store, disk: Disk) -> None:
    names = [f"t{number}" for number in range(40)]
    disk.takes_s = 5
    async with a_world(store, *map(tenant, names)) as world:
        for name in names:
            world.tick(name)
        await anyio.sleep(1)
        before = anyio.current_time()
        await world.supervisor.drain(timedelta(seconds=60))
        assert anyio.current_time() - before < 30  # for what the database had in hand
        disk.takes_s = 0
        begun = {run.tenant for run in await store.runs(None, 99)}
    assert len(begun) <= AT_ONCE


@pytest.mark.parametrize("waits_for", ["nothing", "the database", "another process"])
async def test_a_stop_is_over_at_once_when_nothing_is_in_flight(store: Store, disk: Disk, waits_for: str) -> None:
    if waits_for == "another process":
        await store.take_lease("acme", "process 7 on box; elsewhere")
    async with a_world(store, tenant("acme")) as world:
        disk.gone = waits_for == "the database"
        world.tick()
        await anyio.sleep(60 if waits_for == "nothing" else 5)
        before = anyio.current_time()
        await world.supervisor.drain(timedelta(seconds=20))
        assert anyio.current_time() - before < 1
        disk.gone = False


@asynccontextmanager
async def replaying(store: Store) -> AsyncIterator[tuple[World, list[DeadLetter], list[Replayed]]]:
    """Begin with a tenant whose two dead letters have been replayed for a second, one after the other in 6 s each."""
    rejected = ["cmp-0001", "cmp-0002"]
    acme = tenant("acme", concurrency=1)
    async with a_world(store, acme, acme={"campaigns": 2, "rejected": rejected}) as world:
        world.tick()
        assert (await world.ended()).dead_lettered == 2
        await world.treat("acme", rejected=[], push_latency_s=6)
        letters, replayed = await store.dead_letters(), list[Replayed]()
        world.tasks.start_soon(world.replay, letters, replayed)
        await anyio.sleep(1)
        yield world, letters, replayed


# Metrics


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


async def test_permits_and_tokens_are_measured_for_each_tenant(store: Store) -> None:
    small = replace(tenant("globex"), quota=Quota(30, timedelta(seconds=60)))
    async with a_world(store, tenant("acme"), small) as world:
        assert world.measured(QUOTA_PERMITS) == {"acme": 1000, "globex": 30}
        assert world.measured(TOKEN_EXPIRES_IN) == {}
        world.tick("globex")
        await world.ended("globex")
        assert world.measured(QUOTA_PERMITS) == {"acme": 1000, "globex": 8}
        world.supervisor.worker("acme").gate = None  # type: ignore[assignment]  # so that it can't be measured
        assert world.measured(QUOTA_PERMITS) == {"globex": 8}
        assert 3580 < world.measured(TOKEN_EXPIRES_IN)["globex"] < 3600


async def test_the_counters_of_a_tenant_begin_with_it_and_all_its_series_end_with_it(store: Store) -> None:
    async with a_world(store, tenant("acme"), tenant("globex")) as world:
        assert world.measured(RUNS_OVERLAPPED) == {"acme": 0, "globex": 0}
        world.tick()
        world.supervisor.remove("globex")
        world.supervisor.remove("acme")  # which has a run in progress
        assert world.measured(RUNS_OVERLAPPED) == {"acme": 0}
        await world.ended()
        await anyio.sleep(1)
        of_tenants = [metric["name"] for metric in world.metrics.exported() if metric["name"].startswith("adsyncd.")]
        assert of_tenants == ["adsyncd.run.duration", "adsyncd.breaker.open"]
