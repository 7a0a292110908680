"""The store: reads and writes of the rest of the program, and when the database is open."""

from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from copy import copy
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import anyio
from opentelemetry.trace import SpanKind, Tracer, get_current_span
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from adsyncd.clock import Clock
from adsyncd.errors import StoreError
from adsyncd.model.alert import Alert
from adsyncd.model.campaign import DeadLetter, Page, Push
from adsyncd.model.failure import unpushed_of
from adsyncd.model.lease import Lease
from adsyncd.model.run import ResumePoint, Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.rate.ledger import Claim, PermitRecord, ShapeRecord
from adsyncd.store import (
    alerts,
    beginning,
    dead_letters,
    ending,
    health,
    history,
    journal,
    leases,
    listings,
    pauses,
    permits,
    pruning,
    schema,
    sql,
    unpushed,
)
from adsyncd.store.reader import READERS, Reader
from adsyncd.store.writer import Item, Measured, Operation, Result, Ticket, Touches, Writer
from adsyncd.tasks import OffLoop, own_threads
from adsyncd.telemetry.instruments import DB_SYSTEM, SPAN_STORE, STORE_WRITES, mark_failed, with_tenant
from adsyncd.telemetry.write_durations import WriteDurations

_SLOW_S = 0.1  # a write that takes longer is in the trace

# Each kind of write with what it touches, in the order in which a transaction does them. What a run reads on its way
# is among them if it is small: with the writes of other runs it costs a statement, and by itself a transaction.
_TOUCHES: dict[Operation[Any, Any], Touches] = {
    permits.forget: lambda records: map(_permit, records),
    permits.note: lambda claims: [_permit(one.record) for one in claims],
    permits.claim: lambda claims: [_permit(one.record) for one in claims],
    history.open_runs_of: lambda tenant: [("runs", tenant)],
    listings.have_pages: lambda tenant: [("runs", tenant)],
    beginning.begin: lambda run: [("runs", run.tenant)],
    journal.keep: lambda item: [("runs", item.run.tenant)],
    journal.settle: lambda item: [("runs", item.run.tenant)],
    ending.skip_tick: lambda tenant: [("runs", tenant)],
    ending.missing_of_few: lambda run: [("runs", run.tenant)],
    ending.finish: lambda item: [("runs", item.run.tenant)],
    ending.remove_pushes: lambda run_id: [("pushes", run_id)],
    pruning.roll_up: lambda item: [("runs", item.tenant)],
    dead_letters.replay: lambda item: [("runs", item.letter.tenant)],
    dead_letters.discard: lambda letters: [("runs", letter.tenant) for letter in letters],
    alerts.keep: lambda alert: [("alert", *alert.key)],
    permits.keep_shape: lambda record: [("shape", record.platform, record.client_id)],
    pauses.pause: lambda item: [("pause", item[0])],
    pauses.resume: lambda tenant: [("pause", tenant)],
    leases.take: lambda item: [("lease", item.tenant)],
    leases.beat: lambda held: [("lease", lease.tenant) for lease in held],
    leases.give: lambda lease: [("lease", lease.tenant)],
    health.touch: lambda _: [("probe",)],
}


def _permit(record: PermitRecord) -> Hashable:
    return record.platform, record.client_id, record.window_ms, record.number


@asynccontextmanager
async def open_store(
    url: str, *, clock: Clock, tracer: Tracer, durations: WriteDurations | None = None
) -> AsyncIterator["Store"]:
    """Migrate the database at `url` to this version, and open its store. `durations` measures its writes.

    It closes after all queued writes are done, even if it is cancelled.

    Raises StoreError if the database can't be opened or a newer version made it.
    """
    engine = sql.engine(url, connections=READERS + 1)  # one for the writer
    try:
        await anyio.to_thread.run_sync(_migrate, engine.execution_options(writes=True))
        with own_threads("store reader", READERS) as reading, own_threads("store writer") as writing:
            measured = None if durations is None else partial(_measured, durations, engine.dialect.name, clock)
            async with store_in(
                engine, clock=clock, tracer=tracer, off_loop=reading, writing=writing, measured=measured
            ) as store:
                yield store
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(engine.dispose)


@asynccontextmanager
async def store_in(
    engine: Engine,
    *,
    clock: Clock,
    tracer: Tracer,
    off_loop: OffLoop,
    writing: OffLoop | None = None,
    measured: Measured | None = None,
) -> AsyncIterator["Store"]:
    """Open the store of a migrated database, as `open_store` does.

    `off_loop` runs the calls to the database, except those that write if there is a `writing`. `measured`: see
    `Writer`.
    """
    healthy = health.Health(engine.url, clock.monotonic)
    writer = Writer(
        engine.execution_options(writes=True).begin,
        _TOUCHES,
        fence=leases.fence,
        is_shared=lambda error: sql.cause(error) is not None,
        off_loop=writing or off_loop,
        measured=measured,
        answers=healthy,
    )
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        try:
            yield Store(engine, writer, clock, tracer, off_loop, healthy)
        except Exception as error:  # noqa: BLE001 - raised below, where no task group wraps it
            failure = error
        finally:
            writer.close()
    if failure:
        raise failure


def _measured(
    durations: WriteDurations, system: str, clock: Clock, batch: Sequence[Ticket[Any]]
) -> AbstractContextManager[None]:
    return durations.of(system, (ticket.operation for ticket in batch), clock.monotonic)


def _migrate(engine: Engine) -> None:
    place = sql.name(engine.url)
    try:
        with engine.begin() as connection:
            if (wrong := sql.misfit(connection)) is not None:
                raise StoreError(f"{place}: {wrong}")
            schema.upgrade(connection)
    except SQLAlchemyError as error:
        raise sql.store_error(engine.url, error) from error


class Store(Reader):
    """Queries and writes for runs, pushes, campaigns, dead letters, permits, leases, pauses and alerts.

    Every method raises StoreError if the database can't be used. An awaited write is committed when the method returns,
    and is done even if its caller is cancelled. `settle` queues a write, and reports later whether it failed; what
    `note_*` and `forget_*` queue may be dropped. The store works again as soon as an unavailable database is back.
    """

    def __init__(
        self, engine: Engine, writer: Writer, clock: Clock, tracer: Tracer, off_loop: OffLoop, known: health.Health
    ) -> None:
        super().__init__(engine, clock, off_loop, known)
        self._writer = writer
        self._tracer = tracer
        self._lease: Lease | None = None

    def held(self, lease: Lease) -> "Store":
        """Return this store for a lease's holder: its writes raise LeaseLost if another process has taken over."""
        store = copy(self)
        store._lease = lease  # noqa: SLF001 - of the same class
        return store

    async def take_lease(self, tenant: str, owner: str, over: Lease | None = None) -> Lease:
        """Grant a tenant's lease to `owner` if it is free, its own or exactly `over`; return its current state."""
        return await self._write(leases.take, leases.Take(tenant, owner, over))

    async def give_lease(self, lease: Lease) -> None:
        """Free a lease, unless it was taken over."""
        await self._write(leases.give, lease)

    async def beat_leases(self, held: Sequence[Lease]) -> None:
        """Increase the beat of leases, except those that were taken over."""
        await self._write(leases.beat, held)

    async def open_runs(self, tenant: str | None = None) -> list[Run]:
        """Return the runs that have not ended, of one tenant or of all, oldest first: those to be resumed."""
        return await self._write(history.open_runs_of, tenant) if tenant else await super().open_runs()

    async def kept_page(self, tenant: str, source: str, number: int) -> Page | None:
        """Return a page of `source` as it was listed last, or None if it has no ETag; see `listings.page`."""
        if not await self._write(listings.have_pages, tenant):
            return None
        return await super().kept_page(tenant, source, number)

    async def begin(self, run: Run) -> ResumePoint:
        """Record that a run begins, or resume an open run of that id; return the point from which it continues.

        Raises RunEnded if the run has ended.
        """
        if point := await self._write(beginning.begin, run):
            return point
        return await self._read(lambda connection: beginning.resume_point(connection, run.run_id))

    async def keep_page(self, run: Run, page: Page, policy: PushPolicy) -> list[Push]:
        """Keep a page's campaigns, the pushes that the run owes to them, and the progress of the listing.

        Returns the campaigns that are new to this run, in the page's order: PENDING, to be pushed, with `failures`, the
        failed runs in a row before this one; SKIPPED, if `policy` is CHANGED and this content was pushed last; or
        DEAD_LETTERED, if its dead letter is open and its content unchanged. If the content changed, the dead letter is
        closed and the campaign PENDING.
        """
        pieces = journal.Keep(run, page, policy, self._clock.now()).pieces()
        return [push for piece in pieces for push in await self._write(journal.keep, piece)]

    def settle(self, run: Run, push: Push, recorded: Callable[[StoreError | None], None]) -> None:
        """Queue the outcome of a push, its campaign's row and its dead letter, if any, in one transaction.

        `recorded` is called on the event loop: with None once it is committed, or with the error. No later write of the
        run is committed before it. Until it is committed, `kill -9` undoes it: the push is still owed, and goes again
        with the same idempotency key.
        """
        item = journal.Settle(run, push, self._clock.now())
        self._writer.put(Ticket(journal.settle, item, self._lease, partial(self._tell, recorded)))

    async def missing(self, run: Run) -> tuple[int, int]:
        """Count the tenant's campaigns that a run did not list, and those that the last listing missed as well."""
        few = await self._write(ending.missing_of_few, run)
        if few is not None:
            return few
        return await self._read(lambda connection: ending.missing(connection, run))

    async def finish(self, run: Run, *, misses: bool = True) -> int:
        """Record the end of a run and return its tenant's number of dead letters. An ended run stays unchanged.

        After a COMPLETE listing, campaigns that it and the one before missed are marked deleted, and their dead letters
        closed. After a COLLAPSED listing, campaigns are only marked missing. Campaigns are never removed. Only COMPLETE
        and KEPT listings are used again. `misses`: False if the listing is known to miss none, which saves the look.
        Campaigns that were not pushed are kept with the end, the first 1000 of them.
        """
        item = ending.Finish(run, self._clock.now(), misses=misses)
        if unpushed_of(run):  # read first: it may take long, and other writes go on
            lost = await self._read(lambda connection: unpushed.of_open_run(connection, run.run_id))
            item = replace(item, unpushed=lost)
        left: int | ending.Finish = item
        while isinstance(left, ending.Finish):
            left = await self._write(ending.finish, left)
        return left

    def note_skipped_tick(self, tenant: str) -> None:
        """Queue that a tick of a tenant was skipped because of its open run, whichever process runs it."""
        self._writer.post(ending.skip_tick, tenant)

    async def remove_pushes(self, run_id: str) -> None:
        """Remove some of the pushes of a run that has ended."""
        await self._write(ending.remove_pushes, run_id)

    async def roll_up(self, runs: pruning.RollUp) -> None:
        """Replace old runs of a tenant by sums of their days, and remove the sums of older days than are kept."""
        await self._write(pruning.roll_up, runs)

    async def settle_replay(self, letter: DeadLetter, *, attempts: int, error: str | None, trace_id: str) -> None:
        """Record the replay of a dead letter.

        Without an `error` the letter is closed and its campaign's row updated. With one it stays, with that reason. A
        letter that was closed in the meantime by a change upstream stays closed.
        """
        outcome = dead_letters.ReplayWrite(letter, attempts, error, trace_id, self._clock.now())
        await self._write(dead_letters.replay, outcome)

    async def discard(self, letters: Sequence[DeadLetter]) -> None:
        """Close dead letters without a push: for the next run their campaigns have never failed."""
        await self._write(dead_letters.discard, letters)

    async def keep_alert(self, alert: Alert) -> None:
        """Keep an alert's current state; a resolved and delivered alert is deleted."""
        await self._write(alerts.keep, alert)

    async def pause(self, tenant: str, since: datetime) -> None:
        """Record that a tenant is paused since an instant."""
        await self._write(pauses.pause, (tenant, since))

    async def resume(self, tenant: str) -> None:
        """Remove a tenant's pause."""
        await self._write(pauses.resume, tenant)

    async def probe(self) -> None:
        """Write a little, for `health` to know whether the database works."""
        self.health.probing()
        if await self._write(health.touch, self.health.is_full):
            self.health.has_room()

    async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        """Record that permits are out, all or none; return the existing records if another process has one of them."""
        return await self._write(permits.claim, claims)

    def note_permits(self, claims: Sequence[Claim]) -> None:
        """Queue when claimed permits are free again; permits that another process has by then stay unchanged."""
        self._writer.post(permits.note, claims)

    def forget_permits(self, records: Sequence[PermitRecord]) -> None:
        """Queue the removal of permit records, except those that have changed since."""
        self._writer.post(permits.forget, records)

    def note_shape(self, record: ShapeRecord) -> None:
        """Queue the record of a client id's learned shape."""
        self._writer.post(permits.keep_shape, record)

    async def _write(self, operation: Operation[Item, Result], item: Item) -> Result:
        began = self._clock.monotonic()
        ticket = await self._writer.write(operation, item, self._lease)
        took_s = self._clock.monotonic() - began
        if ticket.error is None and took_s <= _SLOW_S:
            return ticket.result
        error = sql.store_error(self._engine.url, ticket.error) if ticket.error else None
        self._trace(ticket.batch, took_s, error)
        if error:
            raise error from ticket.error
        return ticket.result

    def _trace(self, writes: int, took_s: float, error: StoreError | None) -> None:
        """Record a write that failed or was slow, as a span of the operation that waited for it, if that is traced."""
        above = get_current_span()
        if not above.is_recording():
            return
        now_ns = round(self._clock.now().timestamp() * 1e9)
        attributes = with_tenant({DB_SYSTEM: self._engine.dialect.name}, above)
        current = self._tracer.start_span(
            SPAN_STORE, None, SpanKind.CLIENT, attributes, start_time=now_ns - round(took_s * 1e9)
        )
        if error:
            mark_failed(current, error)
        else:
            current.set_attribute(STORE_WRITES, writes)
        current.end(now_ns)

    def _tell(self, recorded: Callable[[StoreError | None], None], ticket: Ticket[None]) -> None:
        recorded(sql.store_error(self._engine.url, ticket.error) if ticket.error else None)
