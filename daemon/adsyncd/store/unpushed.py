"""The campaigns that runs did not push, kept as long as their run.

While a run is open, its pushes say which they are. Its end removes the pushes, so the end copies these few: the latest
failures first, dead letters of earlier runs last. They are chosen by a reader before the end is written, since a run
may have a hundred thousand pushes and other writes wait for each write. No push of a run is settled between the two.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, case, delete, func, insert, or_, select

from adsyncd.model.campaign import PushState
from adsyncd.model.failure import MOST_UNPUSHED, Unpushed
from adsyncd.store.statements import execute_rows
from adsyncd.store.tables import campaigns, dead_letters, pushes, runs
from adsyncd.store.tables import unpushed as table

_FAILED = (PushState.FAILED, PushState.DEAD_LETTERED)
_KEPT = ("campaign_id", "state", "reason", "attempts", "since")

_of_run = bindparam("of_run", type_=table.c.run_id.type)
_skipped = pushes.c.idempotency_key == ""  # it was a dead letter before this run
_letter = and_(dead_letters.c.tenant == runs.c.tenant, dead_letters.c.campaign_id == pushes.c.campaign_id)
_settled_at = func.coalesce(pushes.c.settled_at, pushes.c.owed_at)


def _open(most: int) -> Select[Any]:
    return (
        select(
            pushes.c.campaign_id,
            pushes.c.state,
            case((_skipped, dead_letters.c.reason), else_=pushes.c.error).label("reason"),
            case((_skipped, func.coalesce(dead_letters.c.attempts, 0)), else_=pushes.c.attempts).label("attempts"),
            case((_skipped, func.coalesce(dead_letters.c.dead_at, _settled_at)), else_=_settled_at).label("since"),
            campaigns.c.name,
        )
        .select_from(pushes)
        .join(runs, runs.c.run_id == pushes.c.run_id)
        .outerjoin(dead_letters, _letter)
        .outerjoin(
            campaigns, and_(campaigns.c.tenant == runs.c.tenant, campaigns.c.campaign_id == pushes.c.campaign_id)
        )
        .where(pushes.c.run_id == _of_run, pushes.c.state.in_(_FAILED), runs.c.ended_at.is_(None))
        .order_by(_skipped, _settled_at.desc(), pushes.c.campaign_id)
        .limit(most)
    )


_OPEN = _open(MOST_UNPUSHED)


def of_open_run(connection: Connection, run_id: str) -> list[Unpushed]:
    """Return the campaigns that an open run has not pushed so far, as many as its end keeps."""
    return [Unpushed(**row) for row in connection.execute(_OPEN, {"of_run": run_id}).mappings()]


_INSERT = insert(table)


def keep(connection: Connection, run_id: str, lost: Sequence[Unpushed]) -> None:
    """Keep the campaigns that a run which ends did not push."""
    execute_rows(
        connection, _INSERT, [{"run_id": run_id, **{name: getattr(one, name) for name in _KEPT}} for one in lost]
    )


_after = bindparam("after", type_=table.c.campaign_id.type)
_since_after = select(table.c.since).where(table.c.run_id == _of_run, table.c.campaign_id == _after).scalar_subquery()
_ENDED = (
    select(*[table.c[name] for name in _KEPT], campaigns.c.name)
    .select_from(table)
    .join(runs, runs.c.run_id == table.c.run_id)
    .outerjoin(campaigns, and_(campaigns.c.tenant == runs.c.tenant, campaigns.c.campaign_id == table.c.campaign_id))
    .where(table.c.run_id == _of_run)
    .order_by(table.c.since.desc(), table.c.campaign_id)
    .limit(bindparam("most"))
)
_NEXT = _ENDED.where(
    or_(table.c.since < _since_after, and_(table.c.since == _since_after, table.c.campaign_id > _after))
)


def of_run(connection: Connection, run_id: str, limit: int, after: str | None) -> list[Unpushed]:
    """Return campaigns that a run did not push, the latest failure first, from the one after the id `after` on."""
    page = {"of_run": run_id, "most": limit}
    query, values = (_ENDED, page) if after is None else (_NEXT, {**page, "after": after})
    if found := [Unpushed(**row) for row in connection.execute(query, values).mappings()]:
        return found
    so_far = of_open_run(connection, run_id)
    start = next(
        (place for place, one in enumerate(so_far, 1) if one.campaign_id == after), 0 if after is None else None
    )
    return [] if start is None else so_far[start : start + limit]


_FORGOTTEN = delete(table).where(table.c.run_id.in_(bindparam("run_ids", expanding=True)))


def forget(connection: Connection, run_ids: Sequence[str]) -> None:
    """Remove what is kept of these runs, which are removed themselves."""
    if run_ids:
        connection.execute(_FORGOTTEN, {"run_ids": run_ids})
