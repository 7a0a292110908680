"""The permits of all processes that may be out with a request, and the learned shapes of quotas."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, fields
from types import SimpleNamespace
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Double,
    String,
    and_,
    bindparam,
    delete,
    exists,
    or_,
    select,
    true,
    tuple_,
    update,
)

from adsyncd.rate.ledger import Claim, PermitRecord, ShapeRecord
from adsyncd.store.sql import writers_meet
from adsyncd.store.statements import Columns, execute_rows, upsert
from adsyncd.store.tables import permits, shapes

_ALL = list(permits.columns.keys())
_NOTE = (
    update(permits)
    .where(*[column == bindparam(f"of_{column.name}") for column in (*permits.primary_key, permits.c.owner)])
    .values(free_at=bindparam("free_at"))
)
_FORGET = delete(permits).where(*[column == bindparam(f"of_{column.name}") for column in permits.columns])


class _Taken(Exception):
    """Another process has one of the permits."""


def claim(connection: Connection, items: Sequence[Sequence[Claim]]) -> list[tuple[PermitRecord, ...]]:
    """Record that permits are out, for each item all or none.

    Returns an empty tuple for each item, or the records of its client ids if another process has one of its permits.
    """
    try:
        _claim(connection, [one for claims in items for one in claims])
    except _Taken:
        return [_claimed_alone(connection, claims) for claims in items]
    return [()] * len(items)


def note(connection: Connection, items: Sequence[Sequence[Claim]]) -> list[None]:
    """Record when a process's permits are free again; permits that another process has taken stay unchanged."""
    free_at = {_key(one.record): one.record.free_at for claims in items for one in claims}
    execute_rows(
        connection,
        _NOTE,
        [
            {
                "of_platform": key[0],
                "of_client_id": key[1],
                "of_window_ms": key[2],
                "of_number": key[3],
                "of_owner": key[4],
                "free_at": free_at[key],
            }
            for key in sorted(free_at)
        ],
    )
    return [None] * len(items)


def forget(connection: Connection, items: Sequence[Sequence[PermitRecord]]) -> list[None]:
    """Remove records, except those that have changed since."""
    records = sorted({astuple(record) for records in items for record in records})
    rows = [
        {f"of_{field.name}": value for field, value in zip(fields(PermitRecord), row, strict=True)} for row in records
    ]
    connection.execute(_FORGET, rows)
    return [None] * len(items)


def all_permits(connection: Connection) -> list[PermitRecord]:
    """Return every permit on record."""
    return [PermitRecord(**row) for row in connection.execute(select(permits)).mappings()]


def permits_of(connection: Connection, platform: str, client_id: str) -> list[PermitRecord]:
    """Return the permits on record of a client id, or of a platform's own quota if that is empty."""
    known = select(permits).where(permits.c.platform == platform, permits.c.client_id == client_id)
    return [PermitRecord(**row) for row in connection.execute(known).mappings()]


def keep_shape(connection: Connection, items: Sequence[ShapeRecord]) -> list[None]:
    """Record learned shapes; each replaces the one before."""
    statement = upsert(connection, shapes, ["quota", "shape", "strict", "since"])
    connection.execute(statement, [asdict(item) for item in items])
    return [None] * len(items)


def all_shapes(connection: Connection) -> list[ShapeRecord]:
    """Return all learned shapes."""
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
    source = _UNLESS_TAKEN if writers_meet(connection) else None
    statement = upsert(connection, permits, _ALL, source, where=_may_have)
    with connection.begin_nested():
        if execute_rows(connection, statement, rows) != len(rows):
            raise _Taken


def _rows(claims: Sequence[Claim]) -> list[Mapping[str, Any]]:
    """Return the parameters, in one order for all processes, so that two cannot deadlock."""
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


def _key(record: PermitRecord) -> tuple[str, str, int, int, str]:
    return record.platform, record.client_id, record.window_ms, record.number, record.owner


def _may_have(wanted: Columns | SimpleNamespace) -> ColumnElement[bool]:
    return or_(
        permits.c.owner == wanted.owner,
        and_(permits.c.boot_id == wanted.boot_id, permits.c.free_at <= bindparam("at", type_=Double)),
        and_(
            permits.c.owner == bindparam("seen_owner", type_=String),
            permits.c.free_at == bindparam("seen_free_at", type_=Double),
        ),
    )


def _given(column: Column[Any]) -> BindParameter[Any]:
    return bindparam(column.name, type_=column.type)


# A conflict locks its row even if the row stays unchanged. Without this condition, two processes that each note permits
# of their own and claim one of the other's would deadlock.
_UNLESS_TAKEN = select(*map(_given, permits.columns)).where(
    ~exists().where(
        *[column == _given(column) for column in permits.primary_key],
        _may_have(SimpleNamespace(owner=_given(permits.c.owner), boot_id=_given(permits.c.boot_id))).is_not(true()),
    )
)
