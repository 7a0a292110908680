"""The end of runs: records it, marks missing and deleted campaigns, removes pushes and old runs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, delete, exists, func, select, update

from adsyncd.model.run import Listing, Run
from adsyncd.store.dead_letters import count
from adsyncd.store.tables import campaigns, dead_letters, pushes, runs

HISTORY = timedelta(days=30)  # three million runs of a thousand tenants that run every 15 minutes


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a run."""

    run: Run
    now: datetime


_SEEN = exists().where(pushes.c.run_id == bindparam("of_run"), pushes.c.campaign_id == campaigns.c.campaign_id)
_OF_TENANT = campaigns.c.tenant == bindparam("of_tenant")
_UNSEEN = and_(_OF_TENANT, campaigns.c.deleted_at.is_(None), ~_SEEN)
_MISSING = select(func.count(), func.count(campaigns.c.missed_at)).where(_UNSEEN)


def missing(connection: Connection, run: Run) -> tuple[int, int]:
    """Count the campaigns that a run did not list, and those that the last complete listing missed as well."""
    now, again = connection.execute(_MISSING, {"of_tenant": run.tenant, "of_run": run.run_id}).one()
    return now, again


_ENDED = update(runs).where(runs.c.run_id == bindparam("of_run"), runs.c.ended_at.is_(None))
_GONE = update(campaigns).where(_UNSEEN, campaigns.c.missed_at.is_not(None))
_MISSED = update(campaigns).where(_UNSEEN, campaigns.c.missed_at.is_(None))
_LETTERS_OF_GONE = delete(dead_letters).where(
    dead_letters.c.tenant == bindparam("of_tenant"),
    dead_letters.c.campaign_id.in_(
        select(campaigns.c.campaign_id).where(_OF_TENANT, campaigns.c.deleted_at.is_not(None))
    ),
)
_PUSHES = delete(pushes).where(pushes.c.run_id == bindparam("of_run"))
_OLD = delete(runs).where(
    runs.c.tenant == bindparam("of_tenant"),
    runs.c.fire_time < bindparam("before"),
    runs.c.ended_at.is_not(None),
)


def finish(connection: Connection, items: Sequence[Finish]) -> list[int]:
    """Record the end of runs, mark missing and deleted campaigns, remove pushes and runs older than `HISTORY`.

    Skips a run that has ended already: without its pushes the campaigns that it listed are unknown. Returns the number
    of dead letters of each run's tenant.
    """
    for item in items:
        _finish(connection, item)
    return [count(connection, item.run.tenant) for item in items]


def _finish(connection: Connection, item: Finish) -> None:
    run_id = item.run.run_id
    usable = item.run.listing in {Listing.COMPLETE, Listing.KEPT}
    record = asdict(item.run) | ({} if usable else {"listed_at": None})
    if not connection.execute(_ENDED, {"of_run": run_id, **record}).rowcount:
        return
    if item.run.listing is Listing.COMPLETE:
        connection.execute(_GONE, {"of_run": run_id, "of_tenant": item.run.tenant, "deleted_at": item.now})
        connection.execute(_LETTERS_OF_GONE, {"of_tenant": item.run.tenant})
    if item.run.listing in {Listing.COMPLETE, Listing.COLLAPSED}:
        connection.execute(_MISSED, {"of_run": run_id, "of_tenant": item.run.tenant, "missed_at": item.now})
    connection.execute(_PUSHES, {"of_run": run_id})
    connection.execute(_OLD, {"of_tenant": item.run.tenant, "before": item.run.fire_time - HISTORY})
