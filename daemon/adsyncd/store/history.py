"""Queries about runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, case, func, literal, or_, select

from adsyncd.model.day import Day, by_day
from adsyncd.model.run import Outcome, Run, Tally
from adsyncd.store import pruning
from adsyncd.store.beginning import tallies
from adsyncd.store.tables import campaigns
from adsyncd.store.tables import runs as table

RunKey = tuple[datetime, str]  # fire time, run id: the order of the list of all runs

_RECENT = 10  # runs that estimates are made from
RUN = select(*[table.c[field.name] for field in fields(Run)])


_OPEN = RUN.where(table.c.ended_at.is_(None))  # in no order: for that SQLite would read all runs by their fire times
_OPEN_OF_TENANTS = _OPEN.where(table.c.tenant.in_(bindparam("of_tenants", expanding=True)))


def open_runs(connection: Connection, tenant: str | None) -> list[Run]:
    """Return the runs that have not ended, of one tenant or of all, oldest first."""
    return _oldest_first(live(connection, _OPEN)) if tenant is None else open_runs_of(connection, [tenant])[0]


def open_runs_of(connection: Connection, tenants: Sequence[str]) -> list[list[Run]]:
    """Return the runs of each of these tenants that have not ended, oldest first."""
    found: dict[str, list[Run]] = {tenant: [] for tenant in tenants}
    for run in _oldest_first(live(connection, _OPEN_OF_TENANTS, {"of_tenants": [*found]})):
        found[run.tenant].append(run)
    return [found[tenant] for tenant in tenants]


def _oldest_first(found: Iterable[Run]) -> list[Run]:
    return sorted(found, key=attrgetter("fire_time"))


def runs(connection: Connection, tenant: str | None, limit: int, going: str | None) -> list[Run]:
    """Return the latest runs, of one tenant or of all, newest first."""
    query = RUN.order_by(table.c.fire_time.desc()).limit(limit)
    return live(connection, query if tenant is None else query.where(table.c.tenant == tenant), going=going)


def runs_after(connection: Connection, limit: int, after: RunKey | None) -> list[Run]:
    """Return the runs of all tenants, newest first; `after`: only those that follow this sort key."""
    query = RUN.order_by(table.c.fire_time.desc(), table.c.run_id.desc()).limit(limit)
    if after is not None:
        fire_time, run_id = after
        at = literal(fire_time, table.c.fire_time.type)
        query = query.where(table.c.fire_time <= at, or_(table.c.fire_time < at, table.c.run_id < run_id))
    return live(connection, query)


def run(connection: Connection, run_id: str, going: str | None) -> Run | None:
    """Return a run, or None if there is no such run."""
    return next(iter(live(connection, RUN.where(table.c.run_id == run_id), going=going)), None)


def runs_of(
    connection: Connection,
    tenant: str,
    since: datetime | None,
    before: datetime | None,
    outcome: Outcome | None,
    limit: int,
    going: str | None,
) -> list[Run]:
    """Return a tenant's runs with fire times from `since` on and before `before`, newest first."""
    query = RUN.where(table.c.tenant == tenant).order_by(table.c.fire_time.desc()).limit(limit)
    if since is not None:
        query = query.where(table.c.fire_time >= since)
    if before is not None:
        query = query.where(table.c.fire_time < before)
    if outcome is not None:
        query = query.where(table.c.outcome == outcome)
    return live(connection, query, going=going)


def days(connection: Connection, tenant: str) -> list[Day]:
    """Return a tenant's ended runs by day, oldest first: those that are kept, and those that were summed up."""
    ended = RUN.where(table.c.tenant == tenant, table.c.ended_at.is_not(None))
    kept = [Run(**row) for row in connection.execute(ended).mappings()]
    return by_day(pruning.of_tenant(connection, tenant), kept)


def last_fire_times(connection: Connection) -> dict[str, datetime]:
    """Return, by tenant, the latest fire time with a run."""
    query = select(table.c.tenant, func.max(table.c.fire_time).label("latest")).group_by(table.c.tenant)
    return {row.tenant: row.latest for row in connection.execute(query)}


def last_runs(connection: Connection) -> dict[str, Run]:
    """Return, by tenant, the latest run that ended.

    The index of fire times has each tenant's latest run; only if that is open, earlier ones are looked at.
    """
    newest = select(table.c.tenant, func.max(table.c.fire_time).label("fire_time")).group_by(table.c.tenant).subquery()
    query = RUN.join(newest, and_(newest.c.tenant == table.c.tenant, newest.c.fire_time == table.c.fire_time))
    latest = {row["tenant"]: Run(**row) for row in connection.execute(query).mappings()}
    still_open = [tenant for tenant, run in latest.items() if run.ended_at is None]
    return {tenant: run for tenant, run in latest.items() if run.ended_at} | last_runs_of(connection, still_open)


# Queries for each tenant are built once.
_LAST = (
    RUN.where(table.c.tenant == bindparam("of_tenant"), table.c.ended_at.is_not(None))
    .order_by(table.c.fire_time.desc())
    .limit(1)
)


def last_runs_of(connection: Connection, tenants: Iterable[str]) -> dict[str, Run]:
    """Return, by tenant, the latest run that ended, of these tenants."""
    found = {}
    for tenant in tenants:
        for row in connection.execute(_LAST, {"of_tenant": tenant}).mappings():
            found[tenant] = Run(**row)
    return found


_REGULAR = (
    RUN.where(table.c.tenant == bindparam("of_tenant"), table.c.outcome.in_([Outcome.SUCCEEDED, Outcome.PARTIAL]))
    .order_by(table.c.fire_time.desc())
    .limit(_RECENT)
)


def last_regular_runs(connection: Connection, tenants: Iterable[str]) -> dict[str, list[Run]]:
    """Return, by tenant, its last ten runs that succeeded or succeeded in part, newest first."""
    return {
        tenant: [Run(**row) for row in connection.execute(_REGULAR, {"of_tenant": tenant}).mappings()]
        for tenant in tenants
    }


_KEPT = select(func.count()).where(campaigns.c.tenant == bindparam("of_tenant"), campaigns.c.deleted_at.is_(None))
_ANNOUNCED = (
    select(case((table.c.complete, 0), else_=table.c.announced))  # after a complete listing the total is not needed
    .where(table.c.tenant == bindparam("of_tenant"), or_(table.c.complete, table.c.announced > 0))
    .order_by(table.c.fire_time.desc())
    .limit(1)
)


def campaign_counts(connection: Connection, tenants: Iterable[str]) -> dict[str, int]:
    """Return the number of campaigns by tenant: those in the store, or the total that an incomplete listing announced.

    Tenants that have never been listed are left out.
    """
    found: dict[str, int] = {}
    for tenant in tenants:
        kept = connection.scalars(_KEPT, {"of_tenant": tenant}).one()
        announced = connection.scalar(_ANNOUNCED, {"of_tenant": tenant})
        if kept or announced is not None:
            found[tenant] = max(kept, announced or 0)
    return found


_REQUESTS = (
    select(table.c.requests)
    .where(table.c.tenant == bindparam("of_tenant"), table.c.outcome == Outcome.SUCCEEDED)
    .order_by(table.c.fire_time.desc())
    .limit(_RECENT)
)


def recent_requests(connection: Connection, tenants: Iterable[str]) -> dict[str, list[int]]:
    """Return, by tenant, the number of requests of its last successful runs, newest first."""
    return {tenant: list(connection.scalars(_REQUESTS, {"of_tenant": tenant})) for tenant in tenants}


def live(
    connection: Connection,
    query: Select[Any],
    values: Mapping[str, object] | None = None,
    *,
    going: str | None = None,
) -> list[Run]:
    """Return the runs of `query`; open runs have their current counts, but for the run `going`.

    Counting takes as long as the run has campaigns, and the process that runs it has its counts at hand.
    """
    found = [Run(**row) for row in connection.execute(query, values).mappings()]
    still_open = [run.run_id for run in found if run.ended_at is None and run.run_id != going]
    counts = tallies(connection, still_open) if still_open else {}
    return [_with(counts[run.run_id], run) if run.run_id in counts else run for run in found]


def _with(counts: Tally, run: Run) -> Run:
    return replace(
        run,
        listed=counts.listed,
        pushed=counts.pushed,
        skipped=counts.skipped,
        stored=counts.stored,
        dead_lettered=counts.dead_lettered,
        failed=counts.failed,
        requests=counts.requests,
        retries=counts.retries,
    )
