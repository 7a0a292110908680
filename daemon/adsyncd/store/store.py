"""The store: what the rest of the program asks of the database, and when it is open."""

from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from datetime import datetime
from typing import Any

import anyio
from alembic.util import CommandError
from opentelemetry.trace import SpanKind, Tracer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from adsyncd.clock import Clock
from adsyncd.errors import StoreError
from adsyncd.model.alert import Alert
from adsyncd.model.campaign import DeadLetter, Page, Push
from adsyncd.model.lease import Lease
from adsyncd.model.run import ResumePoint, Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.rate.ledger import Claim, PermitRecord, ShapeRecord
from adsyncd.store import alerts, dead_letters, ending, journal, leases, pauses, permits, schema, sql
from adsyncd.store.reader import READERS, Reader
from adsyncd.store.writer import Item, Operation, Result, Ticket, Touches, Writer
from adsyncd.tasks import OffLoop, in_thread
from adsyncd.telemetry.instruments import DB_SYSTEM, SPAN_STORE, STORE_WRITES, span

# Each kind of write, in the order in which a transaction does them, with what it touches.
_TOUCHES: dict[Operation[Any, Any], Touches] = {
    permits.forget: lambda records: map(_permit, records),
    permits.note: lambda claims: [_permit(one.record) for one in claims],
    permits.claim: lambda claims: [_permit(one.record) for one in claims],
    journal.begin: lambda run: [("runs", run.tenant)],
    journal.keep: lambda item: [("runs", item.run.tenant)],
    journal.settle: lambda item: [("runs", item.run.tenant)],
    ending.finish: lambda item: [("runs", item.run.tenant)],
    dead_letters.replay: lambda item: [("runs", item.letter.tenant)],
    dead_letters.discard: lambda letters: [("runs", letter.tenant) for letter in letters],
    alerts.keep: lambda alert: [("alert", *alert.key)],
    permits.keep_shape: lambda record: [("shape", record.platform, record.client_id)],
    pauses.pause: lambda item: [("pause", item[0])],
    pauses.resume: lambda tenant: [("pause", tenant)],
    leases.take: lambda item: [("lease", item.tenant)],
    leases.beat: lambda held: [("lease", lease.tenant) for lease in held],
    leases.give: lambda lease: [("lease", lease.tenant)],
}


def _permit(record: PermitRecord) -> Hashable:
    return record.platform, record.client_id, record.window_ms, record.number


@asynccontextmanager
async def open_store(url: str, *, clock: Clock, tracer: Tracer) -> AsyncIterator["Store"]:
    """Bring the database at `url` up to date, and keep its store open.

    It closes when everything is written that it was asked to write, even if it is cancelled.

    Raises StoreError when the database can't be opened, or was made by a newer version.
    """
    engine = sql.engine(url, connections=READERS + 1)  # one is the writer's
    try:
        await anyio.to_thread.run_sync(_migrate, engine.execution_options(writes=True))
        async with store_in(engine, clock=clock, tracer=tracer) as store:
            yield store
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(engine.dispose)


@asynccontextmanager
async def store_in(
    engine: Engine, *, clock: Clock, tracer: Tracer, off_loop: OffLoop = in_thread
) -> AsyncIterator["Store"]:
    """Keep the store of a database that is up to date open, as `open_store` does; `off_loop` makes the calls to it."""
    writer = Writer(
        engine.execution_options(writes=True).begin,
        _TOUCHES,
        fence=leases.fence,
        is_shared=lambda error: sql.cause(error) is not None,
        off_loop=off_loop,
    )
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        try:
            yield Store(engine, writer, clock, tracer, off_loop)
        except Exception as error:  # noqa: BLE001 - raised below, where no task group wraps it
            failure = error
        finally:
            writer.close()
    if failure:
        raise failure


def _migrate(engine: Engine) -> None:
    place = sql.name(engine.url)
    try:
        with engine.begin() as connection:
            if (wrong := sql.misfit(connection)) is not None:
                raise StoreError(f"{place}: {wrong}")
            schema.upgrade(connection)
    except CommandError as error:
        raise StoreError(f"{place}: a newer adsyncd made it; run that one, or restore a backup") from error
    except SQLAlchemyError as error:
        raise sql.store_error(engine.url, error) from error


class Store(Reader):
    """Runs, pushes, campaigns, dead letters, permits, leases, pauses and alerts, to be read and changed.

    Every method raises StoreError when the database can't be used. A write that is awaited is committed when the method
    returns, and done even if it is cancelled while it waits; `note_*` and `forget_*` are queued, and may be left out.
    When a database that was gone comes back, the store goes on.
    """

    def __init__(self, engine: Engine, writer: Writer, clock: Clock, tracer: Tracer, off_loop: OffLoop) -> None:
        super().__init__(engine, clock, off_loop)
        self._writer = writer
        self._tracer = tracer
        self._lease: Lease | None = None

    def held(self, lease: Lease) -> "Store":
        """Return this store for a lease's holder: its writes raise LeaseLost once another process has taken over."""
        store = copy(self)
        store._lease = lease  # noqa: SLF001 - another of us
        return store

    async def take_lease(self, tenant: str, owner: str, over: Lease | None = None) -> Lease:
        """Give a tenant's lease to `owner` if it is nobody's, its own or exactly `over`; return how it stands then."""
        return (await self._commit(leases.take, leases.Take(tenant, owner, over))).result

    async def give_lease(self, lease: Lease) -> None:
        """Make a lease free, unless it was taken over."""
        await self._commit(leases.give, lease)

    async def beat_leases(self, held: Sequence[Lease]) -> None:
        """Give a sign of life for leases, but for those that were taken over."""
        await self._commit(leases.beat, held)

    async def begin(self, run: Run) -> ResumePoint:
        """Record that a run begins; where it is open from an unclean end, take it up again and say where it stands.

        Raises RunEnded when the run has ended already.
        """
        return await self._write(journal.begin, run)

    async def keep_page(self, run: Run, page: Page, policy: PushPolicy) -> list[Push]:
        """Keep a page's campaigns, the pushes that they owe and how far the listing has come.

        Returns the campaigns that are new to this run, in the page's order: PENDING, to be pushed, `failures` the runs
        in a row before this one in which it failed; SKIPPED, where `policy` is CHANGED and this very content was
        pushed last; or DEAD_LETTERED, where its dead letter is open and its content unchanged since. A dead letter
        whose campaign changed is closed, and the campaign PENDING.
        """
        return await self._write(journal.keep, journal.Keep(run, page, policy, self._clock.now()))

    async def settle(self, run: Run, push: Push) -> None:
        """Record what became of a push, together with its campaign's row and, where it has died, its dead letter."""
        await self._write(journal.settle, journal.Settle(run, push, self._clock.now()))

    async def missing(self, run: Run) -> tuple[int, int]:
        """Count the tenant's campaigns that a run has not listed, and those of them that the last one missed, too."""
        return await self._read(lambda connection: ending.missing(connection, run))

    async def finish(self, run: Run) -> int:
        """Record how a run ended, and return how many dead letters its tenant has. One that has ended stays as it is.

        Of a COMPLETE listing the campaigns that were not in it are marked deleted, and their dead letters closed, if
        they were not in the one before either. Of a COLLAPSED one it is noted only that they are missing. Campaigns are
        never removed. A listing that is neither COMPLETE nor KEPT is not used again.
        """
        return await self._write(ending.finish, ending.Finish(run, self._clock.now()))

    async def settle_replay(self, letter: DeadLetter, *, attempts: int, error: str | None, trace_id: str) -> None:
        """Record what became of pushing a dead letter again.

        Without an `error` it is closed together with its campaign's row. With one it stays, for that reason. One that
        was closed meanwhile by a change upstream stays closed.
        """
        outcome = dead_letters.ReplayOutcome(letter, attempts, error, trace_id, self._clock.now())
        await self._write(dead_letters.replay, outcome)

    async def discard(self, letters: Sequence[DeadLetter]) -> None:
        """Close dead letters without a push: the next run takes their campaigns for ones that never failed."""
        await self._write(dead_letters.discard, letters)

    async def keep_alert(self, alert: Alert) -> None:
        """Keep how an alert stands, in the place of how it stood; one that is over, and known to be, goes."""
        await self._write(alerts.keep, alert)

    async def pause(self, tenant: str, since: datetime) -> None:
        """Keep that a tenant rests, since when."""
        await self._write(pauses.pause, (tenant, since))

    async def resume(self, tenant: str) -> None:
        """Forget that a tenant rests."""
        await self._write(pauses.resume, tenant)

    async def claim_permits(self, claims: Sequence[Claim]) -> Sequence[PermitRecord]:
        """Record that permits are out, all or none; return what is on record if another process has one of them."""
        return await self._write(permits.claim, claims)

    def note_permits(self, claims: Sequence[Claim]) -> None:
        """Record soon when permits are free that were claimed; what another process has by then stays as it is."""
        self._writer.post(permits.note, claims)

    def forget_permits(self, records: Sequence[PermitRecord]) -> None:
        """Remove soon what is on record of permits, but for those of which it has changed since."""
        self._writer.post(permits.forget, records)

    def note_shape(self, record: ShapeRecord) -> None:
        """Record soon what was found out of how a client id's requests are counted."""
        self._writer.post(permits.keep_shape, record)

    async def _write(self, operation: Operation[Item, Result], item: Item) -> Result:
        with span(self._tracer, SPAN_STORE, {DB_SYSTEM: self._engine.dialect.name}, SpanKind.CLIENT) as current:
            ticket = await self._commit(operation, item)
            current.set_attribute(STORE_WRITES, ticket.batch)
            return ticket.result

    async def _commit(self, operation: Operation[Item, Result], item: Item) -> Ticket[Result]:
        ticket = await self._writer.write(operation, item, self._lease)
        if ticket.error:
            raise sql.store_error(self._engine.url, ticket.error) from ticket.error
        return ticket
