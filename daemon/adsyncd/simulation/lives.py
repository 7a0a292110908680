"""The daemon's lives in one world, and the events around it: each life ends, a last one has to finish everything.

platforms, links, changes, the wall clock, Vault ─┐
life ─► down ─► life ─► … ─► all faults cured ─► last life
  └─ the real supervisor, pipeline, governor and retries, built anew; only the database is kept
"""

import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from random import Random

import anyio
from anyio.abc import TaskGroup
from opentelemetry.trace import NoOpTracer
from sqlalchemy import Engine, func, select

from adsyncd.alerts import AlertWatch
from adsyncd.daemon import Parts
from adsyncd.errors import AdsyncdError, StoreError
from adsyncd.model.run import Outcome, Tally, whole_ms
from adsyncd.model.status import counted
from adsyncd.model.tenant import Tenant
from adsyncd.platforms import Connector
from adsyncd.rate import Governor
from adsyncd.rate.bucket import cools_for
from adsyncd.runs.lease import Leases
from adsyncd.simulation.fakes import CountingInstruments, FakeDisk, FakeOwner, FakeVault
from adsyncd.simulation.invariants import InvariantChecker
from adsyncd.simulation.memory import dump
from adsyncd.simulation.network import Application, Factory, Network, Wire
from adsyncd.simulation.promises import Invariant
from adsyncd.simulation.senders import Senders
from adsyncd.simulation.ticker import VirtualTicker
from adsyncd.simulation.virtual_time import START, VirtualClock
from adsyncd.simulation.world import End, Jump, Life, PlatformChange, Span, World
from adsyncd.store.store import Store, store_in
from adsyncd.store.tables import campaigns, runs
from adsyncd.tasks import at_once, beside
from adsyncd.telemetry.instruments import QUOTA_PERMITS, Instruments
from adsyncd.tenants.diff import Diff
from adsyncd.tenants.registry import Registry
from adsyncd.tenants.run_log import RunLog
from adsyncd.tenants.services import Services
from adsyncd.tenants.supervisor import Supervisor

_GRACE = timedelta(seconds=20)
_LAST_RUN_WITHIN = timedelta(hours=2)
_RECORDED_WITHIN_S = 5.0
_RESTART_S = 5.0
_ASKS_EVERY_S = (5.0, 90.0)
_LISTINGS = 3  # that it takes to be believed: one that collapses, and two that agree
_ROUNDS = 3  # in which a tenant has to complete a run: one for an open run, one of its own, one spare


class Lives:
    """Runs the daemon through one world. `around`: the tasks of the platforms; `engine`: the database of all lives.

    `overlapped` counts the skipped ticks, by tenant id.
    """

    def __init__(
        self, world: World, factory: Factory, checker: InvariantChecker, around: TaskGroup, engine: Engine
    ) -> None:
        self._world = world
        self._checker = checker
        self._clock = VirtualClock()
        self._engine = engine
        self._vault = FakeVault(world)
        self._disk_random = Random(f"{world.seed}/disk")  # noqa: S311 - a simulation
        platforms = {
            base_url: factory(settings, lambda: START.timestamp() + anyio.current_time())
            for base_url, settings in world.platforms.items()
        }
        senders = Senders(world)
        hosts = platforms | sign_in_hosts(world, platforms)
        self._network = Network(hosts, world.links, world.seed, senders.client_id, checker, around)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._operator = Random(f"{world.seed}/operator")  # noqa: S311 - a simulation
        self._ended: set[str] = set()
        self.overlapped: Counter[str] = Counter()

    async def run(self) -> None:
        """Run all lives, and a last one if the world has `cures`."""
        async with beside(self._happen):
            for number, life in enumerate(self._world.lives):
                await self._live(life, number)
        if self._world.cures:
            await self._settle()

    async def _happen(self) -> None:
        """Make the changes at the platforms and the jumps of the clock happen."""
        events: list[PlatformChange | Jump] = [*self._world.changes, *self._world.jumps]
        for event in sorted(events, key=lambda event: event.at_s):
            await anyio.sleep(event.at_s - anyio.current_time())
            self._checker.note("happens", event)
            match event:
                case PlatformChange():
                    self._vault.passwords |= event.passwords
                    await self._network.ask(event.base_url, "POST", "/_settings", event.settings)
                case Jump():
                    self._clock.jump(timedelta(seconds=event.by_s))

    async def _live(self, life: Life, number: int) -> None:
        self._checker.life_begins(life.guest)
        async with anyio.create_task_group() as beside_it:
            if life.guest and life.tenants:
                beside_it.start_soon(self._visit, life, life.guest, number)
            await self._be_alive(life, f"life {number}", guest=False)
            await anyio.sleep(life.down_s)
        if life.end is End.REBOOT:
            self._clock.reboot()

    async def _ask_for_runs(self, tenants: Sequence[Tenant], emit: Callable[[str, datetime], None]) -> None:
        """Request a run of a tenant now and then, as an operator would beside the daemon."""
        while True:
            await anyio.sleep(self._operator.uniform(*_ASKS_EVERY_S))
            emit(self._operator.choice(tenants).id, whole_ms(self._clock.now()))

    async def _visit(self, life: Life, stays: Span, number: int) -> None:
        """Run a second process for a while."""
        await anyio.sleep(stays.from_s)
        visit = replace(life, lasts_s=stays.to_s - stays.from_s, end=End.KILL)
        await self._be_alive(visit, f"guest of life {number}", guest=True)

    async def _be_alive(self, life: Life, owner: str, *, guest: bool) -> None:
        wire, instruments = Wire(self._network, owner), CountingInstruments(self.overlapped)
        disk = FakeDisk(self._disk_random, self._world)
        async with store_in(self._engine, clock=self._clock, tracer=NoOpTracer(), off_loop=disk) as store:

            def emit(tenant_id: str, fire_time: datetime) -> None:
                if not guest:
                    self._checker.ticked(tenant_id)
                parts.supervisor.tick(runs, tenant_id, fire_time)

            ticker = VirtualTicker(self._clock, emit)
            leases = Leases(store, FakeOwner(owner, self._ended))
            with anyio.move_on_after(life.lasts_s if guest else None) as killed:
                parts, registry = await self._start(life, owner, store, wire, instruments, ticker, leases)
            if killed.cancelled_caught:
                self._ended.add(owner)
                return
            async with anyio.create_task_group() as runs:
                catching_up = beside(registry.catch_up, runs) if life.catches_up else nullcontext()
                begin = partial(self._ask_for_runs, life.tenants, emit) if guest else ticker.run
                async with beside(leases.run), beside(begin), catching_up:
                    await anyio.sleep_until(killed.deadline) if guest else await anyio.sleep(life.lasts_s)
                if not guest:
                    self._checker.life_ends(life.tenants)
                if life.end is End.STOP:
                    await parts.supervisor.drain(_GRACE)
                # From now on nothing that this life still attempts has an effect.
                wire.cut = True
                disk.dead.set()
                self._ended.add(owner)
                runs.cancel_scope.cancel()
        if life.end is End.STOP:
            await self._check_permits(instruments, life.tenants)

    async def _start(
        self,
        life: Life,
        owner: str,
        store: Store,
        wire: Wire,
        instruments: CountingInstruments,
        ticker: VirtualTicker,
        leases: Leases,
    ) -> tuple[Parts, Registry]:
        """Build all parts; retry while the database fails, as systemd does."""
        while True:
            try:
                parts = await self._parts(store, wire, owner, instruments, leases)
                registry = Registry(parts.supervisor, ticker, parts.alerts, store, self._clock)
                await registry.apply(Diff(added=life.tenants))
            except StoreError:
                await anyio.sleep(_RESTART_S)
            else:
                return parts, registry

    async def _settle(self) -> None:
        """Cure all faults, run a last life, and check that all runs end."""
        self._checker.life_begins()
        self._network.heal()
        self._vault.outages = self._vault.hangs = ()
        for base_url, cure in self._world.cures.items():
            await self._network.ask(base_url, "POST", "/_settings", cure)
        await anyio.sleep(1)  # a tick at the last instant used that fire time
        instruments = CountingInstruments(self.overlapped)
        disk = FakeDisk(self._disk_random, replace(self._world, failures=(), stalls=()))
        async with store_in(self._engine, clock=self._clock, tracer=NoOpTracer(), off_loop=disk) as store:
            owner = "the last life"
            leases = Leases(store, FakeOwner(owner, self._ended))
            parts = await self._parts(store, Wire(self._network, owner), owner, instruments, leases)
            async with anyio.create_task_group() as tasks:
                for tenant in self._world.tenants:
                    sync = replace(tenant.sync, run_deadline=_LAST_RUN_WITHIN, list_cache=timedelta(0))
                    patient = replace(tenant, sync=sync)
                    parts.supervisor.add(patient)
                    tasks.start_soon(self._end_well, parts, patient)
            await self._check_permits(instruments, self._world.tenants)
            for run in await store.open_runs():
                self._checker.break_(Invariant.DRAINED, f"{run.run_id} is still open")
        await self._look_back()

    async def _check_permits(self, instruments: CountingInstruments, tenants: Iterable[Tenant]) -> None:
        """Check that all permits come back after the last request."""
        # Permits of earlier lives stay on record for as long as their requests may take, by their own quotas.
        most_s = (
            cools_for(window) + tenant.sync.timeout.total_seconds()
            for tenant in self._world.tenants
            for window in tenant.quota.windows
        )
        await anyio.sleep(_RECORDED_WITHIN_S + max(most_s, default=0.0))
        free = instruments.observed(QUOTA_PERMITS)
        for tenant in tenants:
            if free[tenant.id] != min(window.requests for window in tenant.quota.windows):
                self._checker.break_(
                    Invariant.DRAINED, f"{tenant.id} has {counted(int(free[tenant.id]), 'permit')} left in the end"
                )

    async def _end_well(self, parts: Parts, tenant: Tenant) -> None:
        for _ in range(_ROUNDS):
            fire_time = self._clock.now()
            try:
                run = await parts.supervisor.worker(tenant.id).sync(fire_time, Tally(now=self._clock.monotonic))
            except AdsyncdError as error:
                self._checker.break_(Invariant.DRAINED, f"{tenant.id} can't run: {error}")
                return
            if run.fire_time == fire_time:
                break
            await anyio.sleep(1)
        for _ in range(_LISTINGS):
            if self._checker.is_right_about(tenant, self._kept(tenant)):
                break
            await anyio.sleep(1)
            run = await parts.supervisor.worker(tenant.id).sync(
                fire_time := self._clock.now(), Tally(now=self._clock.monotonic)
            )
        if run.fire_time != fire_time or run.outcome not in {Outcome.SUCCEEDED, Outcome.PARTIAL} or run.failed:
            self._checker.break_(Invariant.DRAINED, f"the last run of {tenant.id} is {run.outcome}: {run.error}")

    async def _look_back(self) -> None:
        for tenant in self._world.tenants:
            pages = await self._network.ask(tenant.platform.base_url, "GET", f"/_ledger?client_id={tenant.client_id}")
            self._checker.check_ledger(tenant, pages["clients"][tenant.client_id])
            self._checker.check_campaigns(tenant, self._kept(tenant))
        self._checker.check_database(dump(self._engine))
        self._checker.check_progress()
        self._check_skipped_ticks()

    def _check_skipped_ticks(self) -> None:
        """Check that runs stand for no more skipped ticks than there were. A crash may lose the last ones."""
        with self._engine.connect() as connection:
            on_record = connection.execute(
                select(runs.c.tenant, func.sum(runs.c.skipped_ticks)).group_by(runs.c.tenant)
            )
            for tenant, skipped in on_record:
                if skipped > self.overlapped[tenant]:
                    recorded = counted(skipped, "skipped tick")
                    what = f"{tenant} has {recorded} on record, and skipped {self.overlapped[tenant]}"
                    self._checker.break_(Invariant.RECONCILED, what)

    def _kept(self, tenant: Tenant) -> set[str]:
        """Return a tenant's campaigns that the store has not marked deleted."""
        of_tenant = campaigns.c.tenant == tenant.id, campaigns.c.deleted_at.is_(None)
        with self._engine.connect() as connection:
            return set(connection.scalars(select(campaigns.c.campaign_id).where(*of_tenant)))

    async def _parts(self, store: Store, wire: Wire, owner: str, instruments: Instruments, leases: Leases) -> Parts:
        connector = Connector(
            tls=self._tls,
            clock=self._clock,
            random=Random(f"{self._world.seed}/{owner}"),  # noqa: S311 - a simulation
            tracer=NoOpTracer(),
            instruments=instruments,
            traced=lambda inner: inner,
            open=lambda _tls, _limits: wire,
            off_loop=at_once,
        )
        run_log = RunLog()
        supervisor = Supervisor(
            Services(
                connector=connector,
                credentials=self._vault,
                governor=Governor(self._clock, store, owner, await store.permits(), await store.shapes()),
                store=store,
                leases=leases,
                clock=self._clock,
                tracer=NoOpTracer(),
                instruments=instruments,
                run_log=run_log,
            )
        )
        nobody = AlertWatch(
            [], store, connect=lambda: wire, clock=self._clock, random=connector.random, instruments=instruments
        )
        return Parts(supervisor, store, self._clock, nobody, leases, instruments, run_log)


def sign_in_hosts(world: World, platforms: Mapping[str, Application]) -> dict[str, Application]:
    """Return the platforms by the addresses at which they are signed in to, where these are others."""
    found = {tenant.platform.sign_in_url: tenant.platform.base_url for tenant in world.tenants}
    return {url: platforms[base_url] for url, base_url in found.items() if url}
