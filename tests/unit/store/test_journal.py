import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from adsyncd.model.campaign import Push, PushState
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import journal, schema, sql
from support.records import NOON, page, run

STATES = [PushState.PUSHED, PushState.FAILED, PushState.DEAD_LETTERED]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = sql.engine(f"sqlite:///{tmp_path}/adsyncd.db", connections=1)
    with engine.begin() as begun:
        schema.upgrade(begun)
        yield begun
    engine.dispose()


def test_a_batch_of_outcomes_costs_a_handful_of_statements(connection: Connection) -> None:
    tenants = [run(f"t{number}") for number in range(100)]
    journal.begin(connection, tenants)
    kept = journal.keep(
        connection, [journal.Keep(each, page("c1", "c2", "c3", "c4", "c5"), PushPolicy.ALL, NOON) for each in tenants]
    )
    outcomes = [
        journal.Settle(each, Push(push.campaign_id, STATES[number % 3]), NOON)
        for each, owed in zip(tenants, kept, strict=True)
        for number, push in enumerate(owed)
    ]
    statements = []
    event.listen(connection, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    journal.settle(connection, outcomes)
    assert len(outcomes) == 500
    assert len(statements) == 4


def test_a_page_of_any_size_is_kept_whatever_a_statement_may_hold(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    ids = [f"c{number}" for number in range(1201)]
    journal.begin(connection, [run()])
    [first, again] = journal.keep(connection, [journal.Keep(run(), page(*ids), PushPolicy.ALL, NOON)] * 2)
    assert [push.campaign_id for push in first] == ids
    assert again == []
