"""What campaigns of several tenants were not pushed for: their dead letters, and the failures of their last runs.

A platform can write what it likes into a reason, so that there is no index by reason: the latest rows are grouped, a
bounded number of them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from adsyncd.model.campaign import PushState
from adsyncd.model.failure import SharedReason
from adsyncd.store.statements import CHUNK
from adsyncd.store.tables import dead_letters, runs, unpushed

MOST = 10_000  # rows that are grouped, in some ten milliseconds
_NAMED = 5  # tenants of a reason

_latest = (
    select(dead_letters.c.tenant, dead_letters.c.reason, dead_letters.c.dead_at.label("since"))
    .order_by(dead_letters.c.dead_at.desc(), dead_letters.c.tenant.desc(), dead_letters.c.campaign_id.desc())
    .limit(bindparam("most"))
    .subquery()
)
_LETTERS = select(
    _latest.c.reason, _latest.c.tenant, func.count().label("campaigns"), func.min(_latest.c.since).label("since")
).group_by(_latest.c.reason, _latest.c.tenant)


def reasons(connection: Connection, limit: int) -> list[SharedReason]:
    """Return the reasons of the latest dead letters, those of the most campaigns first."""
    return _shared(connection.execute(_LETTERS, {"most": MOST}), limit)


_FAILURES = (
    select(unpushed.c.reason, runs.c.tenant, func.count().label("campaigns"), func.min(unpushed.c.since).label("since"))
    .join(runs, runs.c.run_id == unpushed.c.run_id)
    .where(unpushed.c.run_id.in_(bindparam("run_ids", expanding=True)), unpushed.c.state == PushState.FAILED)
    .group_by(unpushed.c.reason, runs.c.tenant)
)


def of_runs(connection: Connection, run_ids: Sequence[str], limit: int) -> list[SharedReason]:
    """Return the reasons of campaigns that failed in these runs, those of the most campaigns first."""
    rows = [
        row
        for start in range(0, len(run_ids), CHUNK)
        for row in connection.execute(_FAILURES, {"run_ids": run_ids[start : start + CHUNK]})
    ]
    return _shared(rows, limit)


def _shared(rows: Iterable[Row[Any]], limit: int) -> list[SharedReason]:
    """Return what tenants share of their reasons, which are unique by tenant."""
    by_reason: dict[str | None, list[Row[Any]]] = {}
    for row in rows:
        by_reason.setdefault(row.reason, []).append(row)
    shared = [
        SharedReason(
            reason,
            campaigns=sum(row.campaigns for row in each),
            tenants=sorted(row.tenant for row in each)[:_NAMED],
            number=len(each),
            since=min(row.since for row in each),
        )
        for reason, each in by_reason.items()
    ]
    return sorted(shared, key=lambda one: (-one.campaigns, one.reason or ""))[:limit]
