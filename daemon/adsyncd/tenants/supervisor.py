"""One bulkhead a tenant: what happens behind one is not felt behind another.

A bulkhead owns what its tenant's runs share (session, gate, retry budget) and lets one run go at a time.
A run is a task of its own, in a context of its own, under its own deadline; whatever it raises ends here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Protocol

import anyio
import structlog
from anyio.abc import TaskGroup
from opentelemetry import context as telemetry
from opentelemetry.trace import Tracer

from adsyncd.clock import Clock
from adsyncd.credentials import CredentialsSource
from adsyncd.errors import AdsyncdError, CommandRefused, LeaseHeld, NoSuchTenant, RunEnded, Stopping, StoreError
from adsyncd.model.campaign import DeadLetter, PushState
from adsyncd.model.run import Outcome, Run, Tally, run_id, whole_ms
from adsyncd.model.status import Going, TenantStatus
from adsyncd.model.tenant import Tenant
from adsyncd.platforms import Connector, PlatformClient
from adsyncd.rate import Governor, Priority
from adsyncd.rate.retry import RetryBudget
from adsyncd.runs.lease import Leases
from adsyncd.runs.listing_cache import ListingCache
from adsyncd.runs.pipeline import Pipeline
from adsyncd.runs.replay import Replay, Replayed
from adsyncd.store import Store
from adsyncd.telemetry.instruments import (
    DEAD_LETTERS,
    QUOTA_PERMITS,
    RUNS_OVERLAPPED,
    RUNS_PAUSED,
    TOKEN_EXPIRES_IN,
    Instruments,
)
from adsyncd.tenants.activity import Activities
from adsyncd.tenants.bulkhead import Bulkhead
from adsyncd.tenants.diff import Change

_log = structlog.stdlib.get_logger(__name__)

_AGAIN_S = 30.0  # after so long a run is taken up again that a database in trouble left open


class Watch(Protocol):
    """Who has to know how runs end. See `adsyncd.alerts.Watch`."""

    async def ended(self, run: Run, sign_in_error: AdsyncdError | None) -> None:
        """Take note of a run that was recorded just now, and of why its tenant's last sign-in failed, if it did."""


class Supervisor:
    """Runs tenants when they are due, each behind its bulkhead."""

    def __init__(
        self,
        *,
        connector: Connector,
        credentials: CredentialsSource,
        governor: Governor,
        store: Store,
        leases: Leases,
        clock: Clock,
        tracer: Tracer,
        instruments: Instruments,
        watch: Watch | None = None,
    ) -> None:
        self._connector = connector
        self._credentials = credentials
        self._governor = governor
        self._store = store
        self._leases = leases
        self._clock = clock
        self._tracer = tracer
        self._instruments = instruments
        self._watch = watch
        self._bulkheads: dict[str, Bulkhead] = {}
        self._running: set[str] = set()
        self._last_runs: dict[str, Run] = {}
        self._pauses: dict[str, datetime] = {}
        self._stopping = False
        self._activities = Activities(self._let_go)
        instruments.observe(QUOTA_PERMITS, partial(self._each, lambda bulkhead: bulkhead.gate.free))
        instruments.observe(TOKEN_EXPIRES_IN, partial(self._each, lambda bulkhead: bulkhead.session.expires_in()))

    async def recall(self) -> None:
        """Take up what the store knows: which tenants are paused, and how each one's last run ended."""
        self._pauses = await self._store.pauses()
        self._last_runs = await self._store.last_runs()

    def add(self, tenant: Tenant, dead_letters: int | None = None) -> None:
        """Take charge of a tenant, be it for the second time. `dead_letters`: how many it has, if that is known."""
        if dead_letters is not None:
            self._instruments.set(DEAD_LETTERS, dead_letters, tenant=tenant.id)
        if (bulkhead := self._bulkheads.get(tenant.id)) is not None:  # removed, and something still goes on for it
            bulkhead.leaving = False
            self.change(Change(bulkhead.tenant, tenant))
            return
        self._bulkheads[tenant.id] = Bulkhead(
            tenant,
            self._connector.session(tenant, self._credentials),
            self._governor.gate(tenant.client_quota),
            RetryBudget(self._clock.monotonic()),
        )

    def change(self, change: Change) -> float | None:
        """Let a tenant be another; return for how many seconds a quota that changed lets nothing through, if known."""
        bulkhead = self._bulkheads[change.new.id]
        bulkhead.tenant = change.new
        bulkhead.gate = self._governor.gate(change.new.client_quota)
        if change.signs_in_anew:
            bulkhead.session = self._connector.session(change.new, self._credentials, bulkhead.session)
        return bulkhead.gate.silence_s() if change.changes_quota else None

    def remove(self, tenant_id: str) -> None:
        """Begin no run of a tenant any more. What goes on for it comes to its end."""
        self._bulkheads[tenant_id].leaving = True
        self._let_go(tenant_id)

    def tick(self, tasks: TaskGroup, tenant_id: str, fire_time: datetime) -> None:
        """Start a tenant's run as a task of `tasks`.

        While its last one still goes on, or it is paused, the tick is skipped and counted. Of one that has been removed
        it is of no account.
        """
        bulkhead = self._bulkheads.get(tenant_id)
        if bulkhead is None or bulkhead.leaving:
            return
        if tenant_id in self._running:
            self._instruments.add(RUNS_OVERLAPPED, 1, tenant=tenant_id)
            _log.debug("tick skipped, the last run goes on", tenant=tenant_id)
            return
        if tenant_id in self._pauses:
            self._instruments.add(RUNS_PAUSED, 1, tenant=tenant_id)
            return
        self._running.add(tenant_id)
        self._activities.begin(tenant_id)
        tasks.start_soon(self._contained, tenant_id, fire_time)

    def trigger(self, tasks: TaskGroup, tenant_id: str) -> datetime:
        """Start a tenant's run now, as a task of `tasks`, and return its fire time.

        Raises NoSuchTenant, CommandRefused and Stopping where none can begin now.
        """
        self._known(tenant_id)
        self.refuse_if_stopping()
        if tenant_id in self._running:
            raise CommandRefused(f"a run of {tenant_id} goes on already", f"see adsyncd status {tenant_id}")
        self.refuse_if_paused(tenant_id)
        fire_time = whole_ms(self._clock.now())
        self.tick(tasks, tenant_id, fire_time)
        return fire_time

    async def pause(self, tenant_id: str) -> None:
        """Let a tenant rest until it is resumed, also after a restart. A run that goes on comes to its end.

        Raises NoSuchTenant and StoreError.
        """
        self._known(tenant_id)
        if tenant_id not in self._pauses:
            since = self._clock.now()
            with self._activities.during(tenant_id):
                await self._store.pause(tenant_id, since)
            self._pauses[tenant_id] = since

    async def resume(self, tenant_id: str) -> None:
        """Let a tenant run again, from its next fire time on. Raises NoSuchTenant and StoreError."""
        self._known(tenant_id)
        with self._activities.during(tenant_id):
            await self._store.resume(tenant_id)
        self._pauses.pop(tenant_id, None)

    def refuse_if_stopping(self) -> None:
        """Raise Stopping if nothing new is begun any more."""
        if self._stopping:
            raise Stopping("adsyncd is about to stop: nothing new is begun")

    def refuse_if_paused(self, tenant_id: str) -> None:
        """Raise CommandRefused if the tenant is paused."""
        if tenant_id in self._pauses:
            raise CommandRefused(f"{tenant_id} is paused", f"resume it first: adsyncd resume {tenant_id}")

    @property
    def tenants(self) -> Mapping[str, Tenant]:
        """All tenants that are in its charge, by id."""
        return {tenant_id: bulkhead.tenant for tenant_id, bulkhead in self._bulkheads.items()}

    @property
    def open_breakers(self) -> Sequence[str]:
        """What is wrong with the hosts of platforms that are left alone for now."""
        return self._connector.open_breakers

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping

    def status(self, tenant_id: str, next_fire_time: datetime | None) -> TenantStatus:
        """Say how a tenant stands. Raises NoSuchTenant."""
        return self._known(tenant_id).status(
            self._clock.now(),
            running=tenant_id in self._running,
            paused_since=self._pauses.get(tenant_id),
            last_run=self._last_runs.get(tenant_id),
            next_fire_time=next_fire_time,
        )

    def _known(self, tenant_id: str) -> Bulkhead:
        if tenant_id not in self._bulkheads:
            raise NoSuchTenant(f'there is no tenant "{tenant_id}"', "adsyncd status lists all of them")
        return self._bulkheads[tenant_id]

    async def sync(self, tenant_id: str, fire_time: datetime, tally: Tally) -> Run:
        """Run a tenant now, counting in `tally`, and return the run's record.

        A run that was cut off is taken up in place of the one for `fire_time`. The store is asked for it each time:
        memory can't say whether a write that failed took place, nor what another process did. Raises StoreError, and
        LeaseHeld while another process is at work on the tenant.
        """
        bulkhead = self._bulkheads[tenant_id]
        async with self._leases.hold(tenant_id, bulkhead.gate.pause) as lease, self._client(bulkhead, tally) as client:
            tenant, session = bulkhead.tenant, bulkhead.session

            async def ended(run: Run) -> None:
                if self._watch is not None:
                    await self._watch.ended(run, session.failure)

            pipeline = Pipeline(
                tenant,
                ListingCache(tenant, client, self._store, self._instruments),
                self._store.held(lease),
                tally,
                clock=self._clock,
                tracer=self._tracer,
                instruments=self._instruments,
                on_end=ended,
            )
            open_runs = await self._store.open_runs(tenant_id)
            fire_time = open_runs[0].fire_time if open_runs else fire_time
            bulkhead.going = Going(run_id(tenant_id, fire_time), self._clock.now(), tally)
            try:
                run = await pipeline.run(fire_time)
            finally:
                bulkhead.going = None
            if run.outcome is not None:
                self._last_runs[tenant_id] = run
            return run

    async def replay(self, tenant_id: str, letters: Sequence[DeadLetter], tally: Tally) -> list[Replayed]:
        """Push dead letters of a tenant again, counting in `tally`, and return what became of each.

        A run of this process may go on meanwhile. Raises StoreError, and LeaseHeld while another process is at work on
        the tenant.
        """
        bulkhead = self._known(tenant_id)
        with self._activities.during(tenant_id):
            async with (
                self._leases.hold(tenant_id, bulkhead.gate.pause) as lease,
                self._client(bulkhead, tally, Priority.REPLAY) as client,
            ):
                replay = Replay(bulkhead.tenant, client, self._store.held(lease), tally, tracer=self._tracer)
                return await replay.run(letters)

    async def replay_all(
        self, letters: Iterable[DeadLetter], tally: Tally, *, refuse: Callable[[str], None]
    ) -> list[Replayed]:
        """Replay dead letters of any tenants, side by side. `refuse` is called with each, and may raise why it is left.

        What concerns one tenant alone leaves its letters as they are, for that reason, and raises nothing.
        """
        replayed: list[Replayed] = []

        async def replay(tenant_id: str, its: Sequence[DeadLetter]) -> None:
            try:
                refuse(tenant_id)
                replayed.extend(await self.replay(tenant_id, its, tally))
            except AdsyncdError as error:
                replayed.extend(Replayed(letter, PushState.PENDING, str(error)) for letter in its)

        def tenant_of(letter: DeadLetter) -> str:
            return letter.tenant

        with self._activities.during(""):
            async with anyio.create_task_group() as tenants:
                for tenant_id, its in groupby(sorted(letters, key=tenant_of), tenant_of):
                    tenants.start_soon(replay, tenant_id, list(its))
        return replayed

    def _client(
        self, of: Bulkhead, tally: Tally, pushes: Priority = Priority.PUSH
    ) -> AbstractAsyncContextManager[PlatformClient]:
        return self._connector.client(of.tenant, of.session, of.gate, tally, budget=of.budget, pushes=pushes)

    @property
    def runs(self) -> int:
        """How many runs go on."""
        return len(self._running)

    def stop(self) -> None:
        """Send nothing new. What is on its way comes back, then its run is left open."""
        self._stopping = True
        self._governor.stop()
        self._connector.stop()

    async def drain(self, grace: timedelta) -> None:
        """Stop, and wait until nothing goes on for any tenant, for `grace` at most."""
        self.stop()
        with anyio.move_on_after(grace.total_seconds()):
            await self._activities.wait()

    async def _contained(self, tenant_id: str, fire_time: datetime) -> None:
        # Its context is a copy of its tick's: the run would be a child of whatever span was current there. Not a fresh
        # one from the start, since in a timer's callback anyio knows its event loop by the context alone.
        telemetry.attach(telemetry.Context())
        structlog.contextvars.clear_contextvars()
        try:
            while not await self._ends(tenant_id, fire_time):
                await self._bulkheads[tenant_id].gate.pause(_AGAIN_S)
        except Stopping:
            pass  # the run is taken up at the next start
        except Exception:  # noqa: BLE001 - no tenant's trouble gets past its bulkhead
            _log.exception("run broke down", tenant=tenant_id)
        finally:
            self._running.discard(tenant_id)
            self._activities.end(tenant_id)

    def _let_go(self, tenant_id: str) -> None:
        bulkhead = self._bulkheads.get(tenant_id)
        if bulkhead is not None and bulkhead.leaving and tenant_id not in self._activities:
            del self._bulkheads[tenant_id]

    async def _ends(self, tenant_id: str, fire_time: datetime) -> bool:
        """Run, and say whether the run has ended: a database in trouble, or a stop, leaves it to be taken up again."""
        bulkhead = self._bulkheads[tenant_id]
        try:
            run = await self.sync(tenant_id, fire_time, Tally())
        except RunEnded:  # by a write that seemed to have failed, by another process, or before the clock was put back
            _log.debug("tick skipped, its run has ended already", tenant=tenant_id)
            return True
        except LeaseHeld as held:
            self._instruments.add(RUNS_OVERLAPPED, 1, tenant=tenant_id)
            log = _log.debug if bulkhead.elsewhere else _log.info
            log("tick skipped, another process is at work", tenant=tenant_id, reason=str(held))
            bulkhead.elsewhere = True
            return True
        except StoreError as error:
            log = _log.error if bulkhead.unrecorded is None else _log.debug
            log("run not recorded", tenant=tenant_id, error=str(error))
            bulkhead.unrecorded = str(error)
            return False
        bulkhead.unrecorded, bulkhead.elsewhere = None, False
        bulkhead.left_open = None if run.outcome else run.error
        self._report(run)
        return run.outcome is not None

    def _report(self, run: Run) -> None:
        """Log how a run ended: the first of its kind in a row for everybody to see, the rest for who looks closely."""
        bulkhead = self._bulkheads[run.tenant]
        same, bulkhead.last_outcome = run.outcome is bulkhead.last_outcome, run.outcome
        log = _log.debug if same else _log.info if run.outcome in (Outcome.SUCCEEDED, None) else _log.warning
        log(
            "run ended" if run.outcome else "run interrupted",
            tenant=run.tenant,
            run_id=run.run_id,
            trace_id=run.trace_id,
            outcome=run.outcome,
            listed=run.listed,
            pushed=run.pushed,
            error=run.error,
        )

    def _each(self, measure: Callable[[Bulkhead], float | None]) -> Mapping[str, float]:
        """Measure each tenant. One that can't be measured is left out, and does not hide the others."""
        measured = {}
        for tenant_id, bulkhead in list(self._bulkheads.items()):
            try:
                value = measure(bulkhead)
            except Exception:  # noqa: BLE001 - no tenant's trouble gets past its bulkhead
                _log.debug("tenant can't be measured", tenant=tenant_id, exc_info=True)
            else:
                if value is not None:
                    measured[tenant_id] = value
        return measured
