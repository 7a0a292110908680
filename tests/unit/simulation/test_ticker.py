from datetime import datetime, timedelta

import anyio

from adsyncd.model.schedule import next_fire, trigger
from adsyncd.model.tenant import Cron, Every
from adsyncd.simulation.ticker import VirtualTicker
from adsyncd.simulation.virtual_time import START, VirtualClock
from support.tenants import a_tenant

QUARTERLY = Cron("*/15 * * * *", "UTC")
MINUTE = timedelta(minutes=1)


async def ticks(clock: VirtualClock, *stretches: tuple[timedelta, timedelta]) -> list[datetime]:
    """Return the ticks of a quarterly tenant; in each stretch so much time passes, then the clock is set by so much."""
    told: list[datetime] = []
    ticker = VirtualTicker(clock, lambda _, fire_time: told.append(fire_time))
    ticker.add(a_tenant(schedule=QUARTERLY))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ticker.run)
        for lasts, jump in stretches:
            await anyio.sleep(lasts.total_seconds())
            clock.jump(jump)
        tasks.cancel_scope.cancel()
    return told


def at(*minutes: int) -> list[datetime]:
    return [START + minute * MINUTE for minute in minutes]


async def test_each_fire_time_is_told_when_it_has_come() -> None:
    assert await ticks(VirtualClock(), (46 * MINUTE, timedelta())) == at(15, 30, 45)


async def test_a_clock_set_forward_is_found_out_at_the_next_wake_up_with_one_tick_for_all_that_was_missed() -> None:
    clock = VirtualClock()
    assert await ticks(clock, (20 * MINUTE, 61 * MINUTE), (11 * MINUTE, timedelta())) == at(15, 90)


async def test_a_clock_set_back_brings_no_fire_time_twice() -> None:
    clock = VirtualClock()
    assert await ticks(clock, (20 * MINUTE, -10 * MINUTE), (40 * MINUTE, timedelta())) == at(15, 30, 45)


async def test_tenants_are_ticked_each_by_its_own_schedule() -> None:
    one = a_tenant(id="one", schedule=Every(10 * MINUTE))
    other = a_tenant(id="other", schedule=Every(25 * MINUTE))
    told: list[tuple[str, datetime]] = []
    ticker = VirtualTicker(VirtualClock(), lambda *ticked: told.append(ticked))
    ticker.add(one)
    ticker.add(other)
    with anyio.move_on_after(3600):
        await ticker.run()
    for tenant, number in ((one, 6), (other, 2)):
        of, expected = trigger(tenant.schedule, tenant.id), [START]
        while len(expected) <= number:
            fire_time = next_fire(of, expected[-1])
            assert fire_time is not None
            expected.append(fire_time)
        assert [fire_time for tenant_id, fire_time in told if tenant_id == tenant.id][:number] == expected[1:]


async def test_a_tenant_that_comes_changes_or_goes_is_ticked_so_from_then_on() -> None:
    told: list[tuple[str, datetime]] = []
    ticker = VirtualTicker(VirtualClock(), lambda *ticked: told.append(ticked))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ticker.run)
        await anyio.sleep(60)
        ticker.add(a_tenant(schedule=QUARTERLY))
        await anyio.sleep(15 * 60)
        ticker.change(a_tenant(schedule=Cron("*/5 * * * *", "UTC")))
        await anyio.sleep(5 * 60)
        ticker.change(a_tenant(schedule=QUARTERLY))
        await anyio.sleep(10 * 60)
        ticker.remove("acme")
        await anyio.sleep(60 * 60)
        ticker.add(a_tenant(schedule=QUARTERLY))
        await anyio.sleep(15 * 60)
        tasks.cancel_scope.cancel()
    assert [fire_time for _, fire_time in told] == at(15, 20, 30, 105)


async def test_a_tenant_whose_date_never_comes_is_not_ticked_and_holds_up_no_other() -> None:
    told: list[tuple[str, datetime]] = []
    ticker = VirtualTicker(VirtualClock(), lambda *ticked: told.append(ticked))
    ticker.add(a_tenant(id="never", schedule=Cron("0 0 30 2 *", "UTC")))
    ticker.add(a_tenant(schedule=QUARTERLY))
    with anyio.move_on_after(16 * 60):
        await ticker.run()
    ticker.remove("never")
    assert [name for name, _ in told] == ["acme"]
