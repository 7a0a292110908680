from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import TaskGroup
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adsyncd.alerts import AlertWatch
from adsyncd.errors import StoreError
from adsyncd.model.run import Outcome, Run, run_id
from adsyncd.model.schedule import share
from adsyncd.model.status import State
from adsyncd.model.tenant import EnvRef, Every, Tenant
from adsyncd.rate.quota import Quota
from adsyncd.simulation.ticker import VirtualTicker
from adsyncd.store import Store
from adsyncd.telemetry.instruments import LAST_SUCCESS
from adsyncd.tenants.diff import Diff, diff
from adsyncd.tenants.registry import Registry
from adsyncd.tenants.turns import AT_ONCE
from support.examples import examples
from support.inline_store import Disk, inline_store
from support.records import NOON
from support.records import run as a_run
from support.supervised import World, a_world, tenant

MINUTE = timedelta(minutes=1)
HOUR = Every(timedelta(hours=1))


class Served:
    """A process whose tenants are those that a test says, each time that it says something else."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ticker = VirtualTicker(world.clock, lambda *tick: world.supervisor.tick(world.tasks, *tick))
        self.alerts = AlertWatch(
            [],
            world.store,
            connect=lambda: httpx.MockTransport(lambda _: httpx.Response(200)),
            clock=world.clock,
            random=Random(0),
            instruments=world.instruments,
        )
        self.registry = Registry(world.supervisor, self.ticker, self.alerts, world.store, world.clock)

    async def become(self, *tenants: Tenant) -> Diff:
        """Serve these tenants from now on."""
        difference = diff(self.registry.tenants, {tenant.id: tenant for tenant in tenants}, set())
        await self.registry.apply(difference)
        return difference


@asynccontextmanager
async def serving(store: Store, **clients: Mapping[str, Any]) -> AsyncIterator[Served]:
    async with a_world(store, **clients) as world:
        served = Served(world)
        world.tasks.start_soon(served.ticker.run)
        world.tasks.start_soon(served.registry.catch_up, world.tasks)
        yield served


async def runs(store: Store, name: str) -> list[Run]:
    return await store.runs(name, 9)


async def test_who_sends_nothing_for_a_while_since_its_quota_changed_is_known(store: Store) -> None:
    async with serving(store, acme={"campaigns": 3}, globex={"campaigns": 3}) as served:
        acme, globex = tenant("acme", schedule=HOUR, quota=Quota(100, MINUTE)), tenant("globex", schedule=HOUR)
        await served.become(acme, globex)
        await anyio.sleep(4000)
        await served.become(replace(acme, quota=Quota(100, 60 * MINUTE)), globex)
        [silence] = served.registry.silent
        until = served.world.clock.now() + timedelta(seconds=silence.lasts_s)
        assert (silence.tenant, silence.until) == ("acme", until)
        await served.become(acme, globex)
        assert served.registry.silent == []


async def test_who_is_added_and_never_ran_is_due_at_once_and_then_by_his_schedule(store: Store) -> None:
    async with serving(store, acme={}) as served:
        await anyio.sleep(1000)
        await served.become(tenant("acme", schedule=HOUR))
        await anyio.sleep(30)
        assert [run.outcome for run in await runs(store, "acme")] == [Outcome.SUCCEEDED]
        await anyio.sleep(3600)
        assert len(await runs(store, "acme")) == 2


async def test_who_is_put_back_before_he_is_due_again_is_not_due(store: Store) -> None:
    async with serving(store, acme={}) as served:
        await served.become(tenant("acme", schedule=HOUR))
        await anyio.sleep(30)
        await served.become()
        await anyio.sleep(30)
        await served.become(tenant("acme", schedule=HOUR))
        await anyio.sleep(30)
        assert len(await runs(store, "acme")) == 1


async def test_who_goes_before_his_turn_to_catch_up_has_no_run() -> None:
    names = [f"t{number}" for number in range(60)]
    disk = Disk(takes_s=0.1)
    async with inline_store(disk) as store, serving(store, **{name: {} for name in names}) as served:
        await served.become(*(tenant(name, schedule=HOUR) for name in names))
        await served.become()
        await anyio.sleep(60)
        assert len(await store.runs(None, 99)) <= AT_ONCE  # those whose turn had come


async def test_those_who_are_due_begin_as_fast_as_the_database_records_it_and_a_few_at_a_time() -> None:
    names = [f"t{number}" for number in range(60)]
    disk = Disk(takes_s=0.1)
    async with inline_store(disk) as store, serving(store, **{name: {} for name in names}) as served:
        await served.become(*(tenant(name, schedule=HOUR) for name in names))
        workers = served.world.supervisor.workers.values()
        await anyio.sleep(0.05)
        turns = [worker.status(None).turn for worker in workers]
        assert sorted(turn for turn in turns if turn is not None) == list(range(60 - AT_ONCE))
        assert Counter(worker.state for worker in workers) == {State.RUNNING: AT_ONCE, State.WAITING: 60 - AT_ONCE}
        await anyio.sleep(5)
        assert all(worker.status(None).turn is None for worker in workers)
        assert len({run.tenant for run in await store.runs(None, 99)}) == 60


async def test_those_whose_runs_were_cut_off_begin_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"t{number}" for number in range(60)]
    cut_off = {"t7", "t21", "t40"}
    for name in cut_off:
        await store.begin(replace(a_run(tenant=name), fire_time=NOON, started_at=NOON, run_id=run_id(name, NOON)))
    begun = list[str]()

    async with a_world(store, **{name: {} for name in names}) as world:
        served = Served(world)
        tick = world.supervisor.tick

        def noted(tasks: TaskGroup, tenant_id: str, fire_time: datetime) -> None:
            begun.append(tenant_id)
            tick(tasks, tenant_id, fire_time)

        monkeypatch.setattr(world.supervisor, "tick", noted)
        await served.become(*(tenant(name, schedule=HOUR) for name in names))
        world.tasks.start_soon(served.registry.catch_up, world.tasks)
        await anyio.sleep(60)
        assert len(begun) == 60
        assert set(begun[:3]) == cut_off
        assert begun[3:] == sorted(set(names) - cut_off, key=share)


async def test_who_is_not_named_in_a_difference_is_not_touched(store: Store) -> None:
    acme = tenant("acme", schedule=HOUR)
    async with serving(store, acme={}, globex={}) as served:
        await served.become(acme, tenant("globex", schedule=HOUR))
        await anyio.sleep(3)
        before = served.world.supervisor.worker("acme")
        parts = (before.session, before.gate, before.session._token, served.alerts._tenants["acme"])
        due = served.ticker._due["acme"]
        await served.become(acme, tenant("globex", page_size=7))
        await served.become(acme)
        after = served.world.supervisor.worker("acme")
        assert after is before
        now = (after.session, after.gate, after.session._token, served.alerts._tenants["acme"])
        assert all(one is other for one, other in zip(parts, now, strict=True))
        assert served.ticker._due["acme"] is due
        await anyio.sleep(30)
        assert [run.outcome for run in await runs(store, "acme")] == [Outcome.SUCCEEDED]


async def test_another_schedule_counts_at_once(store: Store) -> None:
    async with serving(store, acme={}) as served:
        await served.become(tenant("acme", schedule=HOUR))
        await anyio.sleep(30)
        await served.become(tenant("acme", schedule=Every(MINUTE)))
        await anyio.sleep(180)
        assert len(await runs(store, "acme")) >= 3


async def test_without_the_database_nobody_is_added_and_nothing_else_changes_either() -> None:
    disk = Disk()
    async with inline_store(disk) as store, serving(store, acme={}, globex={}) as served:
        await served.become(tenant("acme", schedule=HOUR))
        await anyio.sleep(30)
        disk.gone = True
        with pytest.raises(StoreError):
            await served.become(tenant("globex", schedule=HOUR))
        assert list(served.registry.tenants) == list(served.world.supervisor.tenants) == ["acme"]
        await served.become()  # for which it is not needed
        disk.gone = False
        await served.become(tenant("globex", schedule=HOUR))
        await anyio.sleep(30)
        assert len(await runs(store, "globex")) == 1


async def test_the_pause_and_the_last_run_of_a_tenant_are_recalled_when_it_is_added(store: Store) -> None:
    acme, globex = tenant("acme", schedule=HOUR), tenant("globex", schedule=HOUR)
    async with serving(store, acme={}, globex={}) as served:
        await served.become(acme, globex)
        await anyio.sleep(30)
        await served.world.supervisor.worker("acme").pause()
        paused_since = served.world.clock.now()
        await served.become()
        assert not served.world.supervisor.tenants
        await anyio.sleep(5000)
        await served.become(acme, globex)
        await anyio.sleep(30)
        statuses = {each: served.world.supervisor.worker(each).status(None) for each in ("acme", "globex")}
        assert {each: (one.state, one.paused_since) for each, one in statuses.items()} == {
            "acme": (State.PAUSED, paused_since),
            "globex": (State.IDLE, None),
        }
        assert {each: one.last_run for each, one in statuses.items()} == {
            each: (await runs(store, each))[0] for each in statuses
        }
        assert [len(await runs(store, each)) for each in statuses] == [1, 2]
        await served.become(globex)
        await served.registry.forget("acme")
        await served.become(acme, globex)
        await anyio.sleep(30)
        assert len(await runs(store, "acme")) == 2


EDITS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 3, 20]),
        st.sampled_from(["a", "a", "b"]),
        st.none()
        | st.fixed_dictionaries(
            {
                "client_id": st.sampled_from(["one", "other"]),
                "quota": st.sampled_from([Quota(3, MINUTE), Quota(5, MINUTE), Quota(10, MINUTE)]),
                "schedule": st.sampled_from([Every(MINUTE / 2), Every(2 * MINUTE), HOUR]),
                "page_size": st.sampled_from([5, 10]),
                "enabled": st.sampled_from([True, True, False]),
            }
        ),
    ),
    min_size=2,
    max_size=8,
)


@examples(40)
@given(EDITS)
async def test_whatever_is_edited_and_when_the_last_word_counts_nobody_runs_twice_at_once_and_no_permit_is_forgotten(
    edits: list[tuple[int, str, dict[str, Any] | None]],
) -> None:
    files: dict[str, Tenant] = {}
    strict = {"quota_requests": 10, "quota_window_s": 60, "campaigns": 6}
    clients = {f"{tenant_id}-{client}": strict for tenant_id in "ab" for client in ("one", "other")}
    async with inline_store() as store, serving(store, **clients) as served:
        with capture_logs() as logged:
            for after_s, tenant_id, keys in edits:
                files.pop(tenant_id, None)
                if keys is not None:
                    client = f"{tenant_id}-{keys['client_id']}"
                    files[tenant_id] = tenant(tenant_id, **keys | {"client_id": client, "credentials": EnvRef(client)})
                await served.become(*files.values())
                await anyio.sleep(after_s)
            await anyio.sleep(300)
            enabled = {tenant.id: tenant for tenant in files.values() if tenant.enabled}
            assert served.registry.tenants == served.world.supervisor.tenants == enabled
            assert served.ticker._due.keys() == served.alerts._tenants.keys() == enabled.keys()
        assert [entry for entry in logged if entry["log_level"] == "error"] == []
        for tenant_id in "ab":
            done = sorted(await store.runs(tenant_id, 999), key=lambda run: run.started_at)
            assert all(earlier.ended_at and earlier.ended_at <= later.started_at for earlier, later in pairwise(done))
        for client in clients:
            ledger = await served.world.ledger(client)
            assert (ledger["refused"], ledger["largest_window"] <= 10) == (0, True)


async def test_the_last_success_is_known_from_the_start_whatever_failed_since(store: Store) -> None:
    well: dict[str, Any] = {"ended_at": NOON, "outcome": Outcome.SUCCEEDED}
    later: dict[str, Any] = {"ended_at": NOON + timedelta(hours=1), "outcome": Outcome.FAILED}
    for name, number, end in [("acme", 0, well), ("acme", 1, later), ("globex", 0, well), ("hooli", 0, later)]:
        began = a_run(name, number)
        await store.begin(began)
        await store.finish(replace(began, **end))
    async with serving(store) as served:
        for name in ("acme", "globex", "hooli", "initech"):
            await store.pause(name, NOON)
        await served.become(*(tenant(name, schedule=HOUR) for name in ("acme", "globex", "hooli", "initech")))
        at = NOON.timestamp()
        assert served.world.measured(LAST_SUCCESS) == {"acme": at, "globex": at}
