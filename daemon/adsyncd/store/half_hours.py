"""The runs of all tenants in one half hour, summed up by tenant."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, case, func, select

from adsyncd.model.half_hour import HALF_HOUR, HalfHour
from adsyncd.model.run import Outcome
from adsyncd.store.tables import runs as table


def _count(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.sum(case((condition, 1), else_=0))


_SUMS: dict[str, ColumnElement[Any]] = {
    **{f"runs_{outcome}": _count(table.c.outcome == outcome) for outcome in Outcome},
    "open": _count(table.c.ended_at.is_(None)),
    **{name: func.sum(table.c[name]) for name in ("listed", "pushed", "requests", "refused", "skipped_ticks")},
    "not_pushed": func.sum(table.c.failed + table.c.dead_lettered),
    "waited_s": func.sum(table.c.waited_s),
}
# By the index on fire times: what it costs depends on the runs of half an hour, however many there are in all.
_QUERY = (
    select(table.c.tenant, *[column.label(name) for name, column in _SUMS.items()])
    .where(
        table.c.fire_time >= bindparam("start", type_=table.c.fire_time.type),
        table.c.fire_time < bindparam("end", type_=table.c.fire_time.type),
    )
    .group_by(table.c.tenant)
)
_NAMES = ("tenant", *_SUMS)


def half_hour(connection: Connection, start: datetime) -> list[HalfHour]:
    """Return what each tenant with a run in the half hour from `start` on did in it."""
    rows = connection.execute(_QUERY, {"start": start, "end": start + HALF_HOUR})
    return [HalfHour(**dict(zip(_NAMES, row, strict=True))) for row in rows]
