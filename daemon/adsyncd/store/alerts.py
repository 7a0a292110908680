"""Alerts that are firing, or resolved and not delivered yet."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from adsyncd.model.alert import Alert
from adsyncd.store.statements import upsert
from adsyncd.store.tables import alerts as table
from adsyncd.store.tables import dead_letters

_COLUMNS = [field.name for field in fields(Alert)]


def keep(connection: Connection, items: Sequence[Alert]) -> list[None]:
    """Keep the current state of alerts. Resolved and delivered alerts are deleted."""
    statement = upsert(connection, table, _COLUMNS)
    for alert in items:
        if alert.fires or not alert.told:
            connection.execute(statement, asdict(alert))
        else:
            connection.execute(delete(table).where(table.c.tenant == alert.tenant, table.c.name == alert.name))
    return [None] * len(items)


def all_alerts(connection: Connection) -> list[Alert]:
    """Return all kept alerts."""
    return [Alert(**row) for row in connection.execute(select(*[table.c[name] for name in _COLUMNS])).mappings()]


def oldest_dead_letter(connection: Connection, tenant: str) -> datetime | None:
    """Return when a tenant's oldest dead letter was written, or None if it has none."""
    query = select(func.min(dead_letters.c.dead_at)).where(dead_letters.c.tenant == tenant)
    oldest: datetime | None = connection.scalar(query)
    return oldest
