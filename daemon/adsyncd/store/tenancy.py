"""All that is stored of one tenant: counted, removed piece by piece, or given to another name.

What is removed in pieces is consistent after each: open runs are ended first, and campaigns go last.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from functools import partial
from math import inf
from typing import Any, TypeVar

import anyio
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Table,
    UpdateBase,
    bindparam,
    delete,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from adsyncd.clock import Clock
from adsyncd.errors import CommandRefused
from adsyncd.model.lease import Lease
from adsyncd.model.run import Outcome
from adsyncd.store import leases, schema, sql
from adsyncd.store.tables import (
    alerts,
    campaigns,
    days,
    dead_letters,
    listing_pages,
    pauses,
    permits,
    pushes,
    runs,
    shapes,
    unpushed,
)

PIECE = 500  # rows that one transaction removes
_RUNS = 100  # runs that one transaction removes
_FORGOTTEN = "its tenant was forgotten"

Client = tuple[str, str]  # platform, client id
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Records:
    """How many records of each kind are stored of a tenant. `owed`: the pushes of open runs."""

    campaigns: int = 0
    dead_letters: int = 0
    runs: int = 0
    unpushed: int = 0
    owed: int = 0
    days: int = 0
    listing_pages: int = 0
    pauses: int = 0

    def __bool__(self) -> bool:
        return any(astuple(self))


@dataclass(frozen=True, slots=True)
class Permits:
    """Permits on record of client ids that no drop-in has: those that are removed, and those that may still count.

    `kept_s`: the kept ones stop counting after so many seconds, None if that is unknown.
    """

    removed: int = 0
    kept: int = 0
    kept_s: float | None = 0.0


_of_tenant = bindparam("of_tenant", type_=runs.c.tenant.type)
_RUN_IDS = select(runs.c.run_id).where(runs.c.tenant == _of_tenant)
_OF_TENANT: dict[str, ColumnElement[bool]] = {  # by kind: its rows
    "campaigns": campaigns.c.tenant == _of_tenant,
    "dead_letters": dead_letters.c.tenant == _of_tenant,
    "runs": runs.c.tenant == _of_tenant,
    "unpushed": unpushed.c.run_id.in_(_RUN_IDS),
    "owed": pushes.c.run_id.in_(_RUN_IDS),
    "days": days.c.tenant == _of_tenant,
    "listing_pages": listing_pages.c.tenant == _of_tenant,
    "pauses": pauses.c.tenant == _of_tenant,
}
_COUNTS = {kind: select(func.count()).where(of_tenant) for kind, of_tenant in _OF_TENANT.items()}


def count(connection: Connection, tenant: str) -> Records:
    """Count what is stored of a tenant."""
    values = {"of_tenant": tenant}
    return Records(**{kind: connection.scalars(query, values).one() for kind, query in _COUNTS.items()})


def _some(table: Table, of_tenant: ColumnElement[bool], most: int = PIECE) -> UpdateBase:
    """Return the statement that removes some of a tenant's rows."""
    key = tuple_(*table.primary_key)
    return delete(table).where(key.in_(select(*table.primary_key).where(of_tenant).limit(most)))


_FIRST_RUNS = _RUN_IDS.order_by(runs.c.fire_time).limit(_RUNS)
# By kind, in the order in which they go: nothing is left that belongs to a row which is gone.
_REMOVED: dict[str, UpdateBase] = {
    "dead_letters": _some(dead_letters, _OF_TENANT["dead_letters"]),
    "owed": _some(pushes, pushes.c.run_id.in_(_FIRST_RUNS)),
    "unpushed": _some(unpushed, unpushed.c.run_id.in_(_FIRST_RUNS)),
    "runs": delete(runs).where(runs.c.run_id.in_(_FIRST_RUNS)),
    "days": _some(days, _OF_TENANT["days"]),
    "listing_pages": _some(listing_pages, _OF_TENANT["listing_pages"]),
    "pauses": delete(pauses).where(_OF_TENANT["pauses"]),
    "campaigns": _some(campaigns, _OF_TENANT["campaigns"]),
}
_ENDED = (
    update(runs)
    .where(_OF_TENANT["runs"], runs.c.ended_at.is_(None))
    .values(ended_at=bindparam("now", type_=runs.c.ended_at.type), outcome=Outcome.ABANDONED, error=_FORGOTTEN)
)
# A receiver that was told of an alert is told of its end by the daemon, which then removes it.
_RESOLVED = (
    update(alerts)
    .where(alerts.c.tenant == _of_tenant, alerts.c.resolved_at.is_(None))
    .values(resolved_at=bindparam("now", type_=alerts.c.resolved_at.type), told=False)
)


def remove_some(connection: Connection, tenant: str, now: datetime) -> tuple[str, int] | None:
    """Remove up to a piece of what is stored of a tenant; return its kind and number, or None if nothing is left.

    Alerts that fire are resolved: the daemon removes each as soon as its end is delivered.
    """
    for update_of in (_ENDED, _RESOLVED):
        connection.execute(update_of, {"of_tenant": tenant, "now": now})
    for kind, removal in _REMOVED.items():
        if removed := connection.execute(removal, {"of_tenant": tenant}).rowcount:
            return kind, removed
    return None


def rename(connection: Connection, old: str, new: str, now: datetime) -> Records:
    """Give all that is stored of a tenant to another name, and return how much that was.

    Runs are named by their tenant, so their ids change. Idempotency keys stay: owed pushes and dead letters go with the
    same ones. Alerts that fire are resolved under the old name. Raises CommandRefused if `old` has no records, or `new`
    has some.
    """
    records = count(connection, old)
    if not records:
        raise CommandRefused(f"nothing is stored of {old}", "adsyncd runs lists tenants with runs")
    if count(connection, new):
        raise is_taken(new)
    values = {"of_tenant": old, "new_tenant": new, "now": now}
    for statement in _renaming(old):
        connection.execute(statement, values)
    return records


def is_taken(name: str) -> CommandRefused:
    """Return the error that a tenant can't be renamed to a name of which something is stored."""
    return CommandRefused(f"there are records of {name} already", f"if they are of no use: adsyncd forget {name}")


def _renaming(old: str) -> list[UpdateBase]:
    """Return the statements that give a tenant's rows to `new_tenant`; rows that are found by their runs come first."""
    new = bindparam("new_tenant", type_=runs.c.tenant.type)

    def run_id(table: Table) -> ColumnElement[str]:
        return new.concat(func.substr(table.c.run_id, len(old) + 1))

    return [
        update(pushes).where(_OF_TENANT["owed"]).values(run_id=run_id(pushes)),
        update(unpushed).where(_OF_TENANT["unpushed"]).values(run_id=run_id(unpushed)),
        update(dead_letters).where(_OF_TENANT["dead_letters"]).values(tenant=new, run_id=run_id(dead_letters)),
        update(runs).where(_OF_TENANT["runs"]).values(tenant=new, run_id=run_id(runs)),
        *(
            update(table).where(table.c.tenant == _of_tenant).values(tenant=new)
            for table in (campaigns, days, listing_pages, pauses)
        ),
        _RESOLVED,
    ]


def spent_permits(
    connection: Connection, in_use: Collection[Client], boot_id: str, since_boot: float
) -> tuple[list[Client], Permits]:
    """Return the client ids not in use whose permits no longer count at their platform, and what is theirs.

    The permits of a client id count, all of them, until each is free for as long as the longest of its windows. Nobody
    can tell how long ago another boot's were free.
    """
    of_client: dict[Client, list[Row[Any]]] = {}
    for row in connection.execute(select(permits).order_by(permits.c.platform, permits.c.client_id)):
        of_client.setdefault((row.platform, row.client_id), []).append(row)
    for platform, client_id in connection.execute(select(shapes.c.platform, shapes.c.client_id)):
        of_client.setdefault((platform, client_id), [])
    spent, counts = list[Client](), Permits()
    for client, rows in of_client.items():
        if client in in_use or not client[1]:  # an empty one is the platform's own quota
            continue
        left_s = _counts_for(rows, boot_id, since_boot)
        if left_s == 0:
            spent.append(client)
            counts = replace(counts, removed=counts.removed + len(rows))
        else:
            known_s = None if left_s is None or counts.kept_s is None else max(counts.kept_s, left_s)
            counts = replace(counts, kept=counts.kept + len(rows), kept_s=known_s)
    return spent, counts


def _counts_for(rows: Sequence[Row[Any]], boot_id: str, since_boot: float) -> float | None:
    """Return for how many seconds permits may still count, or None if that is unknown."""
    if any(row.boot_id != boot_id for row in rows):
        return None
    longest_s: float = max((row.window_ms for row in rows), default=0) / 1000
    free_at: float = max((row.free_at for row in rows), default=-inf)
    return max(0.0, free_at + longest_s - since_boot)


def remove_permits(connection: Connection, in_use: Collection[Client], boot_id: str, since_boot: float) -> Permits:
    """Remove the permits on record, and the learned shapes, of the client ids of `spent_permits`."""
    spent, counts = spent_permits(connection, in_use, boot_id, since_boot)
    for platform, client_id in spent:
        for table in (permits, shapes):
            connection.execute(delete(table).where(table.c.platform == platform, table.c.client_id == client_id))
    return counts


@asynccontextmanager
async def open_tenancy(url: str, *, clock: Clock) -> AsyncIterator["Tenancy"]:
    """Open the records of tenants at `url` to change them. It makes and migrates no database.

    Raises StoreError if there is no database or its schema is not this version's.
    """
    await anyio.to_thread.run_sync(schema.see_that_it_is_ours, sql.reading_engine(url))
    engine = sql.engine(url, connections=1).execution_options(writes=True)
    try:
        yield Tenancy(engine, clock)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(engine.dispose)


class Tenancy:
    """The records of tenants, to be changed under their leases, and the ledger of these leases.

    Every method is one transaction, and raises StoreError if the database can't be used or a lease was lost.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._one = anyio.CapacityLimiter(1)

    async def take_lease(self, tenant: str, owner: str, over: Lease | None = None) -> Lease:
        """Grant a tenant's lease to `owner` if it is free, its own or exactly `over`; return the lease on record."""
        [lease] = await self._write(lambda connection: leases.take(connection, [leases.Take(tenant, owner, over)]))
        return lease

    async def give_lease(self, lease: Lease) -> None:
        """Free a lease, unless it was taken over or removed."""
        await self._write(lambda connection: leases.give(connection, [lease]))

    async def beat_leases(self, held: Sequence[Lease]) -> None:
        """Increase the beat of leases, except those that were taken over or removed."""
        await self._write(lambda connection: leases.beat(connection, [held]))

    async def remove_some(self, lease: Lease) -> tuple[str, int] | None:
        """Remove a piece of what is stored of a tenant: see `remove_some`. The lease goes with the last one."""

        def remove(connection: Connection) -> tuple[str, int] | None:
            removed = remove_some(connection, lease.tenant, self._clock.now())
            if removed is None:
                leases.remove(connection, lease)
            return removed

        return await self._write(remove, lease)

    async def rename(self, old: Lease, new: Lease) -> Records:
        """Give all that is stored of a tenant to another name: see `rename`. The old name's lease is removed."""

        def give(connection: Connection) -> Records:
            records = rename(connection, old.tenant, new.tenant, self._clock.now())
            leases.remove(connection, old)
            return records

        return await self._write(give, old, new)

    async def remove_permits(self, in_use: Collection[Client]) -> Permits:
        """Remove the permits on record of client ids that are not in use: see `remove_permits`."""
        boot_id, since_boot = self._clock.boot_id, self._clock.since_boot()
        return await self._write(lambda connection: remove_permits(connection, in_use, boot_id, since_boot))

    async def _write(self, do: Callable[[Connection], Result], *held: Lease) -> Result:
        try:
            return await anyio.to_thread.run_sync(partial(self._transact, do, held), limiter=self._one)
        except SQLAlchemyError as error:
            raise sql.store_error(self._engine.url, error) from error

    def _transact(self, do: Callable[[Connection], Result], held: Sequence[Lease]) -> Result:
        with self._engine.begin() as connection:
            if held:
                leases.fence(connection, held)
            return do(connection)
