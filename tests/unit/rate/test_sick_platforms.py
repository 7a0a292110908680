"""Tenants of one host, some of which get no answers: which of them wait, for how long, and which do not notice."""

from collections.abc import AsyncIterator
from datetime import timedelta

import anyio
import pytest
from structlog.testing import capture_logs

from adsyncd.model.run import Outcome, Run, Tally
from adsyncd.model.tenant import Tenant
from adsyncd.rate.quota import Quota
from adsyncd.store import Store
from support.inline_store import inline_store
from support.pipelines import fire_time
from support.supervised import World, a_world, tenant

SICK = "the platform answered 503: Service Unavailable try again later"

OPENED = "circuit breaker opened, the platform answers nobody"
CLOSED = "circuit breaker closed, the platform answers again"
STUBBORN = {"max_attempts": 20, "run_deadline": timedelta(minutes=10)}


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with inline_store() as opened:
        yield opened


async def is_(world: World, fault: str, *client_ids: str) -> None:
    """Change what the platform does to client ids."""
    settings = {"clients": {client_id: {"fault": fault} for client_id in client_ids}}
    (await world.platform.post("/_settings", json=settings)).raise_for_status()


async def runs_of(world: World, *names: str, number: int = 0) -> list[Run]:
    """Run tenants at the same time, and return how that ended."""
    runs: dict[str, Run] = {}

    async def sync(name: str) -> None:
        runs[name] = await world.supervisor.worker(name).sync(fire_time(number), Tally())

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(sync, name)
    return [runs[name] for name in names]


def took(run: Run) -> timedelta:
    assert run.ended_at
    return run.ended_at - run.started_at


@pytest.mark.parametrize("fault", ["503", "hang"])
async def test_tenants_that_are_not_answered_open_the_breaker_and_change_nothing_for_one_that_is(
    store: Store, fault: str
) -> None:
    """The well one is silent for longer than it takes to open: it has used up its quota, as most do."""
    well = tenant("well", quota=Quota(10, timedelta(seconds=60)))
    sick = [tenant(name, **STUBBORN) for name in ("acme", "globex", "initech")]

    async def went(company: list[Tenant], number: int) -> tuple[timedelta, int, Outcome | None]:
        async with a_world(store, well, *company) as world:
            await is_(world, fault, *[each.id for each in company])
            for each in company:
                world.tick(each.id, number)
            [run] = await runs_of(world, "well", number=number)
        return took(run), run.requests, run.outcome

    with capture_logs() as logged:
        alone = await went([], 0)
        assert OPENED not in {entry["event"] for entry in logged}
        assert await went(sick, 1) == alone
    assert OPENED in {entry["event"] for entry in logged}


async def test_one_tenant_that_is_not_answered_never_opens_it(store: Store) -> None:
    with capture_logs() as logged:
        async with a_world(store, tenant("well"), tenant("sick", **STUBBORN), sick={"fault": "503"}) as world:
            _, run = await runs_of(world, "well", "sick")
    assert (run.outcome, run.error, run.requests) == (Outcome.FAILED, SICK, 20)
    assert OPENED not in {entry["event"] for entry in logged}


async def test_a_lone_run_at_a_platform_that_is_down_fails_after_its_attempts_in_seconds(store: Store) -> None:
    async with a_world(store, tenant("acme"), acme={"fault": "503"}) as world:
        [run] = await runs_of(world, "acme")
    assert (run.outcome, run.error, run.requests) == (Outcome.FAILED, SICK, 5)
    assert took(run) < timedelta(seconds=8)


async def test_runs_that_a_platform_s_death_interrupts_go_on_when_it_is_back_and_use_no_attempt_meanwhile(
    store: Store,
) -> None:
    names = [f"tenant-{number}" for number in range(4)]
    with capture_logs() as logged:
        async with a_world(store, *map(tenant, names)) as world, anyio.create_task_group() as tasks:
            tasks.start_soon(fall_ill, world, 3, 300, names)
            runs = await runs_of(world, *names)
    assert [entry["event"] for entry in logged if entry["event"] != "run begins"] == [OPENED, CLOSED]
    assert {run.outcome for run in runs} <= {Outcome.SUCCEEDED, Outcome.PARTIAL}
    assert sum(run.pushed for run in runs) >= 60  # the others used up their attempts before it opened, or as probes
    assert sum(run.retries for run in runs) < 2 * 60  # in five minutes of 20 workers that had nothing else to do
    assert all(took(run) < timedelta(seconds=3 + 300 + 72 + 30) for run in runs)


async def fall_ill(world: World, after_s: float, for_s: float, names: list[str]) -> None:
    """Let nobody be answered for a while."""
    await anyio.sleep(after_s)
    await is_(world, "503", *names)
    await anyio.sleep(for_s)
    await is_(world, "none", *names)


async def test_a_run_that_waits_for_its_breaker_to_the_end_of_its_time_says_what_for(store: Store) -> None:
    names = ["acme", "globex", "initech"]
    tenants = [tenant(name, run_deadline=timedelta(minutes=5)) for name in names]
    async with a_world(store, *tenants) as world, anyio.create_task_group() as tasks:
        tasks.start_soon(fall_ill, world, 3, 300, names)
        runs = await runs_of(world, *names)
    [run, *_] = [run for run in runs if run.outcome is Outcome.ABANDONED]
    assert run.error
    assert run.error.startswith(
        "not done within run_deadline (5m): was waiting for the circuit breaker of ads.invalid: "
    )
    assert run.error.endswith(", the last one: the platform answered 503")


async def test_a_stop_ends_what_waits_for_a_breaker_and_leaves_it_open(store: Store) -> None:
    names = ["acme", "globex"]
    async with a_world(store, *map(tenant, names)) as world:
        for name in names:
            world.tick(name)
        await anyio.sleep(3)
        await is_(world, "503", *names)
        await anyio.sleep(60)
        before = anyio.current_time()
        await world.supervisor.drain(timedelta(seconds=20))
        assert anyio.current_time() - before < 1
        assert {run.tenant for run in await store.open_runs()} == set(names)
