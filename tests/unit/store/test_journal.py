import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update

from adsyncd.model.campaign import Campaign, Page, Push, PushState
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import beginning, journal, schema, sql
from adsyncd.store.tables import campaigns
from support.records import NOON, campaign, page, run

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
    beginning.begin(connection, tenants)
    pushes = journal.keep(
        connection, [journal.Keep(each, page("c1", "c2", "c3", "c4", "c5"), PushPolicy.ALL, NOON) for each in tenants]
    )
    outcomes = [
        journal.Settle(each, Push(push.campaign_id, STATES[number % 3]), NOON)
        for each, owed in zip(tenants, pushes, strict=True)
        for number, push in enumerate(owed)
    ]
    statements = set[str]()
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.set_trace_callback(lambda statement: statements.add(re.sub("'[^']*'|[0-9]+", "?", statement)))
    journal.settle(connection, outcomes)
    assert len(outcomes) == 500
    assert len(statements) == 4


def test_a_page_of_any_size_is_kept_whatever_a_statement_may_hold(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
    ids = [f"c{number}" for number in range(1201)]
    beginning.begin(connection, [run()])
    pieces = journal.Keep(run(), page(*ids), PushPolicy.ALL, NOON).pieces()
    first, again = journal.keep(connection, pieces), journal.keep(connection, pieces)
    assert [push.campaign_id for pushes in first for push in pushes] == ids
    assert not any(again)


CHANGED = {
    "statistics": replace(campaign("c2"), payload='{"id": "c2", "clicks": 7}'),
    "a value that is read anew": replace(campaign("c2"), budget=7.5),
    "a value that is gone": replace(campaign("c2"), name=None),
}


def kept(connection: Connection, listed: Page) -> int:
    """Keep a page in a run of its own, and return how many campaigns were written."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    of = run(number=driver.total_changes)
    beginning.begin(connection, [of])
    before = driver.total_changes
    [pushes] = journal.keep(connection, [journal.Keep(of, listed, PushPolicy.ALL, NOON)])
    return driver.total_changes - before - len(pushes) - 1  # the pushes' rows, and the run's


def test_a_campaign_that_is_listed_as_it_was_is_not_written_again(connection: Connection) -> None:
    assert kept(connection, page("c1", "c2", "c3")) == 3
    assert kept(connection, page("c1", "c2", "c3", "c4")) == 1


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED)
def test_a_campaign_that_is_listed_otherwise_is_written(connection: Connection, changed: Campaign) -> None:
    listed = page("c1", "c2")
    kept(connection, listed)
    assert kept(connection, replace(listed, campaigns=(listed.campaigns[0], changed))) == 1
    assert kept(connection, replace(listed, campaigns=(listed.campaigns[0], changed))) == 0


@pytest.mark.parametrize("mark", ["missed_at", "deleted_at"])
def test_a_campaign_that_is_listed_again_loses_its_marks(connection: Connection, mark: str) -> None:
    kept(connection, page("c1"))
    connection.execute(update(campaigns).values({mark: NOON}))
    assert kept(connection, page("c1")) == 1
    assert connection.scalar(select(campaigns.c[mark])) is None
