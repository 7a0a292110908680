"""How runs begin, and where open ones resume."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from sqlalchemy import Connection, bindparam, case, exists, func, or_, select

from adsyncd.errors import RunEnded
from adsyncd.model.campaign import Push, PushState, idempotency_key
from adsyncd.model.run import ResumePoint, Run, Tally
from adsyncd.store.statements import execute_rows, fetch, upsert
from adsyncd.store.tables import campaigns, pushes, runs

_COUNTED = 1000  # campaigns that one write counts, in a few milliseconds
_OF_RUN = [field.name for field in fields(Run)]
_NEW = {"next_page": 1, "announced": 0, "complete": False}  # of a run that begins


def begin(connection: Connection, items: Sequence[Run]) -> list[ResumePoint | None]:
    """Record that runs begin, or resume open runs. Raises RunEnded if a run has ended.

    Returns None for a run whose `resume_point` takes long to read: one that is resumed, or of a large tenant.
    """
    start = upsert(connection, runs, ["trace_id", "span_id", "account_hash"])  # also of an ended run: raising undoes it
    execute_rows(connection, start, [{**record(run), **_NEW} for run in items])
    return [_start(connection, run) for run in items]


def record(run: Run) -> dict[str, Any]:
    """Return the columns of a run that it has itself. `asdict` takes ten times as long."""
    return {name: getattr(run, name) for name in _OF_RUN}


# Statements are built once: building one takes longer than executing it.
_LISTS = exists().where(pushes.c.run_id == runs.c.run_id)  # though its first page may be kept in part
_RUN = select(runs).where(runs.c.run_id == bindparam("run"))
_BEGUN = select(
    runs.c.ended_at.is_not(None).label("ended"),
    or_(runs.c.next_page > 1, runs.c.started_at != bindparam("started_at"), _LISTS).label("resumed"),
).where(runs.c.run_id == bindparam("run"))
_OF_TENANT = campaigns.c.tenant == bindparam("of_tenant")
_LIVE = select(func.count(), func.count(campaigns.c.missed_at)).where(_OF_TENANT, campaigns.c.deleted_at.is_(None))
_some = select(campaigns.c.missed_at, campaigns.c.deleted_at).where(_OF_TENANT).limit(_COUNTED + 1).subquery()
_is_live = _some.c.deleted_at.is_(None)
_SOME_LIVE = select(
    func.count(),
    func.count(case((_is_live, 1))),
    func.count(case((_is_live, _some.c.missed_at))),
)
_OWED = (
    select(pushes.c.campaign_id, pushes.c.failures, pushes.c.idempotency_key)
    .where(pushes.c.run_id == bindparam("run"), pushes.c.state == PushState.PENDING)
    .order_by(pushes.c.campaign_id)
)
_BY_STATE = (
    select(
        pushes.c.run_id,
        pushes.c.state,
        func.count().label("campaigns"),
        func.sum(pushes.c.attempts).label("requests"),
        func.sum(case((pushes.c.attempts > 1, pushes.c.attempts - 1), else_=0)).label("retries"),
    )
    .where(pushes.c.run_id.in_(bindparam("runs", expanding=True)))
    .group_by(pushes.c.run_id, pushes.c.state)
)
_PAGES = select(runs.c.run_id, (runs.c.next_page - 1).label("requests")).where(
    runs.c.run_id.in_(bindparam("runs", expanding=True)),
    runs.c.listed_at >= runs.c.started_at,  # a reused listing took no requests
)


def _start(connection: Connection, run: Run) -> ResumePoint | None:
    ((ended, resumed),) = fetch(connection, _BEGUN, {"run": run.run_id, "started_at": run.started_at})
    if ended:
        raise RunEnded(f"run {run.run_id} has ended already")
    if resumed:
        return None
    ((all_of_it, live, missed),) = fetch(connection, _SOME_LIVE, {"of_tenant": run.tenant})
    if all_of_it > _COUNTED:
        return None
    tally = Tally(skipped_ticks=run.skipped_ticks)
    return ResumePoint(run.started_at, 1, False, (), tally, late_s=run.late_s, live=live, missed=missed)  # noqa: FBT003 - nothing is listed


def resume_point(connection: Connection, run_id: str) -> ResumePoint:
    """Return where an open run starts or resumes."""
    row = connection.execute(_RUN, {"run": run_id}).one()
    owed = connection.execute(_OWED, {"run": run_id})
    point = ResumePoint(
        started_at=row.started_at,
        next_page=row.next_page,
        complete=row.complete,
        owed=tuple(
            Push(
                campaign_id, PushState.PENDING, failures=failures, key=_other_key(row.tenant, campaign_id, run_id, key)
            )
            for campaign_id, failures, key in owed
        ),
        tally=replace(tallies(connection, [run_id])[run_id], skipped_ticks=row.skipped_ticks),
        late_s=row.late_s,
        announced=row.announced,
        odd=row.error,
        source=row.source,
        cursor=row.cursor,
    )
    if row.next_page > 1:
        return point
    live, missed = connection.execute(_LIVE, {"of_tenant": row.tenant}).one()
    return replace(point, live=live, missed=missed)


def _other_key(tenant: str, campaign_id: str, run_id: str, key: str) -> str | None:
    """Return the key under which an earlier life of a run may have sent a push, if its tenant had another name then."""
    return None if key == idempotency_key(tenant, campaign_id, run_id) else key


def tallies(connection: Connection, run_ids: Sequence[str]) -> dict[str, Tally]:
    """Count the campaigns of open runs by state, and the requests that kept pages and settled pushes took.

    Other requests are unknown: failed requests for pages, those of pending pushes, and those that cost no attempt.
    """
    counts = {run_id: Tally() for run_id in run_ids}
    for row in connection.execute(_PAGES, {"runs": run_ids}):
        counts[row.run_id].requests = row.requests
    for row in connection.execute(_BY_STATE, {"runs": run_ids}):
        tally = counts[row.run_id]
        tally.listed += row.campaigns
        tally.requests += row.requests
        tally.retries += row.retries
        if row.state is not PushState.PENDING:
            setattr(tally, row.state, row.campaigns)
    return counts
