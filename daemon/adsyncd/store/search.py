"""Finds runs and campaigns by what an operator has at hand: a trace id, a run id or its beginning, a campaign id."""

import re

from sqlalchemy import CTE, Column, Connection, bindparam, exists, func, select

from adsyncd.model.run import Run, period_of
from adsyncd.store.history import RUN, live
from adsyncd.store.tables import campaigns, runs

_TRACE_ID = re.compile("(?!0+$)[0-9a-f]{8,32}")  # or its beginning; runs that are not traced have zeros


def find_runs(connection: Connection, text: str, limit: int) -> list[Run]:
    """Return the runs whose trace id or run id begins with `text`, newest first: see `Reader.find_runs`."""
    if _TRACE_ID.fullmatch(text):
        query = RUN.where(runs.c.trace_id.between(text, text.ljust(32, "f")))
    elif period := period_of(text):
        tenant, since, before = period
        query = RUN.where(
            runs.c.tenant == tenant,
            runs.c.fire_time >= since,
            runs.c.fire_time < before,
            runs.c.run_id.startswith(text, autoescape=True),
        )
    else:
        return []
    return live(connection, query.order_by(runs.c.fire_time.desc()).limit(limit))


# The first tenant, and from each the next: two look-ups a tenant. An index by campaign id would be the largest of all,
# and each new campaign would pay for it.
def _tenants_of(column: Column[str]) -> CTE:
    first = select(func.min(column).label("tenant")).cte(f"tenants_of_{column.table.name}", recursive=True)
    following = select(func.min(column)).where(column > first.c.tenant).scalar_subquery()
    return first.union_all(select(following).where(first.c.tenant.is_not(None)))


_tenants = _tenants_of(campaigns.c.tenant)
_HAVE = (
    select(_tenants.c.tenant)
    .where(exists().where(campaigns.c.tenant == _tenants.c.tenant, campaigns.c.campaign_id == bindparam("of_campaign")))
    .limit(bindparam("most"))
)


_STORED = [
    select(found.c.tenant).where(found.c.tenant.is_not(None)) for found in (_tenants, _tenants_of(runs.c.tenant))
]


def stored_tenants(connection: Connection) -> list[str]:
    """Return the tenants that have campaigns or runs, sorted."""
    return sorted({tenant for query in _STORED for tenant in connection.scalars(query)})


def find_campaign(connection: Connection, campaign_id: str, limit: int) -> list[str]:
    """Return the first tenants that have a campaign of this id."""
    return sorted(connection.scalars(_HAVE, {"of_campaign": campaign_id, "most": limit}))
