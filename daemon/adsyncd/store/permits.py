"""The permits that may be out with a request: the one thing that the quota's keeping needs to remember."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, select

from adsyncd.permit import PermitRecord
from adsyncd.store.dialects import upsert
from adsyncd.store.tables import permits


def hold(connection: Connection, items: Sequence[PermitRecord]) -> list[None]:
    """Record that permits are out. Of several records of one permit, the last one counts."""
    rows = {(item.platform, item.client_id, item.number): asdict(item) for item in items}
    connection.execute(upsert(connection, permits, ["free_at", "boot_id", "window_s"]), list(rows.values()))
    return [None] * len(items)


def all_permits(connection: Connection) -> list[PermitRecord]:
    """Return every permit on record."""
    return [PermitRecord(**row) for row in connection.execute(select(permits)).mappings()]
