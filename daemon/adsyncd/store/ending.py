"""The end of runs: records it, marks missing and deleted campaigns, removes pushes.

A tenant may have a hundred thousand campaigns, and other tenants' writes wait for each transaction. So the campaigns of
a large tenant are marked piece by piece, each piece a write of its own, before the end is on record: a crash in between
leaves an open run, and marks that are true each by itself. With the end, the campaigns that were not pushed are kept:
see `adsyncd.store.unpushed`. The pushes are removed after the end is on record: those
that the last write does not remove belong to an ended run, which owes nothing, and `upkeep` removes them.

The ticks that a run skipped are on record before its end, those that another process skipped, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, case, delete, exists, func, select, update

from adsyncd.model.failure import Unpushed
from adsyncd.model.run import Listing, Run
from adsyncd.store import unpushed
from adsyncd.store.beginning import record
from adsyncd.store.dead_letters import count
from adsyncd.store.statements import execute_rows, fetch
from adsyncd.store.tables import campaigns, dead_letters, pushes, runs

_COUNTED = 1000  # campaigns among which a write counts the missing ones, in a few milliseconds
PIECE = 400  # rows that one write marks or removes, in a few milliseconds


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a run. The campaigns up to the id `after` are marked already.

    `misses`: False if its listing is known to miss no campaign, so that none is to be marked. `unpushed`: the campaigns
    that it did not push, as many as are kept.
    """

    run: Run
    now: datetime
    after: str = ""
    misses: bool = True
    unpushed: Sequence[Unpushed] = ()


_SEEN = exists().where(pushes.c.run_id == bindparam("of_run"), pushes.c.campaign_id == campaigns.c.campaign_id)
_OF_TENANT = campaigns.c.tenant == bindparam("of_tenant")
_UNSEEN = and_(_OF_TENANT, campaigns.c.deleted_at.is_(None), ~_SEEN)
_MISSING = select(func.count(), func.count(campaigns.c.missed_at)).where(_UNSEEN)


def missing(connection: Connection, run: Run) -> tuple[int, int]:
    """Count the campaigns that a run did not list, and those that the last complete listing missed as well."""
    now, again = connection.execute(_MISSING, {"of_tenant": run.tenant, "of_run": run.run_id}).one()
    return now, again


_some = (
    select(campaigns.c.campaign_id, campaigns.c.missed_at, campaigns.c.deleted_at)
    .where(_OF_TENANT)
    .limit(_COUNTED + 1)
    .subquery()
)
_is_missing = and_(
    _some.c.deleted_at.is_(None),
    ~exists().where(pushes.c.run_id == bindparam("of_run"), pushes.c.campaign_id == _some.c.campaign_id),
)
_SOME_MISSING = select(
    func.count(), func.count(case((_is_missing, 1))), func.count(case((_is_missing, _some.c.missed_at)))
)


def missing_of_few(connection: Connection, runs: Sequence[Run]) -> list[tuple[int, int] | None]:
    """Count what `missing` does, for several runs; None for a tenant with so many campaigns that it takes long."""
    counted = [fetch(connection, _SOME_MISSING, {"of_tenant": run.tenant, "of_run": run.run_id}) for run in runs]
    return [(now, again) if in_all <= _COUNTED else None for ((in_all, now, again),) in counted]


_OF_PIECE = and_(campaigns.c.campaign_id > bindparam("after"), campaigns.c.campaign_id <= bindparam("upto"))
_piece = (
    select(campaigns.c.campaign_id)
    .where(_OF_TENANT, campaigns.c.campaign_id > bindparam("after"))
    .order_by(campaigns.c.campaign_id)
    .limit(bindparam("most"))
    .subquery()
)
_UPTO = select(func.count(), func.max(_piece.c.campaign_id))
_STILL_OPEN = and_(runs.c.run_id == bindparam("of_run"), runs.c.ended_at.is_(None))
_OPEN = select(runs.c.run_id).where(_STILL_OPEN)
_skipped = bindparam("of_skipped_ticks", type_=runs.c.skipped_ticks.type)
_ENDED = (
    update(runs)
    .where(_STILL_OPEN)
    .values(skipped_ticks=case((runs.c.skipped_ticks > _skipped, runs.c.skipped_ticks), else_=_skipped))
)
_GONE = update(campaigns).where(_UNSEEN, _OF_PIECE, campaigns.c.missed_at.is_not(None))
_MISSED = update(campaigns).where(_UNSEEN, _OF_PIECE, campaigns.c.missed_at.is_(None))
_LETTERS_OF_GONE = delete(dead_letters).where(
    dead_letters.c.tenant == bindparam("of_tenant"),
    dead_letters.c.campaign_id.in_(
        select(campaigns.c.campaign_id).where(_OF_TENANT, _OF_PIECE, campaigns.c.deleted_at.is_not(None))
    ),
)
_OF_RUN = pushes.c.run_id == bindparam("of_run")
_SOME = select(pushes.c.campaign_id).where(_OF_RUN).limit(bindparam("most"))
_PUSHES = delete(pushes).where(_OF_RUN, pushes.c.campaign_id.in_(_SOME))


def finish(connection: Connection, items: Sequence[Finish]) -> list[int | Finish]:
    """Mark a piece of the missing and deleted campaigns of each run; with the last piece, record the run's end.

    Returns the number of dead letters of each run's tenant, or the item that goes on where this one stopped. Skips a
    run that has ended already: without its pushes the campaigns that it listed are unknown.
    """
    return [_finish(connection, item) or count(connection, item.run.tenant) for item in items]


def _finish(connection: Connection, item: Finish) -> Finish | None:
    of_run, of_tenant = {"of_run": item.run.run_id}, {"of_tenant": item.run.tenant}
    marks = item.misses and item.run.listing in {Listing.COMPLETE, Listing.COLLAPSED}
    usable = item.run.listing in {Listing.COMPLETE, Listing.KEPT}
    found, upto = 0, item.after
    if marks:
        found, upto = connection.execute(_UPTO, {**of_tenant, "after": item.after, "most": PIECE}).one()
    more = found == PIECE
    end = {**of_run, **record(item.run), **({} if usable else {"listed_at": None})}
    end["of_skipped_ticks"] = end.pop("skipped_ticks")
    if not (connection.scalar(_OPEN, of_run) if more else execute_rows(connection, _ENDED, [end])):
        return None
    piece = {**of_run, **of_tenant, "after": item.after, "upto": upto}
    if marks and item.run.listing is Listing.COMPLETE:
        connection.execute(_GONE, {**piece, "deleted_at": item.now})
        connection.execute(_LETTERS_OF_GONE, piece)
    if marks:
        connection.execute(_MISSED, {**piece, "missed_at": item.now})
    if more:
        return replace(item, after=upto)
    unpushed.keep(connection, item.run.run_id, item.unpushed)
    remove_pushes(connection, [item.run.run_id])
    return None


# The comparison is one that no index helps with, so SQLite reads the few open runs and not all of the tenant's.
_OPEN_OF_TENANT = select(runs.c.run_id).where(runs.c.ended_at.is_(None), runs.c.tenant + "" == bindparam("of_tenant"))
_SKIPPED = update(runs).where(runs.c.run_id.in_(_OPEN_OF_TENANT)).values(skipped_ticks=runs.c.skipped_ticks + 1)


def skip_tick(connection: Connection, tenants: Sequence[str]) -> list[None]:
    """Count a skipped tick for the open run of each of these tenants, if it has one."""
    execute_rows(connection, _SKIPPED, [{"of_tenant": tenant} for tenant in tenants])
    return [None] * len(tenants)


def remove_pushes(connection: Connection, run_ids: Sequence[str]) -> list[None]:
    """Remove a piece of the pushes of each of these runs."""
    for run_id in run_ids:
        execute_rows(connection, _PUSHES, [{"of_run": run_id, "most": PIECE}])
    return [None] * len(run_ids)
