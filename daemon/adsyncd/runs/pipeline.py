"""The story of one run of one tenant.

    list page 1, 2, 3 … ──► keep each page and the pushes it owes ──► a bounded queue
                                                                          │ │ │
    record the outcome  ◄── settle each push with its campaign ◄── push them, several at a time

Nothing is sent before the store knows that it is owed. So a run is resumed with the same idempotency keys, whatever the
instant at which this process dies. A tenant that only pulls owes no push: its campaigns are stored, and that is all.
`progress` counts, and decides the outcome from the evidence.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol

import anyio
import structlog
from opentelemetry.trace import Span, Status, StatusCode, Tracer, format_span_id, format_trace_id

from adsyncd.clock import Clock
from adsyncd.duration import format_duration
from adsyncd.errors import AdsyncdError, BadAnswer, Rejected, RunCancelled, Stopping, StoreError
from adsyncd.model.campaign import Page, Push, PushState, idempotency_key
from adsyncd.model.run import Outcome, ResumePoint, Run, Tally, lateness_s, run_id
from adsyncd.model.tenant import PushPolicy, Tenant
from adsyncd.platforms.halt import Halt
from adsyncd.runs.progress import RunCounts
from adsyncd.runs.pushing import CAMPAIGN_ERRORS, Pusher, PushQueue, recording
from adsyncd.runs.success import got_through
from adsyncd.runs.trace import attributes_of, links_to
from adsyncd.telemetry.instruments import (
    ATTEMPT,
    CAMPAIGN_ID,
    CLIENT_ID,
    DEAD_LETTERS,
    ERROR_TYPE,
    FAILED,
    FIRE_TIME,
    LAST_SUCCESS,
    LISTED,
    OUTCOME,
    PAGE,
    PUSHED,
    RESUMED_FROM,
    RUN_DURATION,
    RUN_ID,
    RUNS,
    SAVED,
    SPAN_LIST,
    SPAN_PAGE,
    SPAN_PUSH,
    SPAN_RUN,
    STORED,
    TENANT,
    WAITS,
    Instruments,
    mark_failed,
    span,
)

_log = structlog.stdlib.get_logger(__name__)

_RUNS_TO_DIE = 3  # a campaign that fails in so many runs in a row becomes a dead letter


class Source(Pusher, Protocol):
    """The platform, as a run sees it."""

    @property
    def name(self) -> str:
        """A name for its listing. A page, and what leads to the next one, belong to one listing alone."""

    async def page(self, number: int, cursor: str | None = None) -> Page:
        """Return page `number`, from 1. `cursor` is `Page.next` of the page before."""


class Journal(Protocol):
    """The store, as a run sees it. See `adsyncd.store.Store`."""

    async def begin(self, run: Run) -> ResumePoint:
        """Record that the run begins, and return where it starts or resumes."""

    async def keep_page(self, run: Run, page: Page, policy: PushPolicy) -> list[Push]:
        """Keep a page and what it owes, and return the campaigns that are new to the run."""

    def settle(self, run: Run, push: Push, recorded: Callable[[StoreError | None], None]) -> None:
        """Queue the outcome of a push; `recorded` is called when it is committed, or with the error if it failed."""

    async def missing(self, run: Run) -> tuple[int, int]:
        """Count the campaigns that the run has not listed, and those of them that the last listing missed, too."""

    async def finish(self, run: Run, *, misses: bool) -> int:
        """Record how the run ended, and return how many dead letters the tenant has.

        `misses`: whether its listing may miss campaigns, which are marked then.
        """


class Pipeline:
    """Runs one tenant once. `tally` counts its progress, which others may watch.

    `halt` ends it before its time. `on_begin` is called once the store has recorded that it begins, before its first
    request, and `on_end` with the record of a run that ended, while its span is still open.
    """

    def __init__(
        self,
        tenant: Tenant,
        source: Source,
        journal: Journal,
        tally: Tally,
        *,
        clock: Clock,
        tracer: Tracer,
        instruments: Instruments,
        halt: Halt | None = None,
        on_begin: Callable[[], Awaitable[None]] | None = None,
        on_end: Callable[[Run], Awaitable[None]] | None = None,
    ) -> None:
        self._tenant = tenant
        self._source = source
        self._journal = journal
        self._tally = tally
        self._clock = clock
        self._tracer = tracer
        self._instruments = instruments
        self._halt = halt or Halt()
        self._on_begin = on_begin
        self._on_end = on_end
        self._run: Run
        self._progress: RunCounts
        self._pushes: PushQueue[Push]
        self._resumed = frozenset[str]()  # campaigns whose push an earlier life of the run may have sent

    async def run(self, fire_time: datetime, before: Run | None = None, oldest_tick: datetime | None = None) -> Run:
        """Run, or resume the open run `before`, which has this fire time, and return the run's record.

        `oldest_tick`: the first skipped tick that the run makes up for, if any. `outcome` is None if adsyncd was
        stopping, the database failed, or an operator wants that: the run is open then, and can be resumed.

        Raises StoreError if it could not even begin, and RunEnded.
        """
        name = run_id(self._tenant.id, fire_time)
        attributes = {
            TENANT: self._tenant.id,
            CLIENT_ID: self._tenant.client_id,
            RUN_ID: name,
            FIRE_TIME: fire_time.isoformat(timespec="milliseconds"),
        }
        if before is not None and before.trace_id.strip("0"):  # else telemetry was disabled
            attributes[RESUMED_FROM] = before.trace_id
        with (
            span(self._tracer, SPAN_RUN, attributes, links=links_to(before)) as current,
            structlog.contextvars.bound_contextvars(tenant=self._tenant.id, run_id=name),
        ):
            context = current.get_span_context()
            started_at = self._clock.now()
            self._run = Run(
                self._tenant.id,
                name,
                fire_time,
                started_at,
                format_trace_id(context.trace_id),
                late_s=lateness_s(fire_time, oldest_tick, started_at),
                skipped_ticks=self._tally.skipped_ticks,
                span_id=format_span_id(context.span_id),
                account_hash=self._tenant.account_hash,
            )
            with self._tally.storing():
                point = await self._journal.begin(self._run)
            self._run = replace(self._run, started_at=point.started_at, late_s=point.late_s)
            self._progress = RunCounts(point, self._tally, self._tenant.sync.page_size)
            try:
                ended = await self._finish(await self._failure(point))
            except (Stopping, StoreError, RunCancelled) as reason:
                mark_failed(current, reason)
                log = _log.warning if isinstance(reason, StoreError) else _log.info
                log("run left open", reason=str(reason))
                left = self._progress.left_open(self._run, str(reason))
                current.set_attributes(attributes_of(left))
                return left
            except anyio.get_cancelled_exc_class():
                current.set_attributes(attributes_of(self._progress.left_open(self._run, "cancelled")))
                raise
            current.set_attributes({OUTCOME: str(ended.outcome), **attributes_of(ended)})
            if ended.error is not None:
                current.set_attribute(ERROR_TYPE, str(ended.outcome))
                current.set_status(Status(StatusCode.ERROR, ended.error))
            if self._on_end is not None:
                await self._on_end(ended)
            return ended

    async def _failure(self, point: ResumePoint) -> tuple[Outcome, str | None] | None:
        """List and push all, and return the outcome and error if that was cut short.

        Raises Stopping, StoreError and a RunCancelled that is resumable, which leave the run open.
        """
        try:
            if self._on_begin is not None:
                await self._on_begin()
            await self._sync(point)
        except (Stopping, StoreError):
            raise
        except RunCancelled as cancelled:
            if cancelled.resumable:
                raise
            return Outcome.ABANDONED, None
        except TimeoutError:
            late = f"not done within run_deadline ({format_duration(self._tenant.sync.run_deadline)})"
            wait = self._tally.cut_short
            return Outcome.ABANDONED, f"{late}: was waiting for the {wait}" if wait else late
        except AdsyncdError as failure:
            return Outcome.FAILED, str(failure)
        except Exception:  # noqa: BLE001 - a mistake of ours ends this run, and is recorded as its end
            _log.exception("run broke down")
            return Outcome.FAILED, "internal error: see the log"
        return None

    async def _finish(self, failure: tuple[Outcome, str | None] | None) -> Run:
        """Record how the run ended, and return that."""
        with recording(self._tally.listed), self._tally.storing():
            missing = await self._journal.missing(self._run) if self._progress.lists_all else None
            ended = self._progress.ended(self._run, self._clock.now(), failure, missing)
            letters = await self._journal.finish(ended, misses=missing != (0, 0))
        assert ended.outcome  # noqa: S101 - it has ended
        assert ended.ended_at  # noqa: S101
        outcome, took_s = ended.outcome.value, (ended.ended_at - ended.started_at).total_seconds()
        self._instruments.set(DEAD_LETTERS, letters, tenant=ended.tenant)
        self._instruments.add(RUNS, 1, tenant=ended.tenant, outcome=outcome)
        self._instruments.add(FAILED, ended.failed - self._tally.failed, tenant=ended.tenant)  # not pushed in time
        for reason, waited_s in ended.waits.items():
            self._instruments.add(WAITS, waited_s, tenant=ended.tenant, reason=reason.value)
        if got_through(self._tenant.alerts, ended):
            self._instruments.set(LAST_SUCCESS, ended.ended_at.timestamp(), tenant=ended.tenant)
        self._instruments.record(RUN_DURATION, took_s, outcome=outcome)
        return ended

    async def _sync(self, point: ResumePoint) -> None:
        """List and push at the same time. After an error that concerns the whole run, pushes in flight come back."""
        sync = self._tenant.sync
        pushes = self._pushes = PushQueue(
            self._push, concurrency=sync.concurrency, size=sync.page_size, storing=self._tally.storing
        )
        with anyio.move_on_after(sync.run_deadline.total_seconds()) as deadline:
            async with pushes.filling() as queue:
                self._halt.tell(pushes.end)
                self._resumed = frozenset(push.campaign_id for push in point.owed)
                for push in point.owed:
                    await queue.send(push)
                if not point.complete:
                    with span(self._tracer, SPAN_LIST):
                        await self._list(point, queue)
        if pushes.error is not None:
            raise pushes.error
        if deadline.cancelled_caught:
            raise TimeoutError

    async def _list(self, point: ResumePoint, queue: PushQueue[Push]) -> None:
        """List page after page, keep each, and queue the pushes that it owes."""
        number, cursor = self._next_page(point)
        of_earlier_life = cursor is not None
        while True:
            with span(self._tracer, SPAN_PAGE, {PAGE: number}) as current:
                try:
                    page = await self._source.page(number, cursor)
                except (Rejected, BadAnswer) as refusal:
                    if not of_earlier_life:
                        raise
                    mark_failed(current, refusal)  # the platform may not know its cursor any more
                    number, cursor = self._begin_anew(str(refusal))
                    continue
                finally:
                    of_earlier_life = False
                with recording(len(page.campaigns)), self._tally.storing():
                    fresh = await self._journal.keep_page(self._run, page, self._tenant.sync.push)
            self._progress.add_page(page, fresh)
            self._count_page(fresh)
            for push in fresh:
                if push.state is PushState.PENDING:
                    await queue.send(push)
            if not page.has_more:
                self._progress.end_listing(page)
                return
            self._progress.check_end(number)
            number, cursor = number + 1, page.next

    def _next_page(self, point: ResumePoint) -> tuple[int, str | None]:
        """Return the number of the page with which the listing begins or goes on, and the cursor that leads to it."""
        if point.next_page == 1:
            return 1, None
        if point.source != self._source.name:
            return self._begin_anew("the settings of its listing changed")
        if point.cursor is None and not self._tenant.platform.profile.listing.paging.is_numbered:
            return self._begin_anew("its next page is unknown")
        return point.next_page, point.cursor

    def _begin_anew(self, reason: str) -> tuple[int, None]:
        """Note that a listing which an earlier life of the run began is listed from its first page on."""
        _log.info("listing begins anew", reason=reason)
        self._progress.begin_anew()
        return 1, None

    def _count_page(self, fresh: Sequence[Push]) -> None:
        """Count the campaigns of a page that are new to the run."""
        tenant, states = self._tenant.id, [push.state for push in fresh]
        self._instruments.add(LISTED, len(fresh), tenant=tenant)
        if self._tenant.sync.push is PushPolicy.NONE:
            self._instruments.add(STORED, states.count(PushState.STORED), tenant=tenant)
        else:
            self._instruments.add(SAVED, states.count(PushState.SKIPPED), tenant=tenant)
            self._instruments.add(FAILED, states.count(PushState.DEAD_LETTERED), tenant=tenant)

    async def _push(self, push: Push) -> None:
        """Push a campaign, and queue the outcome. Nothing is awaited in between, so no known outcome is lost."""
        if self._tenant.sync.push is PushPolicy.NONE:  # but it did when the run began
            settled = replace(push, state=PushState.STORED)
        else:
            with span(self._tracer, SPAN_PUSH, {CAMPAIGN_ID: push.campaign_id}) as current:
                settled = await self._pushed(push, current)
                current.set_attributes({ATTEMPT: settled.attempts, OUTCOME: settled.state})
        self._journal.settle(self._run, settled, self._pushes.queued(partial(self._count, settled)))

    def _count(self, settled: Push) -> None:
        """Count an outcome that is on record."""
        self._progress.add_push(settled)
        metric = {PushState.PUSHED: PUSHED, PushState.STORED: STORED}.get(settled.state, FAILED)
        self._instruments.add(metric, 1, tenant=self._tenant.id)

    async def _pushed(self, push: Push, current: Span) -> Push:
        key = push.key or idempotency_key(self._tenant.id, push.campaign_id, self._run.run_id)
        try:
            attempts = await self._source.push(push.campaign_id, key, again=push.campaign_id in self._resumed)
        except CAMPAIGN_ERRORS as error:
            mark_failed(current, error)
            dead = isinstance(error, Rejected) or push.failures + 1 >= _RUNS_TO_DIE
            state = PushState.DEAD_LETTERED if dead else PushState.FAILED
            return replace(push, state=state, attempts=error.attempts, error=str(error))
        return replace(push, state=PushState.PUSHED, attempts=attempts)
