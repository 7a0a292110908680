"""The latest runs of all or of some tenants, of a time, with some outcomes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from heapq import heappush, heappushpop
from itertools import islice

from sqlalchemy import ColumnElement, Connection, bindparam, literal_column, or_, select

from adsyncd.model.run import Outcome, Run
from adsyncd.store.history import RUN, RunKey, live
from adsyncd.store.tables import runs as table

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
_PIECE = 500  # runs that one statement names, or that are fetched at once
_FEW = 10  # tenants, whose runs are read one tenant after the other to find those with an outcome
_NEWEST_FIRST = (table.c.fire_time.desc(), table.c.run_id.desc())


@dataclass(frozen=True, slots=True)
class RunSelection:
    """The runs that satisfy each of these conditions.

    `tenants`: they are of one of these; None: of any. `since` and `before`: their fire time is from one instant on, and
    before the other. `outcomes`: they ended with one of these, or are open (None); empty: any.
    """

    tenants: Sequence[str] | None = None
    since: datetime = EARLIEST
    before: datetime = LATEST
    outcomes: frozenset[Outcome | None] = frozenset()

    @property
    def narrowed(self) -> bool:
        """Whether there is a condition besides the tenants."""
        return replace(self, tenants=None) != RunSelection()


def latest(connection: Connection, selection: RunSelection, limit: int) -> list[Run]:
    """Return the latest of the selected runs, newest first; open runs have their current counts."""
    if selection.outcomes and (selection.tenants is None or len(selection.tenants) > _FEW):
        keys = _keys_by_outcome(connection, selection, limit)
    elif selection.tenants is None:
        times = (table.c.fire_time >= selection.since, table.c.fire_time < selection.before)
        return live(connection, RUN.where(*times).order_by(*_NEWEST_FIRST).limit(limit))
    else:
        keys = _keys(connection, selection, selection.tenants, limit)
    ids = [run_id for _, run_id in keys]
    found = list[Run]()
    for start in range(0, len(ids), _PIECE):
        query = RUN.where(table.c.run_id.in_(ids[start : start + _PIECE])).order_by(*_NEWEST_FIRST)
        found += live(connection, query)
    return found


def _keys(connection: Connection, selection: RunSelection, tenants: Sequence[str], limit: int) -> list[RunKey]:
    """Return the sort keys of the latest selected runs of these tenants, newest first.

    Each tenant has a query of its own, by the index of its fire times. Once there are enough runs, only later ones than
    the oldest of them are asked for.
    """
    query = (
        select(table.c.fire_time, table.c.run_id)
        .where(
            table.c.tenant == bindparam("of_tenant"),
            table.c.fire_time >= bindparam("since"),
            table.c.fire_time < bindparam("before"),
            *_outcomes(selection),
        )
        .order_by(table.c.fire_time.desc())
        .limit(limit)
    )
    newest, since = list[RunKey](), selection.since
    for tenant in tenants:
        times = {"of_tenant": tenant, "since": since, "before": selection.before}
        for fire_time, run_id in connection.execute(query, times):
            if len(newest) < limit:
                heappush(newest, (fire_time, run_id))
            else:
                heappushpop(newest, (fire_time, run_id))
        if len(newest) == limit:
            since = newest[0][0]
    return sorted(newest, reverse=True)


def _keys_by_outcome(connection: Connection, selection: RunSelection, limit: int) -> list[RunKey]:
    """Return the sort keys of the latest selected runs, newest first: those of each outcome, until there are enough.

    The index of unsuccessful runs leads to them, if the query has the index's own condition; successes are frequent.
    """
    tenants = None if selection.tenants is None else frozenset(selection.tenants)
    found = list[RunKey]()
    for outcome in selection.outcomes:
        query = select(table.c.fire_time, table.c.run_id, table.c.tenant)
        if outcome is None:  # few; SQLite would look for them among all runs of that time, or for the order
            query = query.where(table.c.ended_at.is_(None))
        else:
            times = (table.c.fire_time >= selection.since, table.c.fire_time < selection.before)
            query = query.where(table.c.outcome == outcome, *times).order_by(*_NEWEST_FIRST)
            if outcome is not Outcome.SUCCEEDED:
                query = query.where(table.c.outcome != literal_column("'succeeded'"))
            if tenants is None:
                query = query.limit(limit)
        with connection.execute(query, execution_options={"yield_per": _PIECE}) as rows:
            of_these = (
                (fire_time, run_id)
                for fire_time, run_id, tenant in rows
                if (tenants is None or tenant in tenants) and selection.since <= fire_time < selection.before
            )
            found += of_these if outcome is None else islice(of_these, limit)
    return sorted(found, reverse=True)[:limit]


def _outcomes(selection: RunSelection) -> list[ColumnElement[bool]]:
    if not selection.outcomes:
        return []
    ended = [outcome for outcome in selection.outcomes if outcome is not None]
    ways: list[ColumnElement[bool]] = [table.c.outcome.in_(ended)] if ended else []
    ways += [table.c.ended_at.is_(None)] if None in selection.outcomes else []
    return [or_(*ways)]
