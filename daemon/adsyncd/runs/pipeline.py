"""The story of one run of one tenant.

    list page 1, 2, 3 … ──► keep each page and the pushes it owes ──► a bounded queue
                                                                          │ │ │
    record the outcome  ◄── settle each push with its campaign ◄── push them, several at a time

Nothing is sent before the store knows that it is owed, so whatever the instant at which this process dies, the run is
resumed with the same idempotency keys. A run is called a success only when the platform's listing came to its end and
every campaign in it is accounted for. What the platform claims to have in all is no evidence of either.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from datetime import datetime
from typing import Protocol

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from opentelemetry.trace import Span, Status, StatusCode, Tracer, format_trace_id

from adsyncd.clock import Clock
from adsyncd.duration import format_duration
from adsyncd.errors import (
    AdsyncdError,
    BadAnswer,
    ListingError,
    Rejected,
    Stopping,
    StoreError,
    Unauthorized,
    Unavailable,
)
from adsyncd.model.campaign import Oddities, Page, Push, PushState, idempotency_key, shown
from adsyncd.model.run import Listing, Outcome, Run, Tally, run_id
from adsyncd.model.tenant import PushPolicy, Tenant
from adsyncd.runs.deletion import Missing
from adsyncd.store import ResumePoint
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
_BARREN_PAGES = 10  # in a row that bring nothing new, and announce more, end a listing
_TOO_MANY = 10  # times what the platform names in all, and as many pages, have no end
_MOST_LISTED = 1_000_000
_RECORDING_S = 15.0  # what is known is recorded within this, even by a run that is cancelled

CAMPAIGNS_OWN = (Rejected, Unavailable, BadAnswer, Unauthorized)  # errors of a push: they end it, not the run


class Source(Protocol):
    """The platform, as a run sees it."""

    async def page(self, number: int) -> Page:
        """Return page `number`, from 1."""

    async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
        """Push a campaign and return in which attempt that succeeded; `again`: its key may have been sent before."""


class Journal(Protocol):
    """The store, as a run sees it. See `adsyncd.store.Store`."""

    async def begin(self, run: Run) -> ResumePoint:
        """Record that the run begins, and say where it stands."""

    async def keep_page(self, run: Run, page: Page, policy: PushPolicy) -> list[Push]:
        """Keep a page and what it owes, and return the campaigns that are new to the run."""

    async def settle(self, run: Run, push: Push) -> None:
        """Record what became of a push."""

    async def missing(self, run: Run) -> tuple[int, int]:
        """Count the campaigns that the run has not listed, and those of them that the last listing missed, too."""

    async def finish(self, run: Run) -> int:
        """Record how the run ended, and return how many dead letters the tenant has."""


class Pipeline:
    """Runs one tenant once. `tally` is counted up while it goes, for whoever shows progress.

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
        self._listing = anyio.CancelScope()
        self._evidence: Listing | None = None  # what the listing says once it has come to its end
        self._claimed = 0  # the most campaigns that a page named in all
        self._odd, self._lacking = Oddities(), Oddities()
        self._moved: str | None = None  # a campaign that two pages had
        self._resumed = frozenset[str]()  # campaigns whose push an earlier life of the run may have sent
        self._first_failure: str | None = None
        self._fatal: AdsyncdError | None = None

    async def run(self, fire_time: datetime) -> Run:
        """Run, or take up a run of this fire time that was cut off, and return its record.

        `outcome` is None when adsyncd was told to stop, or the database went away: the run is open then, and goes on
        where it stands when it is run again. Raises StoreError when it could not even begin.
        """
        name = run_id(self._tenant.id, fire_time)
        attributes = {TENANT: self._tenant.id, CLIENT_ID: self._tenant.client_id, RUN_ID: name}
        with span(self._tracer, SPAN_RUN, attributes) as current:
            trace_id = format_trace_id(current.get_span_context().trace_id)
            run = Run(self._tenant.id, name, fire_time, self._clock.now(), trace_id)
            with structlog.contextvars.bound_contextvars(tenant=run.tenant, run_id=run.run_id):
                return await self._run(run, current)

    async def _run(self, run: Run, current: Span) -> Run:
        point = await self._journal.begin(run)
        run = replace(run, started_at=point.started_at)
        self._resume_counts(point.tally)
        self._claimed = point.announced
        self._tally.announced = self._tally.listed if point.complete else max(self._claimed, self._tally.listed)
        try:
            failed = await self._failure(run, point)
            async with recording():
                listing, gap = await self._judge_listing(run, point)
                outcome, error = failed or self._judge(point, gap)
                ended_at = max(self._clock.now(), run.started_at)  # though the clock was set back
                ended = replace(
                    self._record(run, outcome, error), ended_at=ended_at, note=self._note(), listing=listing
                )
                letters = await self._journal.finish(ended)
        except (Stopping, StoreError) as failure:
            mark_failed(current, failure)
            log = _log.info if isinstance(failure, Stopping) else _log.warning
            log("run left open", reason=str(failure))
            return self._record(run, None, str(failure))
        current.set_attribute(OUTCOME, outcome)
        if error is not None:
            current.set_attribute(ERROR_TYPE, outcome)
            current.set_status(Status(StatusCode.ERROR, error))
        self._instruments.set(DEAD_LETTERS, letters, tenant=run.tenant)
        self._instruments.add(RUNS, 1, tenant=run.tenant, outcome=outcome.value)
        self._instruments.record(RUN_DURATION, (ended_at - run.started_at).total_seconds(), outcome=outcome.value)
        if self._on_end is not None:
            await self._on_end(ended)
        return ended

    async def _failure(self, run: Run, point: ResumePoint) -> tuple[Outcome, str] | None:
        """Do what the run is for, and say what kept it from its end. Raises Stopping, StoreError: it is open then."""
        try:
            await self._sync(run, point)
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

    async def _sync(self, run: Run, point: ResumePoint) -> None:
        """List and push at the same time. After an error that concerns the whole run, what is on its way comes back."""
        give, take = anyio.create_memory_object_stream[Push](self._tenant.sync.page_size)
        with anyio.move_on_after(self._tenant.sync.run_deadline.total_seconds()) as deadline, take:
            async with anyio.create_task_group() as pushing:
                for _ in range(self._tenant.sync.concurrency):
                    pushing.start_soon(self._push_from, run, take)
                with give, self._listing:
                    await self._list(run, point, give)
        if self._fatal is not None:
            raise self._fatal
        if deadline.cancelled_caught:
            raise TimeoutError

    async def _list(self, run: Run, point: ResumePoint, queue: MemoryObjectSendStream[Push]) -> None:
        try:
            self._resumed = frozenset(push.campaign_id for push in point.owed)
            for push in point.owed:
                await queue.send(push)
            if not point.complete:
                with span(self._tracer, SPAN_LIST):
                    await self._list_pages(run, point, queue)
        except AdsyncdError as error:
            self._end(error)

    async def _list_pages(self, run: Run, point: ResumePoint, queue: MemoryObjectSendStream[Push]) -> None:
        number, barren, source = point.next_page, 0, point.source
        while True:
            with span(self._tracer, SPAN_PAGE, {PAGE: number}):
                page = await self._source.page(number)
                if number > 1 and page.source != source:
                    number, source = 1, page.source  # all pages of another listing, such as one of larger pages
                    continue
                source = page.source
                async with recording():
                    fresh = await self._journal.keep_page(run, page, self._tenant.sync.push)
            self._count_listed(fresh)
            self._note_page(page, fresh)
            for push in fresh:
                if push.state is PushState.PENDING:
                    await queue.send(push)
            if not page.has_more:
                self._evidence = Listing.KEPT if page.listed_at else Listing.COMPLETE
                self._tally.announced = self._tally.listed
                return
            barren = 0 if fresh else barren + 1
            self._check_end(number, barren)
            number += 1

    def _note_page(self, page: Page, fresh: list[Push]) -> None:
        """Note what is remarkable in a page."""
        self._claimed = max(self._claimed, page.total or 0)
        self._tally.announced = max(self._claimed, self._tally.listed)
        self._odd += page.odd
        self._lacking += page.lacking
        new = {push.campaign_id for push in fresh}
        self._moved = self._moved or next((each.id for each in page.campaigns if each.id not in new), None)

    def _check_end(self, number: int, barren: int) -> None:
        """Raise ListingError if a listing seems endless; of the pages up to `number` the last `barren` are no news."""
        if barren >= _BARREN_PAGES:
            raise ListingError(
                f"pages {number - barren + 1} to {number} bring nothing new, and more is still announced"
            )
        listed, most = self._tally.listed, _TOO_MANY * (self._claimed + self._tenant.sync.page_size)
        if (self._claimed and listed > most) or listed > _MOST_LISTED:
            named = f" of the {self._claimed} that it names in all" if self._claimed else ""
            raise ListingError(f"after {listed} campaigns{named}, the platform still announces more")

    async def _push_from(self, run: Run, queue: MemoryObjectReceiveStream[Push]) -> None:
        try:
            async for push in queue:
                if self._fatal is not None:
                    return
                await self._push(run, push)
        except AdsyncdError as error:
            self._end(error)

    async def _push(self, run: Run, push: Push) -> None:
        with span(self._tracer, SPAN_PUSH, {CAMPAIGN_ID: push.campaign_id}) as current:
            settled = await self._pushed(run, push, current)
            current.set_attributes({ATTEMPT: settled.attempts, OUTCOME: settled.state})
            async with recording():
                await self._journal.settle(run, settled)
        self._count_settled(settled)

    async def _pushed(self, run: Run, push: Push, current: Span) -> Push:
        key = idempotency_key(run.tenant, push.campaign_id, run.run_id)
        try:
            attempts = await self._source.push(push.campaign_id, key, again=push.campaign_id in self._resumed)
        except CAMPAIGNS_OWN as error:
            mark_failed(current, error)
            dead = isinstance(error, Rejected) or push.failures + 1 >= _RUNS_TO_DIE
            state = PushState.DEAD_LETTERED if dead else PushState.FAILED
            return replace(push, state=state, attempts=error.attempts, error=str(error))
        return replace(push, state=PushState.PUSHED, attempts=attempts)

    def _end(self, error: AdsyncdError) -> None:
        self._fatal = self._fatal or error
        self._listing.cancel()

    async def _judge_listing(self, run: Run, point: ResumePoint) -> tuple[Listing | None, str | None]:
        """Say what the listing tells of campaigns that are not in it, and what is wrong with it if it has collapsed."""
        # Between the pages of a listing that was cut off, campaigns may have moved from one to another.
        if point.next_page > 1 or self._moved or self._odd.lost:
            return None, None
        if self._evidence is not Listing.COMPLETE:
            return self._evidence, None
        missing = Missing(point.live, point.missed, *await self._journal.missing(run))
        if not missing.collapsed:
            return Listing.COMPLETE, None
        gap = f"{missing.now} of {missing.live} campaigns are missing from the listing"
        return Listing.COLLAPSED, f"{gap}: none is marked deleted unless the next listing agrees"

    def _judge(self, point: ResumePoint, gap: str | None) -> tuple[Outcome, str | None]:
        """Say how a run ended that came to its end, from the evidence alone."""
        wrong = []
        if lost := self._tally.failed + self._tally.dead_lettered:
            reason = f", the first because {self._first_failure}" if self._first_failure else ""
            wrong.append(f"{lost} of {self._tally.listed} campaigns were not pushed{reason}")
        if odd := point.odd or str(self._odd):
            wrong.append(f"not all can be read: {odd}")
        if gap:
            wrong.append(gap)
        return (Outcome.PARTIAL, "; ".join(wrong)) if wrong else (Outcome.SUCCEEDED, None)

    def _note(self) -> str | None:
        """Say what is remarkable in the listing and no fault of the run."""
        notes = []
        listed = self._tally.listed + self._odd.lost
        if self._evidence is Listing.COMPLETE and self._claimed not in {0, listed}:
            notes.append(f"the platform named {self._claimed} campaigns in all and listed {listed}")
        if self._moved:
            notes.append(f"{shown(self._moved)} was on two pages, so that another may have been on none")
        if self._lacking.count:
            notes.append(str(self._lacking))
        return "; ".join(notes) or None

    def _record(self, run: Run, outcome: Outcome | None, error: str | None) -> Run:
        """Return the run's record; in one that has ended, what is not settled has failed."""
        counts = {f.name: getattr(self._tally, f.name) for f in fields(self._tally) if f.name in Run.__slots__}
        if outcome is None:
            return replace(run, error=error, **counts)
        counts["failed"] += self._tally.listed - self._tally.settled
        return replace(run, outcome=outcome, error=error, **counts)

    def _resume_counts(self, counts: Tally) -> None:
        for name in ("listed", "pushed", "skipped", "dead_lettered", "failed", "requests", "retries"):
            setattr(self._tally, name, getattr(counts, name))

    def _count_listed(self, fresh: list[Push]) -> None:
        self._tally.listed += len(fresh)
        skipped = sum(push.state is PushState.SKIPPED for push in fresh)
        self._tally.skipped += skipped
        self._tally.dead_lettered += sum(push.state is PushState.DEAD_LETTERED for push in fresh)
        self._instruments.add(LISTED, len(fresh), tenant=self._tenant.id)
        self._instruments.add(SAVED, skipped, tenant=self._tenant.id)

    def _count_settled(self, push: Push) -> None:
        if push.state is PushState.PUSHED:
            self._tally.pushed += 1
            self._instruments.add(PUSHED, 1, tenant=self._tenant.id)
            return
        if push.state is PushState.DEAD_LETTERED:
            self._tally.dead_lettered += 1
        else:
            self._tally.failed += 1
        self._first_failure = self._first_failure or push.error
        self._instruments.add(FAILED, 1, tenant=self._tenant.id)


@asynccontextmanager
async def recording() -> AsyncIterator[None]:
    """Let what is known be recorded even by a run that is cancelled, but not for ever."""
    try:
        with anyio.CancelScope(shield=True), anyio.fail_after(_RECORDING_S):
            yield
    except TimeoutError as error:
        raise StoreError(f"the store took longer than {_RECORDING_S:g} s") from error
