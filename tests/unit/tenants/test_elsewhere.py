"""Two processes with one store: what one does, the other knows a few seconds later."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from unittest.mock import AsyncMock, Mock, patch

import anyio

from adsyncd.alerts import AlertWatch
from adsyncd.errors import StoreError
from adsyncd.host.owner import ProcessOwner
from adsyncd.model.run import Outcome, Tally
from adsyncd.model.status import State, TenantStatus
from adsyncd.runs.lease import Leases
from adsyncd.store import Store
from adsyncd.telemetry.instruments import DEAD_LETTERS, LAST_SUCCESS
from adsyncd.tenants.diff import Change
from adsyncd.tenants.elsewhere import LOOK_S, Elsewhere
from support.inline_store import Disk
from support.pipelines import fire_time
from support.supervised import World, a_world, tenant

OTHER = "process 7 on box; boot net name"
SECONDS = 2 * LOOK_S


@dataclass
class Daemon:
    world: World
    elsewhere: Elsewhere
    watch: AsyncMock

    def status(self, tenant_id: str = "acme") -> TenantStatus:
        return self.world.supervisor.worker(tenant_id).status(None)


@asynccontextmanager
async def a_daemon(store: Store, **client: object) -> AsyncIterator[Daemon]:
    """Run a process that looks at others, with the tenant acme."""
    async with a_world(store, tenant("acme"), tenant("globex"), acme=client) as world:
        leases = world.supervisor._services.leases
        watch = AsyncMock(spec=AlertWatch)
        elsewhere = Elsewhere(store, leases, lambda: world.supervisor.workers, watch, world.instruments)
        await elsewhere.begin()
        world.tasks.start_soon(elsewhere.run)
        yield Daemon(world, elsewhere, watch)


@asynccontextmanager
async def a_sync(daemon: Daemon) -> AsyncIterator[World]:
    """Begin another process with the same store, tenant and platform."""
    async with a_world(daemon.world.store, tenant("acme")) as other:
        object.__setattr__(other.supervisor._services, "leases", Leases(daemon.world.store, ProcessOwner(OTHER)))
        object.__setattr__(
            other.supervisor._services.connector, "open", daemon.world.supervisor._services.connector.open
        )
        yield other


async def test_another_process_shows_within_seconds_of_its_beginning_and_its_run_within_seconds_of_its_end(
    store: Store,
) -> None:
    async with a_daemon(store, rejected=["cmp-0001"]) as daemon, a_sync(daemon) as other:
        assert daemon.status().state is State.IDLE
        other.tasks.start_soon(other.supervisor.worker("acme").sync, fire_time(0), Tally())
        await anyio.sleep(SECONDS)
        status = daemon.status()
        assert (status.state, status.holder, status.last_run) == (State.ELSEWHERE, "process 7 on box", None)
        assert daemon.status("globex").state is State.IDLE
        run = await other.ended()
        await anyio.sleep(SECONDS)
        status = daemon.status()
        assert (status.state, status.holder, status.last_run) == (State.IDLE, None, run)
        assert status.error == run.error
        assert status.verdict
        assert daemon.world.measured(DEAD_LETTERS)["acme"] == run.dead_lettered == 1
        assert daemon.world.measured(LAST_SUCCESS)["acme"]
        daemon.watch.ended.assert_awaited_once_with(run, None)
        await anyio.sleep(60)
        daemon.watch.ended.assert_awaited_once()


async def test_a_run_that_begins_and_ends_between_two_looks_is_not_missed(store: Store) -> None:
    async with a_daemon(store, campaigns=0) as daemon, a_sync(daemon) as other:
        await anyio.sleep(LOOK_S / 2)
        run = await other.supervisor.worker("acme").sync(fire_time(0), Tally())
        assert run.outcome is Outcome.SUCCEEDED
        await anyio.sleep(LOOK_S)
        assert daemon.status().last_run == run


async def test_own_runs_are_no_other_process_s_and_all_fences_are_not_read_for_them(store: Store) -> None:
    async with a_daemon(store) as daemon:
        await anyio.sleep(1)
        with patch.object(daemon.elsewhere._records, "fences", AsyncMock(wraps=store.fences)) as fences:
            for number in range(5):
                daemon.world.tick(number=number)
                run = await daemon.world.ended(number=number)
                await anyio.sleep(SECONDS)
            assert daemon.status().last_run == run
            fences.assert_not_called()
        daemon.watch.ended.assert_not_called()


async def test_a_holder_without_a_beat_is_gone_after_the_time_to_live_and_a_dead_one_at_once(store: Store) -> None:
    async with a_daemon(store) as daemon:
        lease = await store.take_lease("acme", OTHER)
        for _ in range(3):
            await anyio.sleep(20)
            assert daemon.status().state is State.ELSEWHERE
            await store.beat_leases([lease])
        await anyio.sleep(60)
        assert daemon.status().state is State.IDLE
        await store.beat_leases([lease])
        await anyio.sleep(SECONDS)
        assert daemon.status().state is State.ELSEWHERE
        with patch.object(ProcessOwner, "is_gone", Mock(return_value=True)):
            await anyio.sleep(SECONDS)
            assert daemon.status().state is State.IDLE


async def test_while_the_database_fails_nothing_is_lost(store: Store, disk: Disk) -> None:
    async with a_daemon(store) as daemon, a_sync(daemon) as other:
        other.tasks.start_soon(other.supervisor.worker("acme").sync, fire_time(0), Tally())
        await anyio.sleep(SECONDS)
        run = await other.ended()
        disk.gone = True
        await anyio.sleep(10 * LOOK_S)
        assert daemon.status().last_run is None
        disk.gone = False
        await anyio.sleep(SECONDS)
        assert (daemon.status().state, daemon.status().last_run) == (State.IDLE, run)


async def test_records_that_could_not_be_read_are_read_at_the_next_look(store: Store) -> None:
    async with a_daemon(store) as daemon, a_sync(daemon) as other:
        with patch.object(Store, "last_runs_of", AsyncMock(side_effect=StoreError("gone"))):
            run = await other.supervisor.worker("acme").sync(fire_time(0), Tally())
            await anyio.sleep(SECONDS)
            assert daemon.status().last_run is None
        await anyio.sleep(SECONDS)
        assert daemon.status().last_run == run


async def test_a_pause_on_record_is_known_once_another_process_was_at_work(store: Store) -> None:
    async with a_daemon(store) as daemon:
        await store.pause("acme", daemon.world.clock.now())
        await store.give_lease(await store.take_lease("acme", OTHER))
        await anyio.sleep(SECONDS)
        assert daemon.status().state is State.PAUSED
        await daemon.world.supervisor.worker("acme").resume()
        await anyio.sleep(SECONDS)
        assert daemon.status().state is State.IDLE


async def test_tenants_that_are_not_in_service_are_passed_over(store: Store) -> None:
    async with a_daemon(store) as daemon:
        lease = await store.take_lease("hooli", OTHER)
        await anyio.sleep(SECONDS)
        await store.give_lease(lease)
        await anyio.sleep(SECONDS)
        assert daemon.elsewhere._stale == set()


async def test_what_failed_here_is_no_error_once_another_process_got_through(store: Store) -> None:
    async with a_daemon(store) as daemon, a_sync(daemon) as other:
        await daemon.world.treat("acme", fault="503")
        daemon.world.tick()
        failed = await daemon.world.ended()
        assert failed.outcome is Outcome.FAILED
        assert daemon.status().error
        await daemon.world.treat("acme", fault="none")
        await other.supervisor.worker("acme").sync(fire_time(1), Tally())
        await anyio.sleep(SECONDS)
        assert (daemon.status().error, daemon.status().verdict) == (None, None)


async def test_a_run_of_another_account_is_the_last_one_and_raises_no_alert(store: Store) -> None:
    async with a_daemon(store, rejected=["cmp-0001"]) as daemon, a_sync(daemon) as other:
        here = daemon.world.supervisor.worker("acme")
        here.change(Change(here.tenant, replace(here.tenant, client_id="globex")))
        run = await other.supervisor.worker("acme").sync(fire_time(0), Tally())
        await anyio.sleep(SECONDS)
        status = daemon.status()
        assert (status.last_run, status.error, status.verdict) == (run, None, None)
        daemon.watch.ended.assert_not_called()
