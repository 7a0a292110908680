"""The permits that may be out with a request, over all processes, and what was found out of how they are counted."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Connection, Double, String, and_, bindparam, or_, select, tuple_

from adsyncd.permit import Claim, PermitRecord, ShapeRecord
from adsyncd.store.dialects import Columns, upsert
from adsyncd.store.tables import permits, shapes

_CHANGED = ["free_at", "boot_id", "owner"]


class _Taken(Exception):
    """Another process has one of the permits."""


def claim(connection: Connection, items: Sequence[Sequence[Claim]]) -> list[tuple[PermitRecord, ...]]:
    """Record that permits are out, for each item all of them or none.

    Returns for each item nothing, or, where another process has one of its permits, what is on record of those client
    ids.
    """
    try:
        _claim(connection, [one for claims in items for one in claims])
    except _Taken:
        return [_claimed_alone(connection, claims) for claims in items]
    return [()] * len(items)


def note(connection: Connection, items: Sequence[Sequence[Claim]]) -> list[None]:
    """Record when permits are free that a process has out, but of those that another one has taken nothing."""
    rows = _rows([one for claims in items for one in claims])
    connection.execute(upsert(connection, permits, _CHANGED, where=_may_have), rows)
    return [None] * len(items)


def all_permits(connection: Connection) -> list[PermitRecord]:
    """Return every permit on record."""
    return [PermitRecord(**row) for row in connection.execute(select(permits)).mappings()]


def keep_shape(connection: Connection, items: Sequence[ShapeRecord]) -> list[None]:
    """Record what was found out, in the place of what was known."""
    statement = upsert(connection, shapes, ["quota", "shape", "strict", "since"])
    connection.execute(statement, [asdict(item) for item in items])
    return [None] * len(items)


def all_shapes(connection: Connection) -> list[ShapeRecord]:
    """Return all that was found out."""
    return [ShapeRecord(**row) for row in connection.execute(select(shapes)).mappings()]


def _claimed_alone(connection: Connection, claims: Sequence[Claim]) -> tuple[PermitRecord, ...]:
    try:
        _claim(connection, claims)
    except _Taken:
        whose = {(one.record.platform, one.record.client_id) for one in claims}
        known = select(permits).where(tuple_(permits.c.platform, permits.c.client_id).in_(whose))
        return tuple(PermitRecord(**row) for row in connection.execute(known).mappings())
    return ()


def _claim(connection: Connection, claims: Sequence[Claim]) -> None:
    rows = _rows(claims)
    statement = upsert(connection, permits, _CHANGED, where=_may_have)
    with connection.begin_nested():
        done = connection.execute(statement, rows, execution_options={"preserve_rowcount": True})
        if done.rowcount != len(rows):
            raise _Taken


def _rows(claims: Sequence[Claim]) -> list[Mapping[str, Any]]:
    """Return the parameters, in one order for all processes, so that no two wait for each other."""
    rows = {}
    for one in claims:
        record = one.record
        rows[record.platform, record.client_id, record.window_ms, record.number] = {
            "platform": record.platform,  # written out: asdict() takes ten times as long
            "client_id": record.client_id,
            "window_ms": record.window_ms,
            "number": record.number,
            "free_at": record.free_at,
            "boot_id": record.boot_id,
            "owner": record.owner,
            "at": one.at,
            "seen_owner": one.seen.owner if one.seen else None,
            "seen_free_at": one.seen.free_at if one.seen else None,
        }
    return [rows[key] for key in sorted(rows)]


def _may_have(wanted: Columns) -> ColumnElement[bool]:
    return or_(
        permits.c.owner == wanted.owner,
        and_(permits.c.boot_id == wanted.boot_id, permits.c.free_at <= bindparam("at", type_=Double)),
        and_(
            permits.c.owner == bindparam("seen_owner", type_=String),
            permits.c.free_at == bindparam("seen_free_at", type_=Double),
        ),
    )
