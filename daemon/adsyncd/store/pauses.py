"""Tenants that an operator has paused, and since when."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, select

from adsyncd.store.statements import upsert
from adsyncd.store.tables import pauses as table


def pause(connection: Connection, items: Sequence[tuple[str, datetime]]) -> list[None]:
    """Record that tenants are paused, each since an instant; a later pause replaces an earlier one."""
    statement = upsert(connection, table, ["tenant", "since"])
    for tenant, since in items:
        connection.execute(statement, {"tenant": tenant, "since": since})
    return [None] * len(items)


def resume(connection: Connection, items: Sequence[str]) -> list[None]:
    """Remove the pauses of tenants."""
    connection.execute(delete(table).where(table.c.tenant.in_(items)))
    return [None] * len(items)


def all_pauses(connection: Connection) -> dict[str, datetime]:
    """Return, by paused tenant, since when it is paused."""
    return {row.tenant: row.since for row in connection.execute(select(table))}
