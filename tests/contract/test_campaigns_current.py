"""The view that other programs read, on both databases, as docs/data.md describes it and by the ways that it names."""

import re
import sqlite3
import uuid
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, text, update

from adsyncd.model.campaign import PushState
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, schema, sql, tables
from support import page as documented
from support.migrated import migrate, sqlite_file
from support.records import NOON, HandClock, campaign, page, rows, run, settle

DATA = documented.read("data.md")
VIEW = documented.rows(documented.section(DATA, "The view campaigns_current"), "column")
OLD = """
INSERT INTO campaigns (tenant, campaign_id, name, status, budget, currency, impressions, clicks, conversions,
                       created_at, payload, content_hash, failures, synced_at)
VALUES ('acme', 'c1', 'Größe', 'active', 100.5, 'EUR', 10, 2, 1, '2026-01-02 03{0}04{0}05.000000', '{{}}', 'h', 0,
        '2026-01-02 03{0}04{0}05.000000')
""".format(chr(92) + ":")


def definition(engine: Engine) -> object:
    query = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE name = 'campaigns_current'",
        "postgresql": "SELECT pg_get_viewdef('campaigns_current'\\:\\:regclass)",
    }[engine.dialect.name]
    with engine.connect() as connection:
        return connection.execute(text(query)).scalar_one()


def columns(engine: Engine) -> list[tuple[str, str]]:
    """Return the names and types of the view's columns, as its readers see those of a full row."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            query = (
                "SELECT column_name, data_type FROM information_schema.columns "
                "WHERE table_name = 'campaigns_current' ORDER BY ordinal_position"
            )
            return [(row.column_name, row.data_type) for row in connection.execute(text(query))]
        [full] = connection.execute(text("SELECT * FROM campaigns_current")).mappings()
        names = [str(name) for name in full]
        kinds = ", ".join(f"typeof({name})" for name in names)
        [found] = connection.execute(text(f"SELECT {kinds} FROM campaigns_current")).all()
        return list(zip(names, found, strict=True))


def test_a_fresh_database_and_one_of_the_schema_before_get_the_same_view_of_the_documented_types(
    engine: Engine,
) -> None:
    with engine.begin() as connection:
        schema.upgrade(connection)
    fresh = definition(engine)
    with engine.begin() as connection:
        schema.downgrade(connection, "0006")
        connection.execute(text(OLD))
    with engine.begin() as connection:
        schema.upgrade(connection)
        connection.execute(text("UPDATE campaigns SET missed_at = created_at"))
        connection.execute(
            text(
                "INSERT INTO dead_letters (tenant, campaign_id, run_id, idempotency_key, content_hash, attempts, "
                "failures, owed_at, dead_at, trace_id) SELECT tenant, campaign_id, 'r', 'k', 'h', 1, 1, created_at, "
                "created_at, 't' FROM campaigns"
            )
        )
    assert definition(engine) == fresh
    place = {"sqlite": 1, "postgresql": 2}[engine.dialect.name]
    assert columns(engine) == [(cells[0].strip("`"), cells[place]) for cells in VIEW]


async def shown(store: Store) -> dict[str, dict[str, Any]]:
    """Return the rows of the view by campaign."""
    query = text("SELECT * FROM campaigns_current ORDER BY tenant, campaign_id")
    found = await store._read(lambda connection: connection.execute(query).mappings().all())
    return {str(row["campaign_id"]): dict(row) for row in found}


def instant(value: object) -> datetime | None:
    """Return an instant as a reader of either database gets it."""
    if isinstance(value, str):
        return datetime.fromisoformat(f"{value}+00:00")
    assert value is None or isinstance(value, datetime)
    return value


async def test_the_view_has_what_is_current_and_what_became_of_it(
    store: Store, engine: Engine, clock: HandClock
) -> None:
    first = run()
    await store.begin(first)
    pushed, dead, _ = await store.keep_page(first, page(campaign("c1", "Spring"), "c2", "c3"), PushPolicy.ALL)
    clock.instant += timedelta(minutes=1)
    await settle(store, first, pushed, PushState.PUSHED, attempts=1)
    await settle(store, first, dead, PushState.DEAD_LETTERED, attempts=1, error="422")
    at = clock.instant
    with engine.begin() as connection:
        connection.execute(update(tables.campaigns).where(tables.campaigns.c.campaign_id == "c3").values(deleted_at=at))
    found = await shown(store)
    assert sorted(found) == ["c1", "c2"]
    [one, two] = found.values()
    assert [one[name] for name in ("tenant", "name", "status", "budget", "currency")] == [
        *("acme", "Spring", "active", 100.5, "EUR")
    ]
    assert [one[name] for name in ("impressions", "clicks", "conversions")] == [10, 2, 1]
    instants = [instant(one[name]) for name in ("created_at", "synced_at", "missing_since", "dead_since")]
    assert instants == [NOON, at, None, None]
    assert (instant(two["synced_at"]), instant(two["dead_since"])) == (None, at)
    assert len(await rows(store, tables.campaigns)) == 3


def test_a_reader_of_the_file_that_opens_it_read_only_sees_the_view_and_can_t_write(tmp_path: Path) -> None:
    url = sqlite_file(tmp_path)
    name = re.findall(r"`(file:[^`]+)`", DATA)[0].replace("/var/lib/adsyncd", str(tmp_path))
    writer = sql.engine(url, connections=1).execution_options(writes=True)
    with writer.begin() as connection:
        connection.execute(text(OLD))
    for _ in range(2):  # beside an open database, and after it was closed
        with closing(sqlite3.connect(name, uri=True)) as reader:
            assert reader.execute("SELECT campaign_id FROM campaigns_current").fetchall() == [("c1",)]
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("DELETE FROM campaigns")
        writer.dispose()


def test_the_role_of_the_page_may_read_the_view_and_nothing_else(database: URL) -> None:
    migrate(database)
    [statements] = documented.blocks(documented.section(DATA, "Read it safely"), "sql")
    role = f"reader_{uuid.uuid4().hex}"  # roles are those of the whole server
    owner = database.render_as_string(hide_password=False)
    with psycopg.connect(owner) as connection:
        connection.execute(statements.replace("adsyncd_reader", role))
    reader = database.set(username=role, password="change-me").render_as_string(hide_password=False)
    try:
        with psycopg.connect(reader) as connection:
            assert connection.execute("SELECT * FROM campaigns_current").fetchall() == []
        for statement in ("SELECT * FROM campaigns", "SELECT * FROM runs", "SELECT * FROM permits"):
            with psycopg.connect(reader) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        with psycopg.connect(reader) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("CREATE TABLE theirs (id integer)")
        with psycopg.connect(reader) as connection, pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            connection.execute("DELETE FROM campaigns_current")
    finally:
        with psycopg.connect(owner) as connection:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
