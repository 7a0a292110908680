"""One tenant: all of its state, and everything that is in progress for it.

    tick, trigger ─► at most one run, in a task of its own ─┐
    replay ────────► any number, beside the run ────────────┼─► lease ─► client ─► pipeline or replay
    pause, resume ─► on record, then in force               │
                                                            └─► the last one has ended ─► on_rest

A tick is skipped and counted while a run is in progress or the tenant is paused. Few runs begin at a time; the others
wait for their turn. A pause starts nothing more, also no run that waits, and lets everything in progress end. The same
holds for a removed tenant, whose worker is dropped at rest, and for a stop. What a run raises ends here, so one
tenant's trouble never reaches another.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime

import structlog
from anyio.abc import TaskGroup
from opentelemetry import context as telemetry

from adsyncd.errors import CommandRefused, LeaseHeld, RunCancelled, RunEnded, Stopping, StoreError
from adsyncd.host.ready_queue import go_first
from adsyncd.model.campaign import DeadLetter
from adsyncd.model.run import CANCELLED, Run, Tally, lateness_s, run_id, whole_ms
from adsyncd.model.status import Going
from adsyncd.model.tenant import Tenant
from adsyncd.platforms import PlatformClient
from adsyncd.platforms.halt import Halt
from adsyncd.platforms.probe import Probe
from adsyncd.rate import Priority
from adsyncd.rate.retry import RetryBudget
from adsyncd.rate.wait import WaitReason
from adsyncd.runs.listing_cache import ListingCache
from adsyncd.runs.pipeline import Pipeline
from adsyncd.runs.replay import Replay, Replayed
from adsyncd.telemetry.instruments import RUNS_OVERLAPPED, RUNS_PAUSED, Metric
from adsyncd.telemetry.repetition import Repetition
from adsyncd.tenants.condition import Account, Activity, Condition
from adsyncd.tenants.diff import Change
from adsyncd.tenants.services import Services
from adsyncd.tenants.turns import Turn, Turns

_log = structlog.stdlib.get_logger(__name__)

_RESUME_S = 30.0  # between two attempts to resume a run that a failing database left open


class Worker(Condition):
    """Does everything that one tenant asks for. `on_rest` is called when its last activity has ended."""

    def __init__(
        self,
        tenant: Tenant,
        services: Services,
        on_rest: Callable[["Worker"], None],
        paused_since: datetime | None = None,
        last_run: Run | None = None,
    ) -> None:
        super().__init__(tenant, services, paused_since, last_run)
        self._on_rest = on_rest
        self._budget = RetryBudget(services.clock.monotonic())
        self._halt = Halt()  # of the run in progress, or of the last one
        self._said = Repetition()
        self._tally = Tally()  # of the run in progress, or of the last one
        self._skipped_since: datetime | None = None  # the first skipped tick since the last run began

    def change(self, change: Change) -> float | None:
        """Apply a change of the tenant; return for how many seconds a changed quota lets nothing through, if known.

        A run in progress ends with the settings that it began with, but for the quota.
        """
        self.tenant, self._judged = change.new, None
        self.gate = self._services.governor.gate(change.new.client_quota)
        if change.signs_in_anew:
            self.session = self._services.connector.session(change.new, self._services.credentials, self.session)
            self._budget = RetryBudget(self._services.clock.monotonic())
            self.change_account()
        return self.gate.silence_s() if change.changes_quota else None

    def tick(self, tasks: TaskGroup, fire_time: datetime) -> None:
        """Start a run as a task of `tasks`.

        The tick is skipped and counted while a run is in progress or the tenant is paused; it is ignored if the tenant
        was removed.
        """
        if self.leaving:
            return
        if self._turn.ahead is not None:  # the run that waits stands for this tick, too
            _log.debug("tick skipped, the last run waits for its turn", tenant=self.tenant.id)
            self._count(RUNS_OVERLAPPED)
        elif self.running:
            _log.debug("tick skipped, the last run is in progress", tenant=self.tenant.id)
            self._skip(fire_time)
        elif self._paused_since:
            self._count(RUNS_PAUSED)
        else:
            self._activities[Activity.RUN] += 1
            self._halt, self._turn = Halt(), self._services.turns.turn()
            tasks.start_soon(self._contained, fire_time)

    def trigger(self, tasks: TaskGroup) -> datetime:
        """Start a run now, as a task of `tasks`, and return its fire time. Raises CommandRefused if none can start."""
        self.refuse_trigger()
        fire_time = whole_ms(self._services.clock.now())
        self.tick(tasks, fire_time)
        return fire_time

    def cancel(self, *, resumable: bool) -> str | None:
        """End the run in progress; return its id, or None if it has not begun yet. Raises CommandRefused without one.

        Its requests in flight may finish, and it sends nothing more. A run that has not begun leaves nothing on record.
        Any other ends as abandoned, or is `resumable`: then it stays open, and the next run resumes it.
        """
        name = self.tenant.id
        if not self.running:
            raise CommandRefused(f"no run of {name} is in progress", f"see adsyncd status {name}")
        if self._halt.reason is not None:
            raise CommandRefused(f"the run of {name} ends already: {self._halt.reason}", f"see adsyncd status {name}")
        then = "; the next run resumes it" if resumable else ""
        self._halt.halt(RunCancelled(f"{CANCELLED}{then}", resumable=resumable))
        return self.going.run_id if self.going else None

    async def sync(self, fire_time: datetime, tally: Tally, halt: Halt | None = None, turn: Turn | None = None) -> Run:
        """Run now, counting in `tally`, and return the run's record. `halt` ends it before its time.

        `turn`: its turn to begin, which ends once it has begun.

        An open run is resumed in place of the one for `fire_time`. The store is asked for it each time: memory does not
        tell whether a failed write took place, nor what another process did. Raises StoreError, and LeaseHeld while
        another process works on the tenant, and RunCancelled if it is to end before it has begun.
        """
        services, halt, turn, gate = self._services, halt or Halt(), turn or Turns().turn(), self.gate

        async def pause(wait_s: float) -> None:
            with halt.waiting():
                await turn.step_aside(gate.pause, wait_s)

        async with services.leases.hold(self.tenant.id, pause) as lease, self._client(tally, halt=halt) as client:
            tenant, _, session = self._used = Account(self.tenant, self.gate, self.session)

            async def begun() -> None:
                _log.debug("run begins", resumed=before is not None)
                turn.end()
                services.begins.succeeded()
                with tally.waiting(WaitReason.RESOURCES, detail="other runs begin first"), halt.waiting():
                    await turn.go_on()

            async def ended(run: Run) -> None:
                if services.watch is not None and self.is_evidence(run):
                    await services.watch.ended(run, session.failure)

            pipeline = Pipeline(
                tenant,
                ListingCache(tenant, client, services.store, services.instruments),
                services.store.held(lease),
                tally,
                clock=services.clock,
                tracer=services.tracer,
                instruments=services.instruments,
                halt=halt,
                on_begin=begun,
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
                self.going = self._used = self._judged = None
            if run.outcome is not None:
                self.note_end(run)
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
        with self._during(Activity.REPLAY):
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
            with self._during(Activity.COMMAND):
                await self._services.store.pause(self.tenant.id, since)
            self._paused_since, self._judged = since, None
            self._leave_line("paused")

    async def resume(self) -> None:
        """End a pause: the tenant runs again from its next fire time on. Raises StoreError."""
        with self._during(Activity.COMMAND):
            await self._services.store.resume(self.tenant.id)
        self._paused_since = self._judged = None

    def leave(self) -> None:
        """Start nothing more, since the tenant was removed."""
        self.leaving = True
        self._leave_line("removed")

    def refuse_trigger(self) -> None:
        """Raise CommandRefused if no run can start now."""
        name = self.tenant.id
        if self.running:
            raise CommandRefused(f"a run of {name} is already in progress", f"see adsyncd status {name}")
        if self.leaving:
            raise CommandRefused(f"the drop-in of {name} is gone", "put it back, and run: adsyncd reload")
        self.refuse_if_paused()

    def refuse_if_paused(self) -> None:
        """Raise CommandRefused if the tenant is paused."""
        if self._paused_since:
            raise CommandRefused(f"{self.tenant.id} is paused", f"resume it first: adsyncd resume {self.tenant.id}")

    def _client(
        self, tally: Tally, pushes: Priority = Priority.PUSH, halt: Halt | None = None
    ) -> AbstractAsyncContextManager[PlatformClient]:
        return self._services.connector.client(
            self.tenant, self.session, self.gate, tally, budget=self._budget, pushes=pushes, halt=halt
        )

    async def _contained(self, fire_time: datetime) -> None:
        """Run until the run has ended or adsyncd stops. Raises nothing."""
        # Its context is a copy of its tick's: the run would be a child of whatever span was current there. Not a fresh
        # one from the start, since in a timer's callback anyio knows its event loop by the context alone.
        telemetry.attach(telemetry.Context())
        structlog.contextvars.clear_contextvars()
        go_first(first=False)  # also if the control API started it
        try:
            while not await self._ends(fire_time):
                with self._halt.waiting():
                    await self.gate.pause(_RESUME_S)
        except Stopping:
            pass  # the next start resumes the run
        except RunCancelled as cancelled:
            _log.info("run cancelled before it began", tenant=self.tenant.id, reason=str(cancelled))
        except Exception:  # noqa: BLE001 - one tenant's trouble never reaches another
            _log.exception("run broke down", tenant=self.tenant.id)
        finally:
            self._end(Activity.RUN)

    async def _ends(self, fire_time: datetime) -> bool:
        """Run once, and return whether nothing is left to do; a failing database or a stop leaves the run open."""
        try:
            with self._halt.waiting():
                await self._turn.take()
            self._halt.check()
            tally = self._tally = Tally(now=self._services.clock.monotonic)
            run = await self.sync(fire_time, tally, self._halt, self._turn)
        except RunEnded:  # by a write that seemed to have failed, by another process, or before the clock was put back
            _log.debug("tick skipped, its run has ended already", tenant=self.tenant.id)
            return True
        except LeaseHeld as held:
            self._skip(fire_time)
            log = _log.info if self._is_news("kept off", str(held)) else _log.debug
            log("tick skipped, another process is at work", tenant=self.tenant.id, reason=str(held))
            return True
        except StoreError as error:
            log = _log.error if self._is_news("unrecorded", str(error)) else _log.debug
            log("run not recorded", tenant=self.tenant.id, error=str(error))
            self._unrecorded, self._judged = str(error), None
            if self._services.store.health.cause is None:  # which tells it for all, and is over sooner
                self._services.begins.failed(error)
            return False
        finally:
            self._turn.end()
        self._unrecorded = self._judged = None
        self._said.over("kept off")
        self._said.over("unrecorded")
        self._left_open = None if run.outcome else run.error
        self._services.run_log.ended(run, self._said, self._services.clock.monotonic())
        return run.outcome is not None or self._halt.reason is not None

    def _leave_line(self, why: str) -> None:
        """Give up the run that waits for its turn to begin, if there is one; the next start or tick makes up for it."""
        if self._turn.ahead is not None:
            self._halt.halt(RunCancelled(why, resumable=True))

    def _skip(self, fire_time: datetime) -> None:
        """Count a tick that was skipped because a run is in progress, here or in another process."""
        self._count(RUNS_OVERLAPPED)
        self._skipped_since = self._skipped_since or fire_time
        self._tally.skipped_ticks += 1
        self._services.store.note_skipped_tick(self.tenant.id)
        self._judged = None
        if self._services.watch is not None:
            self._services.watch.skipped(self.facts())

    def _is_news(self, subject: str, reason: str) -> bool:
        return self._said.is_news(subject, reason, self._services.clock.monotonic())

    def _count(self, metric: Metric) -> None:
        self._services.instruments.add(metric, 1, tenant=self.tenant.id)

    @contextmanager
    def _during(self, activity: Activity) -> Iterator[None]:
        self._activities[activity] += 1
        try:
            yield
        finally:
            self._end(activity)

    def _end(self, activity: Activity) -> None:
        self._activities[activity] -= 1
        if not self.busy:
            self._on_rest(self)
