"""The story of one run of one tenant.

    list page 1, 2, 3 … ──► keep each page and the pushes it owes ──► a bounded queue
                                                                          │ │ │
    record the outcome  ◄── settle each push with its campaign ◄── push them, several at a time

Nothing is sent before the store knows that it is owed. So a run is resumed with the same idempotency keys, whatever the
instant at which this process dies. `progress` counts, and decides the outcome from the evidence.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol

import anyio
import structlog
from opentelemetry.trace import Span, Status, StatusCode, Tracer, format_trace_id

from adsyncd.clock import Clock
from adsyncd.duration import format_duration
from adsyncd.errors import AdsyncdError, Rejected, Stopping, StoreError
from adsyncd.model.campaign import Page, Push, PushState, idempotency_key
from adsyncd.model.run import Outcome, ResumePoint, Run, Tally, run_id
from adsyncd.model.tenant import PushPolicy, Tenant
from adsyncd.runs.progress import RunCounts
from adsyncd.runs.pushing import CAMPAIGN_ERRORS, Pusher, PushQueue, recording
from adsyncd.telemetry.instruments import (
    ATTEMPT,
    CAMPAIGN_ID,
    CLIENT_ID,
    DEAD_LETTERS,
    ERROR_TYPE,
    FAILED,
    LISTED,
    OUTCOME,
    PAGE,
    PUSHED,
    RUN_DURATION,
    RUN_ID,
    RUNS,
    SAVED,
    SPAN_LIST,
    SPAN_PAGE,
    SPAN_PUSH,
    SPAN_RUN,
    TENANT,
    Instruments,
    mark_failed,
    span,
)

_log = structlog.stdlib.get_logger(__name__)

_RUNS_TO_DIE = 3  # a campaign that fails in so many runs in a row becomes a dead letter


class Source(Pusher, Protocol):
    """The platform, as a run sees it."""

    async def page(self, number: int) -> Page:
        """Return page `number`, from 1."""


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

    `on_end` is called with the record of a run that ended, while its span is still open.
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
        on_end: Callable[[Run], Awaitable[None]] | None = None,
    ) -> None:
        self._tenant = tenant
        self._source = source
        self._journal = journal
        self._tally = tally
        self._clock = clock
        self._tracer = tracer
        self._instruments = instruments
        self._on_end = on_end
        self._run: Run
        self._progress: RunCounts
        self._pushes: PushQueue[Push]
        self._resumed = frozenset[str]()  # campaigns whose push an earlier life of the run may have sent

    async def run(self, fire_time: datetime) -> Run:
        """Run, or resume an open run of this fire time, and return its record.

        `outcome` is None if adsyncd was stopping or the database failed: the run is open then, and can be resumed.
        Raises StoreError if it could not even begin, and RunEnded.
        """
        name = run_id(self._tenant.id, fire_time)
        attributes = {TENANT: self._tenant.id, CLIENT_ID: self._tenant.client_id, RUN_ID: name}
        with (
            span(self._tracer, SPAN_RUN, attributes) as current,
            structlog.contextvars.bound_contextvars(tenant=self._tenant.id, run_id=name),
        ):
            trace_id = format_trace_id(current.get_span_context().trace_id)
            self._run = Run(self._tenant.id, name, fire_time, self._clock.now(), trace_id)
            point = await self._journal.begin(self._run)
            self._run = replace(self._run, started_at=point.started_at)
            self._progress = RunCounts(point, self._tally, self._tenant.sync.page_size)
            try:
                ended = await self._finish(await self._failure(point))
            except (Stopping, StoreError) as reason:
                mark_failed(current, reason)
                log = _log.info if isinstance(reason, Stopping) else _log.warning
                log("run left open", reason=str(reason))
                return self._progress.left_open(self._run, str(reason))
            current.set_attribute(OUTCOME, str(ended.outcome))
            if ended.error is not None:
                current.set_attribute(ERROR_TYPE, str(ended.outcome))
                current.set_status(Status(StatusCode.ERROR, ended.error))
            if self._on_end is not None:
                await self._on_end(ended)
            return ended

    async def _failure(self, point: ResumePoint) -> tuple[Outcome, str] | None:
        """List and push all, and return the outcome and error if that was cut short.

        Raises Stopping and StoreError, which leave the run open.
        """
        try:
            await self._sync(point)
        except (Stopping, StoreError):
            raise
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

    async def _finish(self, failure: tuple[Outcome, str] | None) -> Run:
        """Record how the run ended, and return that."""
        with recording(self._tally.listed):
            missing = await self._journal.missing(self._run) if self._progress.lists_all else None
            ended = self._progress.ended(self._run, self._clock.now(), failure, missing)
            letters = await self._journal.finish(ended, misses=missing != (0, 0))
        assert ended.outcome  # noqa: S101 - it has ended
        assert ended.ended_at  # noqa: S101
        outcome, took_s = ended.outcome.value, (ended.ended_at - ended.started_at).total_seconds()
        self._instruments.set(DEAD_LETTERS, letters, tenant=ended.tenant)
        self._instruments.add(RUNS, 1, tenant=ended.tenant, outcome=outcome)
        self._instruments.record(RUN_DURATION, took_s, outcome=outcome)
        return ended

    async def _sync(self, point: ResumePoint) -> None:
        """List and push at the same time. After an error that concerns the whole run, pushes in flight come back."""
        sync = self._tenant.sync
        pushes = self._pushes = PushQueue(self._push, concurrency=sync.concurrency, size=sync.page_size)
        with anyio.move_on_after(sync.run_deadline.total_seconds()) as deadline:
            async with pushes.filling() as queue:
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
        number, source = point.next_page, point.source
        while True:
            with span(self._tracer, SPAN_PAGE, {PAGE: number}):
                page = await self._source.page(number)
                if number > 1 and page.source != source:
                    number, source = 1, page.source  # all pages of another listing, such as one of larger pages
                    continue
                source = page.source
                with recording(len(page.campaigns)):
                    fresh = await self._journal.keep_page(self._run, page, self._tenant.sync.push)
            self._progress.add_page(page, fresh)
            self._instruments.add(LISTED, len(fresh), tenant=self._tenant.id)
            owed = [push for push in fresh if push.state is PushState.PENDING]
            skipped = sum(push.state is PushState.SKIPPED for push in fresh)
            self._instruments.add(SAVED, skipped, tenant=self._tenant.id)
            for push in owed:
                await queue.send(push)
            if not page.has_more:
                self._progress.end_listing(page)
                return
            self._progress.check_end(number)
            number += 1

    async def _push(self, push: Push) -> None:
        """Push a campaign, and queue the outcome. Nothing is awaited in between, so no known outcome is lost."""
        with span(self._tracer, SPAN_PUSH, {CAMPAIGN_ID: push.campaign_id}) as current:
            settled = await self._pushed(push, current)
            current.set_attributes({ATTEMPT: settled.attempts, OUTCOME: settled.state})
        self._journal.settle(self._run, settled, self._pushes.queued(partial(self._count, settled)))

    def _count(self, settled: Push) -> None:
        """Count an outcome that is on record."""
        self._progress.add_push(settled)
        self._instruments.add(PUSHED if settled.state is PushState.PUSHED else FAILED, 1, tenant=self._tenant.id)

    async def _pushed(self, push: Push, current: Span) -> Push:
        key = idempotency_key(self._tenant.id, push.campaign_id, self._run.run_id)
        try:
            attempts = await self._source.push(push.campaign_id, key, again=push.campaign_id in self._resumed)
        except CAMPAIGN_ERRORS as error:
            mark_failed(current, error)
            dead = isinstance(error, Rejected) or push.failures + 1 >= _RUNS_TO_DIE
            state = PushState.DEAD_LETTERED if dead else PushState.FAILED
            return replace(push, state=state, attempts=error.attempts, error=str(error))
        return replace(push, state=PushState.PUSHED, attempts=attempts)
