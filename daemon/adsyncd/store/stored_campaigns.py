"""The campaigns of a tenant as they are stored, page by page in the order of their ids."""

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, select

from adsyncd.store.tables import campaigns as table
from adsyncd.store.tables import dead_letters


@dataclass(frozen=True, slots=True)
class StoredCampaign:
    """A campaign as the last listing had it, and what became of it.

    `missing_since`: when a complete listing missed it. `dead_since`, `reason`: of its dead letter, if it has one.
    `payload`: None if it was not asked for.
    """

    campaign_id: str
    name: str | None
    status: str | None
    budget: float | None
    currency: str | None
    impressions: int | None
    clicks: int | None
    conversions: int | None
    created_at: datetime | None
    synced_at: datetime | None
    missing_since: datetime | None
    deleted_at: datetime | None
    dead_since: datetime | None
    reason: str | None
    payload: str | None = None


@dataclass(frozen=True, slots=True)
class CampaignFilter:
    """The campaigns to return: those that match all that is given.

    `name`: a part of it; it and `status` match whatever the case. `synced_since`: pushed since then. `deleted`: those
    marked deleted instead of the others. `dead`: those that are dead letters.
    """

    campaign_id: str | None = None
    name: str | None = None
    status: str | None = None
    synced_since: datetime | None = None
    deleted: bool = False
    dead: bool = False

    def conditions(self, tenant: str) -> list[ColumnElement[bool]]:
        """Return the conditions for the rows of a tenant."""
        found = [table.c.tenant == tenant]
        found.append(table.c.deleted_at.is_not(None) if self.deleted else table.c.deleted_at.is_(None))
        if self.campaign_id is not None:
            found.append(table.c.campaign_id == self.campaign_id)
        if self.name is not None:
            found.append(table.c.name.icontains(self.name, autoescape=True))
        if self.status is not None:
            found.append(func.lower(table.c.status) == self.status.lower())
        if self.synced_since is not None:
            found.append(table.c.synced_at >= self.synced_since)
        if self.dead:
            found.append(dead_letters.c.dead_at.is_not(None))
        return found


_LETTER = and_(dead_letters.c.tenant == table.c.tenant, dead_letters.c.campaign_id == table.c.campaign_id)
_FROM = table.outerjoin(dead_letters, _LETTER)
_NAMED = {"missed_at": "missing_since", "dead_at": "dead_since"}
_COLUMNS = [
    column.label(_NAMED.get(column.name, column.name))
    for column in (*table.columns, dead_letters.c.dead_at, dead_letters.c.reason)
    if _NAMED.get(column.name, column.name) in {field.name for field in fields(StoredCampaign)} - {"payload"}
]


def page(
    connection: Connection, tenant: str, wanted: CampaignFilter, after: str | None, limit: int, *, payload: bool
) -> list[StoredCampaign]:
    """Return the first campaigns that match and whose ids come after `after`, in the order of ids."""
    columns = [*_COLUMNS, table.c.payload] if payload else _COLUMNS
    matching = select(*columns).select_from(_FROM).where(*wanted.conditions(tenant))
    query = matching.order_by(table.c.campaign_id).limit(limit)
    if after is not None:
        query = query.where(table.c.campaign_id > after)
    return [StoredCampaign(**row) for row in connection.execute(query).mappings()]


def count(connection: Connection, tenant: str, wanted: CampaignFilter) -> int:
    """Count the campaigns that match."""
    matching = select(func.count()).select_from(_FROM).where(*wanted.conditions(tenant))
    return connection.scalars(matching).one()
