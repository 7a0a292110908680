"""One tenant: all of its state, and everything that is in progress for it.

    tick, trigger ─► at most one run, in a task of its own ─┐
    replay ────────► any number, beside the run ────────────┼─► lease ─► client ─► pipeline or replay
    pause, resume ─► on record, then in force               │
                                                            └─► the last one has ended ─► on_rest

A tick is skipped and counted while a run is in progress or the tenant is paused. A pause starts nothing more and lets
everything in progress end. The same holds for a removed tenant, whose worker is dropped at rest, and for a stop. What a
run raises ends here, so one tenant's trouble never reaches another.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from enum import IntEnum, auto

import structlog
from anyio.abc import TaskGroup
from opentelemetry import context as telemetry

from adsyncd.errors import CommandRefused, LeaseHeld, RunEnded, Stopping, StoreError
from adsyncd.model.campaign import DeadLetter
from adsyncd.model.run import Outcome, Run, Tally, lateness_s, run_id, whole_ms
from adsyncd.model.status import Going, State, TenantStatus, progress
from adsyncd.model.tenant import Tenant
from adsyncd.model.verdict import Verdict
from adsyncd.platforms import PlatformClient
from adsyncd.platforms.probe import Probe
from adsyncd.rate import Priority
from adsyncd.rate.retry import RetryBudget
from adsyncd.runs.facts import Facts
from adsyncd.runs.listing_cache import ListingCache
from adsyncd.runs.pipeline import Pipeline
from adsyncd.runs.replay import Replay, Replayed
from adsyncd.runs.verdict import verdict as judge
from adsyncd.telemetry.instruments import RUNS_OVERLAPPED, RUNS_PAUSED, Metric
from adsyncd.tenants.diff import Change
from adsyncd.tenants.estimate import done_at
from adsyncd.tenants.run_log import log_end
from adsyncd.tenants.services import Services

_log = structlog.stdlib.get_logger(__name__)

_RESUME_S = 30.0  # between two attempts to resume a run that a failing database left open


class _Activity(IntEnum):  # whose hash is C's: a status looks at those of ten thousand tenants
    RUN = auto()
    REPLAY = auto()
    COMMAND = auto()


class Worker:
    """Does everything that one tenant asks for. `on_rest` is called when its last activity has ended.

    `paused_since` and `last_run`, the latest that ended, are as the store has them. `going`: the run in progress.
    `leaving`: the tenant was removed.
    """

    def __init__(
        self,
        tenant: Tenant,
        services: Services,
        on_rest: Callable[["Worker"], None],
        paused_since: datetime | None = None,
        last_run: Run | None = None,
    ) -> None:
        self.tenant = tenant
        self.session = services.connector.session(tenant, services.credentials)
        self.gate = services.governor.gate(tenant.client_quota)
        self.leaving = False
        self._services = services
        self._on_rest = on_rest
        self._paused_since = paused_since
        self.last_run = last_run
        self._budget = RetryBudget(services.clock.monotonic())
        self._activities = Counter[_Activity]()
        self.going: Going | None = None
        self._last_outcome: Outcome | None = None
        self._tally = Tally()  # of the run in progress, or of the last one
        self._skipped_since: datetime | None = None  # the first skipped tick since the last run began
        self._elsewhere = False  # at the last tick another process held the lease
        self._unrecorded: str | None = None  # why the database could not record that a run begins
        self._left_open: str | None = None  # why the latest run has no end
        self._judged: tuple[Verdict | None] | None = None  # None: to be judged anew

    def change(self, change: Change) -> float | None:
        """Apply a change of the tenant; return for how many seconds a changed quota lets nothing through, if known.

        A run in progress ends with the settings that it began with, but for the quota.
        """
        self.tenant, self._judged = change.new, None
        self.gate = self._services.governor.gate(change.new.client_quota)
        if change.signs_in_anew:
            self.session = self._services.connector.session(change.new, self._services.credentials, self.session)
        return self.gate.silence_s() if change.changes_quota else None

    def tick(self, tasks: TaskGroup, fire_time: datetime) -> None:
        """Start a run as a task of `tasks`.

        The tick is skipped and counted while a run is in progress or the tenant is paused; it is ignored if the tenant
        was removed.
        """
        if self.leaving:
            return
        if self.running:
            _log.debug("tick skipped, the last run is in progress", tenant=self.tenant.id)
            self._skip(fire_time)
        elif self._paused_since:
            self._count(RUNS_PAUSED)
        else:
            self._activities[_Activity.RUN] += 1
            tasks.start_soon(self._contained, fire_time)

    def trigger(self, tasks: TaskGroup) -> datetime:
        """Start a run now, as a task of `tasks`, and return its fire time. Raises CommandRefused if none can start."""
        if self.running:
            name = self.tenant.id
            raise CommandRefused(f"a run of {name} is already in progress", f"see adsyncd status {name}")
        if self.leaving:
            raise CommandRefused(f"the drop-in of {self.tenant.id} is gone", "put it back, and run: adsyncd reload")
        self.refuse_if_paused()
        fire_time = whole_ms(self._services.clock.now())
        self.tick(tasks, fire_time)
        return fire_time

    async def sync(self, fire_time: datetime, tally: Tally) -> Run:
        """Run now, counting in `tally`, and return the run's record.

        An open run is resumed in place of the one for `fire_time`. The store is asked for it each time: memory does not
        tell whether a failed write took place, nor what another process did. Raises StoreError, and LeaseHeld while
        another process works on the tenant.
        """
        services = self._services
        async with services.leases.hold(self.tenant.id, self.gate.pause) as lease, self._client(tally) as client:
            tenant, session = self.tenant, self.session

            async def ended(run: Run) -> None:
                if services.watch is not None:
                    await services.watch.ended(run, session.failure)

            pipeline = Pipeline(
                tenant,
                ListingCache(tenant, client, services.store, services.instruments),
                services.store.held(lease),
                tally,
                clock=services.clock,
                tracer=services.tracer,
                instruments=services.instruments,
                on_end=ended,
            )
            open_runs = await services.store.open_runs(tenant.id)
            before = open_runs[0] if open_runs else None
            oldest_tick, now = self._skipped_since, services.clock.now()
            if before:
                fire_time, late_s = before.fire_time, before.late_s
            else:
                late_s, self._skipped_since = lateness_s(fire_time, oldest_tick, now), None
            self.going = Going(run_id(tenant.id, fire_time), now, tally, late_s)
            try:
                run = await pipeline.run(fire_time, before, oldest_tick)
            except StoreError:  # it did not begin
                self._skipped_since = oldest_tick or self._skipped_since
                raise
            finally:
                self.going = None
            if run.outcome is not None:
                self.last_run, self._judged = run, None
            return run

    async def replay(self, letters: Sequence[DeadLetter], tally: Tally) -> list[Replayed]:
        """Push dead letters again, counting in `tally`, and return the outcome of each.

        A run of this process may be in progress. Raises CommandRefused if the platform takes no pushes, StoreError, and
        LeaseHeld while another process works on the tenant.
        """
        services, profile = self._services, self.tenant.platform.profile
        if profile.push is None:
            what = f"{self.tenant.id} can't replay: the profile {profile.name} of its platform has no push"
            raise CommandRefused(what, f"discard them: adsyncd dead-letters discard --tenant {self.tenant.id}")
        with self._during(_Activity.REPLAY):
            async with (
                services.leases.hold(self.tenant.id, self.gate.pause) as lease,
                self._client(tally, Priority.REPLAY) as client,
            ):
                replay = Replay(self.tenant, client, services.store.held(lease), tally, tracer=services.tracer)
                return await replay.run(letters)

    async def probe(self, tally: Tally) -> Probe:
        """Sign in and list one page, counting in `tally`, and return what that shows of the platform's profile.

        It records its permit and nothing else, so it needs no lease. Raises StoreError, WaitTooLong and Stopping.
        """
        async with self._client(tally) as client:
            return await client.probe()

    async def pause(self) -> None:
        """Start nothing until the tenant is resumed, also after a restart. Raises StoreError."""
        if self._paused_since is None:
            since = self._services.clock.now()
            with self._during(_Activity.COMMAND):
                await self._services.store.pause(self.tenant.id, since)
            self._paused_since, self._judged = since, None

    async def resume(self) -> None:
        """End a pause: the tenant runs again from its next fire time on. Raises StoreError."""
        with self._during(_Activity.COMMAND):
            await self._services.store.resume(self.tenant.id)
        self._paused_since = self._judged = None

    def refuse_if_paused(self) -> None:
        """Raise CommandRefused if the tenant is paused."""
        if self._paused_since:
            raise CommandRefused(f"{self.tenant.id} is paused", f"resume it first: adsyncd resume {self.tenant.id}")

    @property
    def verdict(self) -> Verdict | None:
        """What is wrong with the tenant, by what the worker itself knows; judged anew when that has changed."""
        if self._judged is None:
            self._judged = (judge(self.facts()),)
        return self._judged[0]

    def facts(self) -> Facts:
        """Return what the worker itself knows of the tenant: of its ended runs, the last one."""
        now, run = self._services.clock.now(), self.going
        runs = (self.last_run,) if self.last_run else ()
        known = Facts(self.tenant.id, now, self.tenant, runs, self._paused_since, self._unrecorded)
        return replace(known, progress=progress(run, None), wait=run.tally.wait(now)) if run else known

    @property
    def busy(self) -> bool:
        """Whether anything is in progress."""
        return bool(self._activities.total())

    @property
    def running(self) -> bool:
        """Whether a run was started by `tick` and has not ended yet."""
        return bool(self._activities[_Activity.RUN])

    @property
    def state(self) -> State:
        """What the tenant does."""
        if self.leaving:
            return State.DRAINING
        activities = self._activities
        if activities.get(_Activity.RUN) or activities.get(_Activity.REPLAY):
            run = self.going
            return State.WAITING if run and run.tally.oldest_wait() else State.RUNNING
        if self._paused_since:
            return State.PAUSED
        return State.ELSEWHERE if self._elsewhere else State.IDLE

    def status(self, next_fire_time: datetime | None) -> TenantStatus:
        """Return what the tenant does and what went wrong last. `next_fire_time`: when it is due if not paused."""
        now, run = self._services.clock.now(), self.going
        wait = run.tally.wait(now) if run else None
        last_error = self.last_run.error if self.last_run else None
        failure = self._unrecorded or self._left_open or self.session.failure or last_error
        return TenantStatus(
            self.tenant.id,
            self.state,
            self.tenant.client_id,
            self.tenant.platform.name,
            wait=wait,
            run=progress(run, done_at(run.tally, self.tenant, self.gate, now)) if run else None,
            next_fire_time=None if self._paused_since else next_fire_time,
            paused_since=self._paused_since,
            last_run=self.last_run,
            permits=self.tenant.quota.requests,
            permits_free=self.gate.free,
            shape=self.gate.shape,
            error=str(failure) if failure else None,
            verdict=self.verdict,
        )

    def _client(self, tally: Tally, pushes: Priority = Priority.PUSH) -> AbstractAsyncContextManager[PlatformClient]:
        return self._services.connector.client(
            self.tenant, self.session, self.gate, tally, budget=self._budget, pushes=pushes
        )

    async def _contained(self, fire_time: datetime) -> None:
        """Run until the run has ended or adsyncd stops. Raises nothing."""
        # Its context is a copy of its tick's: the run would be a child of whatever span was current there. Not a fresh
        # one from the start, since in a timer's callback anyio knows its event loop by the context alone.
        telemetry.attach(telemetry.Context())
        structlog.contextvars.clear_contextvars()
        try:
            while not await self._ends(fire_time):
                await self.gate.pause(_RESUME_S)
        except Stopping:
            pass  # the next start resumes the run
        except Exception:  # noqa: BLE001 - one tenant's trouble never reaches another
            _log.exception("run broke down", tenant=self.tenant.id)
        finally:
            self._end(_Activity.RUN)

    async def _ends(self, fire_time: datetime) -> bool:
        """Run once, and return whether the run has ended; a failing database or a stop leaves it open."""
        try:
            tally = self._tally = Tally(now=self._services.clock.monotonic)
            run = await self.sync(fire_time, tally)
        except RunEnded:  # by a write that seemed to have failed, by another process, or before the clock was put back
            _log.debug("tick skipped, its run has ended already", tenant=self.tenant.id)
            return True
        except LeaseHeld as held:
            self._skip(fire_time)
            log = _log.debug if self._elsewhere else _log.info
            log("tick skipped, another process is at work", tenant=self.tenant.id, reason=str(held))
            self._elsewhere = True
            return True
        except StoreError as error:
            log = _log.error if self._unrecorded is None else _log.debug
            log("run not recorded", tenant=self.tenant.id, error=str(error))
            self._unrecorded, self._judged = str(error), None
            return False
        self._unrecorded, self._elsewhere, self._judged = None, False, None
        self._left_open = None if run.outcome else run.error
        log_end(run, repeats=run.outcome is self._last_outcome)
        self._last_outcome = run.outcome
        return run.outcome is not None

    def _skip(self, fire_time: datetime) -> None:
        """Count a tick that was skipped because a run is in progress, here or in another process."""
        self._count(RUNS_OVERLAPPED)
        self._skipped_since = self._skipped_since or fire_time
        self._tally.skipped_ticks += 1
        self._services.store.note_skipped_tick(self.tenant.id)
        self._judged = None
        if self._services.watch is not None:
            self._services.watch.skipped(self.facts())

    def _count(self, metric: Metric) -> None:
        self._services.instruments.add(metric, 1, tenant=self.tenant.id)

    @contextmanager
    def _during(self, activity: _Activity) -> Iterator[None]:
        self._activities[activity] += 1
        try:
            yield
        finally:
            self._end(activity)

    def _end(self, activity: _Activity) -> None:
        self._activities[activity] -= 1
        if not self.busy:
            self._on_rest(self)
