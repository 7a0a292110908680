import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from threading import RLock
from unittest.mock import Mock

import anyio
import anyio.lowlevel
import pytest
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler

from adsyncd.model.schedule import next_fire, trigger
from adsyncd.model.tenant import Every, Tenant
from adsyncd.tasks import beside
from adsyncd.tenants.ticks import Ticker, _Executor
from support.records import HandClock
from support.tenants import a_tenant


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"  # APScheduler keeps the machine's time


Ticks = list[tuple[str, datetime]]

OFTEN = Every(timedelta(milliseconds=50))


def tenant(name: str, schedule: Every = OFTEN) -> Tenant:
    return a_tenant(id=name, schedule=schedule)


def is_on_schedule(tick: tuple[str, datetime], schedule: Every = OFTEN) -> bool:
    """Whether a tick's fire time is one of its tenant's, to the microsecond."""
    name, fire_time = tick
    return next_fire(trigger(schedule, name), fire_time - timedelta(microseconds=1)) == fire_time


@asynccontextmanager
async def ticking(*tenants: Tenant) -> AsyncIterator[tuple[Ticker, Ticks]]:
    ticks: Ticks = []
    ticker = Ticker(lambda tenant_id, fire_time: ticks.append((tenant_id, fire_time)))
    for each in tenants:
        ticker.add(each)
    ticker.start()
    try:
        yield ticker, ticks
    finally:
        if ticker._scheduler.running:
            ticker.stop()
        await anyio.lowlevel.checkpoint()  # in which the scheduler shuts down


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - ticks come from outside the loop
            await anyio.sleep(0.01)


def of(name: str, ticks: Ticks) -> list[datetime]:
    return [fire_time for tenant_id, fire_time in ticks if tenant_id == name]


async def test_a_tick_tells_the_exact_fire_time_however_late_it_comes() -> None:
    async with ticking(tenant("acme"), tenant("globex")) as (_, ticks):
        await until(lambda: len(of("acme", ticks)) > 3 and len(of("globex", ticks)) > 3)
    assert all(is_on_schedule(tick) for tick in ticks)
    assert all(fire_time.tzinfo is UTC for _, fire_time in ticks)
    assert of("acme", ticks) == sorted(set(of("acme", ticks)))
    assert not set(of("acme", ticks)) & set(of("globex", ticks))  # each tenant has a phase of its own


async def test_what_a_stalled_loop_missed_comes_as_one_tick_for_the_latest() -> None:
    async with ticking(tenant("acme")) as (_, ticks):
        await until(lambda: len(ticks) > 0)
        before, stalled_at = len(ticks), datetime.now(UTC)  # noqa: TID251 - APScheduler lives by the real time
        time.sleep(0.4)  # noqa: ASYNC251 - the stall
        await until(lambda: len(ticks) > before)
        fire_time = ticks[before][1]
    assert fire_time > stalled_at + timedelta(seconds=0.3)
    assert is_on_schedule(ticks[before])


@pytest.mark.parametrize("turns", range(5))
async def test_a_stop_is_at_once_even_when_a_tick_is_due(turns: int) -> None:
    async with ticking(*(tenant(f"t{number}") for number in range(20))) as (ticker, ticks):
        await until(lambda: len(ticks) > 20)
        time.sleep(0.1)  # noqa: ASYNC251 - all of them are due
        for _ in range(turns):  # and the loop is on its way to find that out
            await anyio.lowlevel.checkpoint()
        before = len(ticks)
        ticker.stop()
        await anyio.sleep(0.1)
        assert len(ticks) == before


async def test_while_it_ticks_tenants_are_added_removed_and_changed_and_go_by_their_new_schedule() -> None:
    async with ticking(tenant("gone"), tenant("slow"), tenant("fast", Every(timedelta(hours=1)))) as (ticker, ticks):
        await until(lambda: len(of("gone", ticks)) > 0 and len(of("slow", ticks)) > 0)
        ticker.remove("gone")
        ticker.change(tenant("slow", Every(timedelta(days=365))))
        before = len(of("gone", ticks)), len(of("slow", ticks))
        ticker.change(tenant("fast"))
        ticker.add(tenant("late"))
        await until(lambda: len(of("fast", ticks)) > 4 and len(of("late", ticks)) > 1)
        assert (len(of("gone", ticks)), len(of("slow", ticks))) == before


async def test_a_mistake_in_what_a_tick_sets_off_stops_no_other_tick() -> None:
    ticks: Ticks = []

    def emit(tenant_id: str, fire_time: datetime) -> None:
        ticks.append((tenant_id, fire_time))
        if tenant_id == "bad":
            raise KeyError

    ticker = Ticker(emit)
    ticker.add(tenant("bad"))
    ticker.add(tenant("good"))
    ticker.start()
    await until(lambda: len(of("good", ticks)) > 2 and len(of("bad", ticks)) > 2)
    ticker.stop()
    await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("missed", [1, 5])
async def test_a_fire_time_in_any_zone_is_told_in_utc_and_leaves_nothing_behind_that_could_skip_the_next(
    missed: int,
) -> None:
    """APScheduler counts the instances of a job under way, and skips it at a limit: for us none ever is."""
    ticks: Ticks = []
    executor = _Executor(lambda tenant_id, fire_time: ticks.append((tenant_id, fire_time)))
    scheduler = Mock(spec=BaseScheduler)
    scheduler._create_lock.return_value = RLock()
    executor.start(scheduler, "default")
    local = [datetime.fromisoformat(f"2026-07-01T{hour:02}:00:00+02:00") for hour in range(missed)]
    for _ in range(10):
        executor.submit_job(Mock(spec=Job, id="acme", max_instances=1), local)
    assert ticks == [("acme", local[-1])] * 10
    assert ticks[0][1].tzinfo is UTC
    assert executor._instances["acme"] == 0


async def test_a_tick_that_the_loop_holds_up_is_late_and_then_given() -> None:
    async with ticking(tenant("acme")) as (ticker, ticks):
        now = datetime.now(UTC)  # noqa: TID251 - APScheduler reads the wall clock, too
        assert ticker.is_punctual(now)
        assert not ticker.is_punctual(now + timedelta(seconds=6))
        await until(lambda: bool(ticks))


async def test_a_wall_clock_that_was_put_forward_makes_the_scheduler_late_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ticking(tenant("acme", Every(timedelta(hours=1)))) as (ticker, ticks):
        later = datetime.now(UTC) + timedelta(hours=2)  # noqa: TID251 - APScheduler reads the wall clock, too
        wall = Mock(wraps=datetime, **{"now.return_value": later})
        monkeypatch.setattr("apscheduler.schedulers.base.datetime", wall)
        assert not ticker.is_punctual(later)
        await until(lambda: bool(ticks))
        assert ticker.is_punctual(later)


@asynccontextmanager
async def keeping_time(
    monkeypatch: pytest.MonkeyPatch, *tenants: Tenant
) -> AsyncIterator[tuple[HandClock, Ticker, Ticks]]:
    """Tick by a wall clock that stands still until it is moved, and is looked at often."""
    clock = HandClock()
    wall = Mock(wraps=datetime, now=lambda _zone: clock.now())
    monkeypatch.setattr("apscheduler.schedulers.base.datetime", wall)
    monkeypatch.setattr("adsyncd.tenants.ticks._LOOK_S", 0.01)
    async with ticking(*tenants) as (ticker, ticks), beside(ticker.keep_time, clock):
        await anyio.wait_all_tasks_blocked()
        yield clock, ticker, ticks


async def test_after_a_machine_s_sleep_each_tenant_that_became_due_is_ticked_once_without_a_watchdog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    daily = tenant("acme", Every(timedelta(days=1)))
    async with keeping_time(monkeypatch, daily, tenant("globex", Every(timedelta(hours=1)))) as (clock, ticker, ticks):
        clock.instant += timedelta(hours=72)
        await until(lambda: len(ticks) == 2)
        await anyio.sleep(0.05)
        assert [name for name, _ in sorted(ticks)] == ["acme", "globex"]
        assert all(clock.instant - each < timedelta(days=1) for _, each in ticks)  # the latest that was missed
        assert ticker.is_punctual(clock.now())


async def test_a_wall_clock_that_is_put_back_leaves_nobody_waiting_for_the_time_that_it_was_wrong_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hourly = tenant("acme", Every(timedelta(hours=1)))
    async with keeping_time(monkeypatch, hourly) as (clock, ticker, ticks):
        clock.instant -= timedelta(days=1000)
        due = next_fire(trigger(hourly.schedule, "acme"), clock.instant)
        await until(lambda: ticker.next_fire_time("acme") == due)
        assert not ticks
        clock.instant += timedelta(hours=1)
        await until(lambda: ticks == [("acme", due)])


async def test_a_change_that_comes_after_the_stop_changes_nothing() -> None:
    async with ticking(tenant("acme"), tenant("globex")) as (ticker, _):
        ticker.stop()
        await anyio.lowlevel.checkpoint()
        ticker.change(tenant("acme"))
        ticker.remove("globex")


async def test_a_clockwork_without_tenants_is_punctual() -> None:
    async with ticking() as (ticker, _):
        assert ticker.is_punctual(datetime.now(UTC))  # noqa: TID251 - APScheduler reads the wall clock, too


async def test_it_tells_when_a_tenant_is_due_next() -> None:
    rarely = Every(timedelta(days=30))
    async with ticking(tenant("acme", rarely)) as (ticker, _):
        now = datetime.now(UTC)  # noqa: TID251 - APScheduler lives by the real time
        assert ticker.next_fire_time("acme") == next_fire(trigger(rarely, "acme"), now)
        assert ticker.next_fire_time("globex") is None
