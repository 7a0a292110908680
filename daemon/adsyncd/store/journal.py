"""What runs list and push. Each function does one kind of write for many items, in a transaction of `writer`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from functools import cache
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from adsyncd.model.campaign import Campaign, Page, Push, PushState, content_hash, idempotency_key
from adsyncd.model.run import Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import listings
from adsyncd.store.statements import Columns, Insert, Query, execute_rows, fetch, upsert
from adsyncd.store.tables import campaigns, dead_letters, pushes, runs

_LISTED = [field.name for field in fields(Campaign) if field.name != "id"]  # columns that a listing fills
_OF_PUSH = [field.name for field in fields(Push) if field.name != "key"]

PIECE = 50  # campaigns that one write keeps, in a few milliseconds: other tenants' writes wait for it


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
    """The outcome of a push. `STORED`: the tenant pushes no more, and an earlier life of the run may have sent it."""

    run: Run
    push: Push
    now: datetime


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
    statement = upsert(connection, campaigns, _KEPT, where=_differs)
    return [_keep(connection, statement, item) for item in items]


def _keep(connection: Connection, statement: Insert, item: Keep) -> list[Push]:
    listed = list({campaign.id: campaign for campaign in item.page.campaigns[item.start : item.stop]}.values())
    new = _keep_campaigns(connection, statement, item, listed) if listed else []
    if item.stop is not None:
        return new
    run_id = item.run.run_id
    progress: dict[str, Any] = {
        "of_run": run_id,
        "next_page": item.page.number + 1,
        "named": item.page.total or 0,
        "complete": not item.page.has_more,
        "odd": str(item.page.odd) or None,
        "cursor": item.page.next,
    }
    if item.page.number == 1:
        progress |= {"source": item.page.source, "listed_at": item.page.listed_at or item.now}
    execute_rows(connection, _PROGRESS, [progress])
    if item.page.etag is not None and not item.page.odd.count:
        listings.remember(connection, item.run.tenant, item.page)
    return new


_KEPT = [*_LISTED, "content_hash", "missed_at", "deleted_at"]


def _differs(listed: Columns) -> ColumnElement[bool]:
    """Rows that are as they were are not written again: they are most of them, and writing takes a disk."""
    return or_(*[campaigns.c[name].is_distinct_from(listed[name]) for name in _KEPT])


class _Known(NamedTuple):
    """What is known of a listed campaign. `owed`: the run has it already."""

    campaign_id: str
    payload: str
    content_hash: str
    pushed_hash: str | None
    failures: int
    dead_hash: str | None
    owed: bool


@cache
def _known(count: int) -> Query:
    """Return the query for what is known of so many campaigns, whose ids are `id_0` and so on."""
    letter = and_(dead_letters.c.tenant == campaigns.c.tenant, dead_letters.c.campaign_id == campaigns.c.campaign_id)
    push = and_(pushes.c.run_id == bindparam("run"), pushes.c.campaign_id == campaigns.c.campaign_id)
    ids = [bindparam(f"id_{number}", type_=campaigns.c.campaign_id.type) for number in range(count)]
    return (
        select(
            campaigns.c.campaign_id,
            campaigns.c.payload,
            campaigns.c.content_hash,
            campaigns.c.pushed_hash,
            campaigns.c.failures,
            dead_letters.c.content_hash.label("dead_hash"),
            pushes.c.run_id.is_not(None).label("owed"),
        )
        .select_from(campaigns.outerjoin(dead_letters, letter).outerjoin(pushes, push))
        .where(campaigns.c.tenant == bindparam("tenant"), campaigns.c.campaign_id.in_(ids))
    )


def _look_up(connection: Connection, run: Run, ids: Sequence[str]) -> Iterable[_Known]:
    """Return what is known of some campaigns. The last id is repeated: there is one query for each power of two."""
    count = 1 << (len(ids) - 1).bit_length()
    named = {
        f"id_{number}": campaign_id for number, campaign_id in enumerate(islice(chain(ids, repeat(ids[-1])), count))
    }
    return map(_Known._make, fetch(connection, _known(count), {"run": run.run_id, "tenant": run.tenant, **named}))


def _keep_campaigns(connection: Connection, statement: Insert, item: Keep, listed: Sequence[Campaign]) -> list[Push]:
    tenant, run_id = item.run.tenant, item.run.run_id
    known = {row.campaign_id: row for row in _look_up(connection, item.run, [campaign.id for campaign in listed])}
    hashes = {campaign.id: _hash(campaign, known.get(campaign.id), item.page.volatile) for campaign in listed}
    new = [
        _owed(campaign.id, known.get(campaign.id), hashes[campaign.id], item.policy)
        for campaign in listed
        if not (campaign.id in known and known[campaign.id].owed)
    ]
    execute_rows(
        connection,
        statement,
        [
            {
                **{name: getattr(campaign, name) for name in _LISTED},
                "tenant": tenant,
                "campaign_id": campaign.id,
                "content_hash": hashes[campaign.id],
                "failures": 0,
                "missed_at": None,
                "deleted_at": None,
            }
            for campaign in listed
        ],
    )
    execute_rows(
        connection,
        _PUSH,
        [
            {
                **{name: getattr(push, name) for name in _OF_PUSH},
                "run_id": run_id,
                "idempotency_key": idempotency_key(tenant, push.campaign_id, run_id) if _is_owed(push) else "",
                "content_hash": hashes[push.campaign_id],
                "owed_at": item.now,
                "settled_at": None if _is_owed(push) else item.now,
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


def _is_owed(push: Push) -> bool:
    return push.state is PushState.PENDING


def _hash(campaign: Campaign, known: _Known | None, volatile: tuple[str, ...]) -> str:
    """Return a campaign's content hash; the known one of the same payload, since hashing takes longer than looking."""
    return known.content_hash if known and known.payload == campaign.payload else content_hash(campaign, volatile)


def _owed(campaign_id: str, known: _Known | None, content_hash: str, policy: PushPolicy) -> Push:
    """Decide the state in which a listed campaign enters its run."""
    if policy is PushPolicy.NONE:
        return Push(campaign_id, PushState.STORED)  # a dead letter of a time when it was pushed stays as it is
    if known is None:
        return Push(campaign_id, PushState.PENDING)
    if known.dead_hash == content_hash:
        return Push(campaign_id, PushState.DEAD_LETTERED)
    if policy is PushPolicy.CHANGED and known.pushed_hash == content_hash:
        return Push(campaign_id, PushState.SKIPPED)
    return Push(campaign_id, PushState.PENDING, failures=known.failures)


_PUSH = insert(pushes)
_THIS_PUSH = and_(pushes.c.run_id == bindparam("of_run"), pushes.c.campaign_id == bindparam("of_campaign"))
_ITS_CAMPAIGN = and_(campaigns.c.tenant == bindparam("of_tenant"), campaigns.c.campaign_id == bindparam("of_campaign"))
_SETTLED = update(pushes).where(_THIS_PUSH)
_LISTED_HASH = select(pushes.c.content_hash).where(_THIS_PUSH).scalar_subquery()
_PUSHED = update(campaigns).where(_ITS_CAMPAIGN).values(pushed_hash=_LISTED_HASH, failures=0)
# The platform's state is unknown after a failure: content that was pushed before is pushed again.
_NOT_PUSHED = update(campaigns).where(_ITS_CAMPAIGN).values(pushed_hash=None)
_FROM_PUSH = ["run_id", "campaign_id", "idempotency_key", "content_hash", "owed_at"]
_FROM_OUTCOME = ["tenant", "reason", "attempts", "failures", "dead_at", "trace_id"]
_LETTER = select(
    *[pushes.c[name] for name in _FROM_PUSH],
    *[bindparam(f"its_{name}", type_=dead_letters.c[name].type) for name in _FROM_OUTCOME],
).where(_THIS_PUSH)


def settle(connection: Connection, items: Sequence[Settle]) -> list[None]:
    """Record outcomes of pushes, each with its campaign's row and its dead letter if it has one."""
    execute_rows(
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
    execute_rows(
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
    execute_rows(
        connection,
        _NOT_PUSHED,
        [
            {
                "of_tenant": item.run.tenant,
                "of_campaign": item.push.campaign_id,
                "failures": _failures(item.push),
            }
            for item in items
            if item.push.state is not PushState.PUSHED
        ],
    )
    execute_rows(
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


def _failures(push: Push) -> int:
    """Return in how many runs in a row the campaign of a push that did not succeed has failed."""
    if push.state is PushState.DEAD_LETTERED:
        return 0  # after a dead letter the count starts again
    return push.failures + (push.state is PushState.FAILED)
