"""What the database does not keep: the pushes of ended runs, and old runs, of which a sum of each day remains.

Each write is one bounded piece, so that the writes of runs in progress wait for a few milliseconds at most.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, case, delete, exists, func, select

from adsyncd.model.day import SUMS, Day, by_day
from adsyncd.model.failure import MOST_UNPUSHED
from adsyncd.model.run import Run
from adsyncd.store import unpushed
from adsyncd.store.statements import Columns, merge
from adsyncd.store.tables import days, pushes, runs

PIECE = 500  # runs that one write sums up
UNPUSHED = 2000  # campaigns that they did not push, which it removes; one run has at most half of them
_LOOKS = 100  # tenants that one read looks at
LATEST = 100  # runs of a tenant that are kept however old they are: alerts judge by as many
LATEST_ALIKE = 10  # runs of a tenant with the same outcome, likewise: plans are made from those that succeeded


@dataclass(frozen=True, slots=True)
class Old:
    """Of a tenant: the ended runs before a day, oldest first, and whether a sum is older than kept.

    `more`: whether these are as many runs as one write sums up, so that there may be others.
    """

    tenant: str
    run_ids: tuple[str, ...]
    outdated: bool
    more: bool = False


@dataclass(frozen=True, slots=True)
class RollUp:
    """Runs of a tenant to be summed up by day, and the first day of which it keeps a sum."""

    tenant: str
    run_ids: tuple[str, ...]
    first_day: date


_of_tenant = runs.c.tenant == bindparam("of_tenant")
_newest_first = runs.c.fire_time.desc()
_ranked = (
    select(
        runs.c.run_id,
        runs.c.fire_time,
        (runs.c.failed + runs.c.dead_lettered - runs.c.untried).label("unpushed"),
        func.row_number().over(order_by=_newest_first).label("newer"),
        func.row_number().over(partition_by=runs.c.outcome, order_by=_newest_first).label("newer_alike"),
    )
    .where(_of_tenant, runs.c.ended_at.is_not(None))
    .subquery()
)


def old_runs(piece: int, latest: int, latest_alike: int) -> Select[Any]:
    """Return the query for a tenant's old runs, oldest first, and the number of campaigns that each did not push."""
    return (
        select(_ranked.c.run_id, _ranked.c.unpushed)
        .where(
            _ranked.c.fire_time < bindparam("before", type_=runs.c.fire_time.type),
            _ranked.c.newer > latest,
            _ranked.c.newer_alike > latest_alike,
            ~exists().where(pushes.c.run_id == _ranked.c.run_id),
        )
        .order_by(_ranked.c.fire_time)
        .limit(piece)
    )


_OLD = old_runs(PIECE, LATEST, LATEST_ALIKE)
_NEXT = (
    select(
        runs.c.tenant,
        runs.c.fire_time,
        exists().where(days.c.tenant == runs.c.tenant, days.c.day < bindparam("first_day")).label("outdated"),
    )
    .where(runs.c.tenant > bindparam("after"))
    .order_by(runs.c.tenant, runs.c.fire_time)
    .limit(1)
)


def old(connection: Connection, after: str, before: datetime, first_day: date) -> Old | None:
    """Return what is old of a tenant after `after`: runs before an instant, and sums of days before a day.

    Tenants of which nothing is old are passed over, up to a number; the last of these may be returned. None after the
    last tenant. The latest runs of a tenant are never old.
    """
    found = None
    for _ in range(_LOOKS):
        first = connection.execute(_NEXT, {"after": found.tenant if found else after, "first_day": first_day}).first()
        if first is None:
            return found
        found = Old(first.tenant, (), first.outdated)
        if first.fire_time < before:
            rows = connection.execute(_OLD, {"of_tenant": first.tenant, "before": before}).all()
            run_ids = tuple(_piece((row.run_id, row.unpushed) for row in rows))
            found = replace(found, run_ids=run_ids, more=len(rows) == PIECE or len(run_ids) < len(rows))
        if found.run_ids or found.outdated:
            break
    return found


def _piece(rows: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Yield the ids of runs, until as many of their campaigns were not pushed as one write removes."""
    removed = 0
    for run_id, lost in rows:
        removed += min(lost, MOST_UNPUSHED)
        if removed > UNPUSHED:
            return
        yield run_id


_TAKEN = (
    delete(runs)
    .where(runs.c.run_id.in_(bindparam("run_ids", expanding=True)), runs.c.ended_at.is_not(None))
    .returning(*[runs.c[field.name] for field in fields(Run)])
)
_DROPPED = delete(days).where(days.c.tenant == bindparam("of_tenant"), days.c.day < bindparam("first_day"))


def roll_up(connection: Connection, items: Sequence[RollUp]) -> list[None]:
    """Replace runs by sums of their days, and remove sums that are too old, and what the runs did not push.

    A run counts only where its row is removed, so that two processes that sum up at the same time count it once.
    """
    for item in items:
        taken = connection.execute(_TAKEN, {"run_ids": item.run_ids}).mappings().all() if item.run_ids else []
        unpushed.forget(connection, [row["run_id"] for row in taken])
        for day in by_day([], [Run(**row) for row in taken]):
            connection.execute(merge(connection, days, _with_later), asdict(day))
        connection.execute(_DROPPED, {"of_tenant": item.tenant, "first_day": item.first_day})
    return [None] * len(items)


def _with_later(later: Columns) -> dict[str, ColumnElement[object]]:
    """Return the columns of a day with later runs of it: see `Day.__add__`."""
    longest = case((later.longest_s > days.c.longest_s, later.longest_s), else_=days.c.longest_s)
    sums = {name: days.c[name] + later[name] for name in SUMS}
    return {**sums, "longest_s": longest, "error": func.coalesce(later.error, days.c.error)}


def of_tenant(connection: Connection, tenant: str) -> list[Day]:
    """Return the sums of a tenant's days."""
    query = select(*[days.c[field.name] for field in fields(Day)]).where(days.c.tenant == tenant)
    return [Day(**row) for row in connection.execute(query).mappings()]


# The first run id, and from each the next: as many look-ups as there are runs with pushes, however many those have.
_first = select(func.min(pushes.c.run_id).label("run_id")).cte("with_pushes", recursive=True)
_next = select(func.min(pushes.c.run_id)).where(pushes.c.run_id > _first.c.run_id).scalar_subquery()
_with_pushes = _first.union_all(select(_next).where(_first.c.run_id.is_not(None)))
_LEFT = select(runs.c.run_id).join(_with_pushes, _with_pushes.c.run_id == runs.c.run_id)


def ended_with_pushes(connection: Connection) -> list[str]:
    """Return the runs that have ended and still have pushes, which nobody owes."""
    return list(connection.scalars(_LEFT.where(runs.c.ended_at.is_not(None))))
