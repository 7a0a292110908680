"""Dead letters: queries, and how they are closed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, delete, func, literal, select, tuple_, update

from adsyncd.model.campaign import DeadLetter
from adsyncd.store.statements import fetch
from adsyncd.store.tables import campaigns
from adsyncd.store.tables import dead_letters as table


@dataclass(frozen=True, slots=True)
class ReplayWrite:
    """The result of pushing a dead letter again. `error`: the reason of a failure, None after a success."""

    letter: DeadLetter
    attempts: int
    error: str | None
    trace_id: str
    now: datetime


LetterKey = tuple[datetime, str, str]  # dead since, tenant, campaign: the order of the list
_ORDER = (table.c.dead_at, table.c.tenant, table.c.campaign_id)
_LETTERS = select(
    *[table.c[field.name] for field in fields(DeadLetter) if field.name != "payload"], campaigns.c.payload
).join_from(
    table, campaigns, and_(campaigns.c.tenant == table.c.tenant, campaigns.c.campaign_id == table.c.campaign_id)
)


def find(
    connection: Connection,
    tenant: str | None,
    campaign_id: str | None,
    reason: str | None,
    limit: int | None = None,
    after: LetterKey | None = None,
) -> list[DeadLetter]:
    """Return dead letters, oldest first, filtered by tenant, campaign and a text in the reason if given.

    `after`: only those that follow this sort key.
    """
    query = _LETTERS.order_by(*_ORDER).limit(limit)
    if after is not None:
        query = query.where(
            tuple_(*_ORDER) > tuple_(*(literal(part, column.type) for part, column in zip(after, _ORDER, strict=True)))
        )
    if tenant is not None:
        query = query.where(table.c.tenant == tenant)
    if campaign_id is not None:
        query = query.where(table.c.campaign_id == campaign_id)
    if reason is not None:
        query = query.where(table.c.reason.icontains(reason, autoescape=True))
    return [DeadLetter(**row) for row in connection.execute(query).mappings()]


_COUNT = select(func.count()).where(table.c.tenant == bindparam("of_tenant"))


def count(connection: Connection, tenant: str) -> int:
    """Count a tenant's dead letters."""
    ((letters,),) = fetch(connection, _COUNT, {"of_tenant": tenant})
    return int(letters)


def count_all(connection: Connection, tenants: Sequence[str] | None = None) -> dict[str, int]:
    """Count the dead letters of each tenant that has any, of all tenants or of these."""
    query = select(table.c.tenant, func.count().label("letters")).group_by(table.c.tenant)
    if tenants is not None:
        query = query.where(table.c.tenant.in_(tenants))
    return {row.tenant: row.letters for row in connection.execute(query)}


def oldest_of_all(connection: Connection) -> dict[str, tuple[int, datetime]]:
    """Return, by tenant, the number of its dead letters and since when the oldest of them is one."""
    query = select(table.c.tenant, func.count().label("letters"), func.min(table.c.dead_at).label("oldest"))
    return {row.tenant: (row.letters, row.oldest) for row in connection.execute(query.group_by(table.c.tenant))}


_THIS = and_(
    table.c.tenant == bindparam("of_tenant"),
    table.c.campaign_id == bindparam("of_campaign"),
    table.c.idempotency_key == bindparam("of_key"),  # after a close, another run may have written a new letter
)
_CLOSED = delete(table).where(_THIS)
_STAYED = update(table).where(_THIS).values(attempts=table.c.attempts + bindparam("more_attempts"))
# A letter that was closed in the meantime has no hash: which content was pushed is unknown then.
_PUSHED = (
    update(campaigns)
    .where(campaigns.c.tenant == bindparam("of_tenant"), campaigns.c.campaign_id == bindparam("of_campaign"))
    .values(pushed_hash=select(table.c.content_hash).where(_THIS).scalar_subquery(), failures=0)
)


def replay(connection: Connection, items: Sequence[ReplayWrite]) -> list[None]:
    """Record replays: a success closes the dead letter and updates its campaign's row, a failure keeps the letter."""
    for item in items:
        this = _key(item.letter)
        if item.error is None:
            connection.execute(_PUSHED, {**this, "synced_at": item.now})
            connection.execute(_CLOSED, this)
        else:
            news = {"reason": item.error, "replayed_at": item.now, "trace_id": item.trace_id}
            connection.execute(_STAYED, {**this, **news, "more_attempts": item.attempts})
    return [None] * len(items)


def discard(connection: Connection, items: Sequence[Sequence[DeadLetter]]) -> list[None]:
    """Close dead letters without a push."""
    for letters in items:
        if letters:
            connection.execute(_CLOSED, [_key(letter) for letter in letters])
    return [None] * len(items)


def _key(letter: DeadLetter) -> dict[str, str]:
    return {"of_tenant": letter.tenant, "of_campaign": letter.campaign_id, "of_key": letter.idempotency_key}
