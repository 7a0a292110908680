from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, bindparam, insert, select, update
from sqlalchemy.exc import ProgrammingError

from adsyncd.model.run import Listing, Outcome
from adsyncd.store import schema
from adsyncd.store.statements import execute_rows, fetch, upsert
from adsyncd.store.tables import campaigns, runs
from support.records import NOON, run

NEW = {"next_page": 1, "announced": 0, "complete": True}
HERE = datetime(2026, 11, 25, 14, 30, tzinfo=timezone(timedelta(hours=2)))
OF_RUN = runs.c.run_id == bindparam("of_run")


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as begun:
        schema.upgrade(begun)
        yield begun


def begun(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - a column's
    return asdict(run()) | NEW | values


@pytest.mark.parametrize(
    ("column", "value", "read"),
    [
        ("ended_at", HERE, HERE.astimezone(UTC)),
        ("ended_at", None, None),
        ("outcome", Outcome.PARTIAL, Outcome.PARTIAL),
        ("listing", Listing.KEPT, Listing.KEPT),
        ("error", "it said \x00 and \ud800, 100 % of it", "it said \ufffd and \ufffd, 100 % of it"),
        ("waited_s", 0.1, 0.1),
        ("announced", 2**63 - 1, 2**63 - 1),
        ("complete", False, False),
    ],
)
def test_a_value_is_written_as_sqlalchemy_writes_it(
    connection: Connection, column: str, value: object, read: object
) -> None:
    assert execute_rows(connection, insert(runs), [begun(**{column: value})]) == 1
    assert connection.scalar(select(runs.c[column])) == read
    assert connection.execute(select(runs).where(runs.c[column].is_not_distinct_from(value))).one()


def test_the_values_of_a_statement_itself_are_in_it(connection: Connection) -> None:
    execute_rows(connection, insert(runs), [begun()])
    ended = update(runs).where(OF_RUN, runs.c.outcome.is_(None)).values(outcome=Outcome.FAILED, note=None, listed=7)
    assert execute_rows(connection, ended, [{"of_run": run().run_id, "ended_at": NOON}]) == 1
    failed = select(runs.c.listed).where(OF_RUN, runs.c.outcome == Outcome.FAILED, runs.c.ended_at == bindparam("at"))
    assert fetch(connection, failed, {"of_run": run().run_id, "at": NOON.astimezone(HERE.tzinfo)}) == [(7,)]
    assert fetch(connection, failed, {"of_run": run().run_id, "at": HERE}) == []


def test_rows_are_counted_and_may_be_none(connection: Connection) -> None:
    rows = [begun(run_id=f"r{number}", fire_time=NOON + timedelta(minutes=number)) for number in range(3)]
    assert execute_rows(connection, insert(runs), rows) == 3
    assert execute_rows(connection, upsert(connection, runs, ["trace_id"]), rows) == 3
    assert execute_rows(connection, update(runs).where(OF_RUN), []) == 0
    gone = update(runs).where(OF_RUN).values(next_page=2)
    assert execute_rows(connection, gone, [{"of_run": "r1"}, {"of_run": "r9"}]) == 1


def test_a_column_with_a_default_needs_a_value(connection: Connection) -> None:
    campaign = {"tenant": "acme", "campaign_id": "c1", "payload": "{}", "content_hash": "0"}
    with pytest.raises((KeyError, ProgrammingError), match="failures"):
        execute_rows(connection, insert(campaigns), [campaign])
