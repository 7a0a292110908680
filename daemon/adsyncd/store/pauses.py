"""Tenants that an operator has told to rest, since when."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, select

from adsyncd.store.sql import upsert
from adsyncd.store.tables import pauses as table


def pause(connection: Connection, items: Sequence[tuple[str, datetime]]) -> list[None]:
    """Keep that tenants rest, each from an instant on, whatever was known of them before."""
    statement = upsert(connection, table, ["tenant", "since"])
    for tenant, since in items:
        connection.execute(statement, {"tenant": tenant, "since": since})
    return [None] * len(items)


def resume(connection: Connection, items: Sequence[str]) -> list[None]:
    """Forget that tenants rest."""
    connection.execute(delete(table).where(table.c.tenant.in_(items)))
    return [None] * len(items)


def all_pauses(connection: Connection) -> dict[str, datetime]:
    """Return since when each tenant rests that does."""
    return {row.tenant: row.since for row in connection.execute(select(table))}
