"""A tenant without a successful run: its alert fires by the clock alone."""

from datetime import timedelta

import anyio

from adsyncd.model.tenant import Cron, Every
from support.tenants import a_tenant
from support.watched import HOOK, QUARTER, SUCCEEDED, World


async def test_a_tenant_without_a_run_that_gets_through_rings_by_the_clock_alone(world: World) -> None:
    async with world.daemon(HOOK) as watch:
        await world.run(watch, SUCCEEDED)
        begun = world.clock.now()
        while not world.hooked():  # noqa: ASYNC110 - on a virtual clock
            await anyio.sleep(1)
        assert world.hooked() == [("acme", "no_success", "firing")]
        assert 4 * QUARTER <= world.clock.now() - begun <= 4 * QUARTER + timedelta(seconds=31)
        await anyio.sleep(6 * 3600)
        await world.run(watch, SUCCEEDED)
        await anyio.sleep(60)
    assert world.hooked() == [("acme", "no_success", "firing"), ("acme", "no_success", "resolved")]


async def test_runs_of_another_process_that_get_through_keep_it_quiet_and_end_it(world: World) -> None:
    async with world.daemon(HOOK):
        for _ in range(20):
            await world.run(None, SUCCEEDED)
        assert world.hooked() == []
        await anyio.sleep(6 * 3600)
        assert world.hooked() == [("acme", "no_success", "firing")]
        await world.run(None, SUCCEEDED)
        await anyio.sleep(60)
    assert world.hooked() == [("acme", "no_success", "firing"), ("acme", "no_success", "resolved")]


async def test_after_a_start_a_tenant_has_its_intervals_and_the_time_of_a_run_to_get_through(world: World) -> None:
    async with world.daemon(HOOK):
        await anyio.sleep((4 * QUARTER + a_tenant().sync.run_deadline).total_seconds() - 1)
        assert world.hooked() == []
        await anyio.sleep(60)
    assert world.hooked() == [("acme", "no_success", "firing")]


async def test_a_tenant_whose_runs_outlast_its_intervals_does_not_ring_as_long_as_they_succeed(world: World) -> None:
    async with world.daemon(HOOK) as watch:
        for _ in range(5):
            await world.run(watch, SUCCEEDED, after=timedelta(minutes=80), took=timedelta(minutes=70))
    assert world.hooked() == []


async def test_a_tenant_that_is_due_no_more_does_not_ring(world: World) -> None:
    async with world.daemon(HOOK, tenants=()) as watch:
        watch.add(a_tenant(schedule=Cron("0 0 31 2 *", "UTC")))
        await anyio.sleep(86400)
    assert world.hooked() == []


async def test_another_schedule_gives_a_tenant_new_time_and_another_page_size_does_not(world: World) -> None:
    slow = a_tenant(schedule=Every(timedelta(days=1)))
    async with world.daemon(HOOK, tenants=()) as watch:
        watch.add(slow)
        await anyio.sleep(86400)
        watch.change(a_tenant())
        for number in range(1, 80):
            await anyio.sleep(60)
            assert world.hooked() == []
            watch.change(a_tenant(page_size=number))
        await anyio.sleep(20 * 60)
    assert world.hooked() == [("acme", "no_success", "firing")]
