"""The journal of runs: each function does one kind of write for many items, in a transaction of `writer`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Executable, Row, and_, bindparam, case, delete, exists, func, select, update

from adsyncd.errors import RunEnded
from adsyncd.model.campaign import Campaign, Page, Push, PushState, content_hash, idempotency_key
from adsyncd.model.run import ResumePoint, Run, Tally
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import listings
from adsyncd.store.sql import CHUNK, Insert, upsert
from adsyncd.store.tables import campaigns, dead_letters, pushes, runs

_LISTED = [field.name for field in fields(Campaign) if field.name != "id"]  # columns that a listing fills
_OF_PUSH = [field.name for field in fields(Push)]

PIECE = 100  # campaigns that one write keeps, in some ten milliseconds: other tenants' writes wait for it
_COUNTED = 1000  # campaigns that one write counts, in less


@dataclass(frozen=True, slots=True)
class Keep:
    """A page that a run listed, or its campaigns from `start` to `stop`, None for the last piece of it."""

    run: Run
    page: Page
    policy: PushPolicy
    now: datetime
    start: int = 0
    stop: int | None = None

    def pieces(self) -> list["Keep"]:
        """Return the writes that keep the page a piece at a time. Until the last one, the page counts as not kept."""
        *stops, _ = range(PIECE, PIECE + max(len(self.page.campaigns), 1), PIECE)
        return [replace(self, start=start, stop=stop) for start, stop in zip([0, *stops], [*stops, None], strict=True)]


@dataclass(frozen=True, slots=True)
class Settle:
    """The outcome of a push."""

    run: Run
    push: Push
    now: datetime


def begin(connection: Connection, items: Sequence[Run]) -> list[ResumePoint | None]:
    """Record that runs begin, or resume open runs. Raises RunEnded if a run has ended.

    Returns None for a run whose `resume_point` takes long to read: one that is resumed, or of a large tenant.
    """
    start = upsert(connection, runs, ["trace_id"])  # also of an ended run: raising undoes it
    connection.execute(start, [asdict(run) for run in items])
    return [_start(connection, run) for run in items]


# Statements are built once: building one takes longer than executing it.
_LISTS = exists().where(pushes.c.run_id == runs.c.run_id)  # though its first page may be kept in part
_RUN = select(runs, _LISTS.label("lists")).where(runs.c.run_id == bindparam("run"))
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
    select(pushes.c.campaign_id, pushes.c.failures)
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
    row = connection.execute(_RUN, {"run": run.run_id}).one()
    if row.ended_at:
        raise RunEnded(f"run {run.run_id} has ended already")
    if row.next_page > 1 or row.lists:
        return None
    all_of_it, live, missed = connection.execute(_SOME_LIVE, {"of_tenant": run.tenant}).one()
    if all_of_it > _COUNTED:
        return None
    return ResumePoint(row.started_at, 1, complete=False, owed=(), tally=Tally(), live=live, missed=missed)


def resume_point(connection: Connection, run_id: str) -> ResumePoint:
    """Return where an open run starts or resumes."""
    row = connection.execute(_RUN, {"run": run_id}).one()
    owed = connection.execute(_OWED, {"run": run_id})
    point = ResumePoint(
        started_at=row.started_at,
        next_page=row.next_page,
        complete=row.complete,
        owed=tuple(Push(push.campaign_id, PushState.PENDING, failures=push.failures) for push in owed),
        tally=tallies(connection, [run_id])[run_id],
        announced=row.announced,
        odd=row.error,
        source=row.source,
    )
    if row.next_page > 1:
        return point
    live, missed = connection.execute(_LIVE, {"of_tenant": row.tenant}).one()
    return replace(point, live=live, missed=missed)


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


_named = bindparam("named", type_=runs.c.announced.type)
_PROGRESS = (
    update(runs)
    .where(runs.c.run_id == bindparam("of_run"))
    .values(
        announced=case((runs.c.announced < _named, _named), else_=runs.c.announced),
        error=func.coalesce(runs.c.error, bindparam("odd", type_=runs.c.error.type)),
    )
)


def keep(connection: Connection, items: Sequence[Keep]) -> list[list[Push]]:
    """Keep parts of pages and the pushes that they add to their runs; return these pushes in the pages' order."""
    statement = upsert(connection, campaigns, [*_LISTED, "content_hash", "missed_at", "deleted_at"])
    return [_keep(connection, statement, item) for item in items]


def _keep(connection: Connection, statement: Insert, item: Keep) -> list[Push]:
    listed = list({campaign.id: campaign for campaign in item.page.campaigns[item.start : item.stop]}.values())
    new: list[Push] = []
    for start in range(0, len(listed), CHUNK):
        new += _keep_chunk(connection, statement, item, listed[start : start + CHUNK])
    if item.stop is not None:
        return new
    run_id = item.run.run_id
    progress: dict[str, Any] = {
        "of_run": run_id,
        "next_page": item.page.number + 1,
        "named": item.page.total or 0,
        "complete": not item.page.has_more,
        "odd": str(item.page.odd) or None,
    }
    if item.page.number == 1:
        progress |= {"source": item.page.source, "listed_at": item.page.listed_at or item.now}
    connection.execute(_PROGRESS, progress)
    if item.page.etag is not None and not item.page.odd.count:
        listings.remember(connection, item.run.tenant, item.page)
    return new


_KNOWN = (
    select(
        campaigns.c.campaign_id,
        campaigns.c.pushed_hash,
        campaigns.c.failures,
        dead_letters.c.content_hash.label("dead_hash"),
        pushes.c.run_id.is_not(None).label("owed"),
    )
    .select_from(
        campaigns.outerjoin(
            dead_letters,
            and_(dead_letters.c.tenant == campaigns.c.tenant, dead_letters.c.campaign_id == campaigns.c.campaign_id),
        ).outerjoin(pushes, and_(pushes.c.run_id == bindparam("run"), pushes.c.campaign_id == campaigns.c.campaign_id))
    )
    .where(campaigns.c.tenant == bindparam("tenant"), campaigns.c.campaign_id.in_(bindparam("ids", expanding=True)))
)


def _keep_chunk(connection: Connection, statement: Insert, item: Keep, listed: Sequence[Campaign]) -> list[Push]:
    tenant, run_id = item.run.tenant, item.run.run_id
    ids = [campaign.id for campaign in listed]
    known = {row.campaign_id: row for row in connection.execute(_KNOWN, {"run": run_id, "tenant": tenant, "ids": ids})}
    hashes = {campaign.id: content_hash(campaign) for campaign in listed}
    new = [
        _owed(campaign_id, known.get(campaign_id), hashes[campaign_id], item.policy)
        for campaign_id in ids
        if not (campaign_id in known and known[campaign_id].owed)
    ]
    connection.execute(
        statement,
        [
            {
                **{name: getattr(campaign, name) for name in _LISTED},
                "tenant": tenant,
                "campaign_id": campaign.id,
                "content_hash": hashes[campaign.id],
                "missed_at": None,
                "deleted_at": None,
            }
            for campaign in listed
        ],
    )
    _execute_many(
        connection,
        pushes.insert(),
        [
            {
                **{name: getattr(push, name) for name in _OF_PUSH},
                "run_id": run_id,
                "idempotency_key": idempotency_key(tenant, push.campaign_id, run_id),
                "content_hash": hashes[push.campaign_id],
                "owed_at": item.now,
                "settled_at": None if push.state is PushState.PENDING else item.now,
            }
            for push in new
        ],
    )
    revived = [row.campaign_id for row in known.values() if row.dead_hash not in {None, hashes[row.campaign_id]}]
    if revived:
        connection.execute(
            delete(dead_letters).where(dead_letters.c.tenant == tenant, dead_letters.c.campaign_id.in_(revived))
        )
    return new


def _owed(campaign_id: str, known: Row[Any] | None, content_hash: str, policy: PushPolicy) -> Push:
    """Decide the state in which a listed campaign enters its run."""
    if known is None:
        return Push(campaign_id, PushState.PENDING)
    if known.dead_hash == content_hash:
        return Push(campaign_id, PushState.DEAD_LETTERED)
    if policy is PushPolicy.CHANGED and known.pushed_hash == content_hash:
        return Push(campaign_id, PushState.SKIPPED)
    return Push(campaign_id, PushState.PENDING, failures=known.failures)


_THIS_PUSH = and_(pushes.c.run_id == bindparam("of_run"), pushes.c.campaign_id == bindparam("of_campaign"))
_ITS_CAMPAIGN = and_(campaigns.c.tenant == bindparam("of_tenant"), campaigns.c.campaign_id == bindparam("of_campaign"))
_SETTLED = update(pushes).where(_THIS_PUSH)
_LISTED_HASH = select(pushes.c.content_hash).where(_THIS_PUSH).scalar_subquery()
_PUSHED = update(campaigns).where(_ITS_CAMPAIGN).values(pushed_hash=_LISTED_HASH, failures=0)
# After a failure the platform's state is unknown: content that was pushed before is pushed again.
_FAILED = update(campaigns).where(_ITS_CAMPAIGN).values(pushed_hash=None)
_FROM_PUSH = ["run_id", "campaign_id", "idempotency_key", "content_hash", "owed_at"]
_FROM_OUTCOME = ["tenant", "reason", "attempts", "failures", "dead_at", "trace_id"]
_LETTER = select(
    *[pushes.c[name] for name in _FROM_PUSH],
    *[bindparam(f"its_{name}", type_=dead_letters.c[name].type) for name in _FROM_OUTCOME],
).where(_THIS_PUSH)


def settle(connection: Connection, items: Sequence[Settle]) -> list[None]:
    """Record outcomes of pushes, each with its campaign's row and its dead letter if it has one."""
    _execute_many(
        connection,
        _SETTLED,
        [
            {
                "of_run": item.run.run_id,
                "of_campaign": item.push.campaign_id,
                "state": item.push.state,
                "attempts": item.push.attempts,
                "error": item.push.error,
                "settled_at": item.now,
            }
            for item in items
        ],
    )
    _execute_many(
        connection,
        _PUSHED,
        [
            {
                "of_run": item.run.run_id,
                "of_tenant": item.run.tenant,
                "of_campaign": item.push.campaign_id,
                "synced_at": item.now,
            }
            for item in items
            if item.push.state is PushState.PUSHED
        ],
    )
    _execute_many(
        connection,
        _FAILED,
        [
            {
                "of_tenant": item.run.tenant,
                "of_campaign": item.push.campaign_id,
                # after a dead letter the count starts again
                "failures": 0 if item.push.state is PushState.DEAD_LETTERED else item.push.failures + 1,
            }
            for item in items
            if item.push.state in {PushState.FAILED, PushState.DEAD_LETTERED}
        ],
    )
    _execute_many(
        connection,
        upsert(connection, dead_letters, [*_FROM_PUSH, *_FROM_OUTCOME], _LETTER),
        [
            {
                "of_run": item.run.run_id,
                "of_campaign": item.push.campaign_id,
                "its_tenant": item.run.tenant,
                "its_reason": item.push.error,
                "its_attempts": item.push.attempts,
                "its_failures": item.push.failures + 1,
                "its_dead_at": item.now,
                "its_trace_id": item.run.trace_id,
            }
            for item in items
            if item.push.state is PushState.DEAD_LETTERED
        ],
    )
    return [None] * len(items)


def _execute_many(connection: Connection, statement: Executable, rows: Sequence[Mapping[str, object]]) -> None:
    if rows:
        connection.execute(statement, rows)
