import subprocess
import sys

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from opentelemetry.trace import NoOpTracer
from sqlalchemy import Engine, inspect, text

from adsyncd.errors import StoreError
from adsyncd.store import open_store, schema, tables
from support.records import HandClock

OPEN = """
import sys, anyio
from opentelemetry.trace import NoOpTracer
from adsyncd.clock import SystemClock
from adsyncd.store import open_store

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    async with open_store(sys.argv[1], clock=SystemClock(), tracer=NoOpTracer()) as store:
        assert await store.open_runs() == []

anyio.run(main)
"""


def test_migrations_make_the_tables_that_the_code_uses(engine: Engine) -> None:
    with engine.begin() as connection:
        schema.upgrade(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


@pytest.mark.parametrize("revision", schema.known()[:-1])
def test_what_an_older_schema_holds_is_there_after_the_migration_and_after_the_way_back(
    engine: Engine, revision: str
) -> None:
    old = {
        "campaigns": "'acme', 'c1', 'Größe', 'active', 100.5, 10, 2, 1, '2026-01-02 03:04:05.000000', '{}', 'h', 'h', "
        "NULL, 2, NULL",
        "runs": "'acme-1', 'acme', '2026-01-02 03:04:05.000000', '2026-01-02 03:04:05.000000', 't', NULL, NULL, "
        "1, 2, 3, 4, 5, 6, 7, 8, 9.5, 'no', 2, 45, false, 'ads', NULL",
        "pushes": "'acme-1', 'c1', 'key', 'h', 'pending', 0, NULL, 2, '2026-01-02 03:04:05.000000', NULL",
        "listing_pages": "'acme', 1, 'ads', '\"v1\"', '[]', 45, true",
    }

    def held() -> dict[str, list[dict[str, object]]]:
        with engine.connect() as connection:
            found = {table: connection.execute(text(f"SELECT * FROM {table}")).mappings() for table in old}
            return {table: [dict(row) for row in rows] for table, rows in found.items()}

    with engine.begin() as connection:
        schema.upgrade(connection, revision)
        for table, values in old.items():
            columns = [column["name"] for column in inspect(connection).get_columns(table)][: values.count(", ") + 1]
            row = values.replace(":", chr(92) + ":")
            connection.execute(text(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({row})"))
    before = held()
    with engine.begin() as connection:
        schema.upgrade(connection)
    after = held()
    for table, rows in before.items():
        assert [{key: row[key] for key in rows[0]} for row in after[table]] == rows
    [added], [ran] = after["campaigns"], after["runs"]
    assert [added["missed_at"], added["currency"], ran["note"], ran["listing"], ran["cursor"]] == [None] * 5
    assert (ran["stored"], ran["late_s"], ran["skipped_ticks"], ran["untried"], ran["waits"]) == (0, 0, 0, 0, "{}")
    assert ran["account_hash"] == ""
    with engine.begin() as connection:
        connection.execute(text("UPDATE campaigns SET budget = NULL, created_at = NULL"))
        schema.downgrade(connection, revision)
    assert held()["campaigns"][0].keys() == before["campaigns"][0].keys()
    assert held()["campaigns"][0]["budget"] == (0 if revision < "0003" else None)


def test_an_older_version_takes_stored_campaigns_for_skipped_ones(engine: Engine) -> None:
    instant = "'2026-01-02 03:04:05.000000'"
    runs = "run_id, tenant, fire_time, started_at, trace_id, listed, pushed, skipped, stored, dead_lettered, failed, "
    rows = {
        f"runs ({runs} requests, retries, refused, waited_s, next_page, announced, complete)": (
            f"'acme-1', 'acme', {instant}, {instant}, 't', 9, 0, 2, 7, 0, 0, 1, 0, 0, 0.5, 2, 9, true"
        ),
        "pushes (run_id, campaign_id, idempotency_key, content_hash, state, attempts, failures, owed_at)": (
            f"'acme-1', 'c1', '', 'h', 'stored', 0, 0, {instant}"
        ),
        "days (tenant, day, runs_succeeded, runs_partial, runs_failed, runs_abandoned, listed, pushed, skipped, "
        "stored, dead_lettered, failed, requests, retries, refused, waited_s, longest_s)": (
            "'acme', '2026-01-01', 1, 0, 0, 0, 9, 0, 2, 7, 0, 0, 1, 0, 0, 0.5, 1.5"
        ),
    }
    with engine.begin() as connection:
        schema.upgrade(connection)
        for place, values in rows.items():
            row = values.replace(":", chr(92) + ":")
            connection.execute(text(f"INSERT INTO {place} VALUES ({row})"))
        schema.downgrade(connection, "0004")
    with engine.connect() as connection:
        found = [connection.scalar(text(f"SELECT skipped FROM {table}")) for table in ("runs", "days")]
        assert found == [9, 9]
        assert connection.scalar(text("SELECT state FROM pushes")) == "skipped"


def test_migrations_go_down_to_nothing_and_up_again(engine: Engine) -> None:
    for _ in range(2):
        with engine.begin() as connection:
            schema.upgrade(connection)
        with engine.begin() as connection:
            schema.downgrade(connection, "base")
        assert inspect(engine).get_table_names() == ["alembic_version"]


def test_a_migration_that_fails_leaves_nothing_behind(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE pushes (in_the_way INTEGER)"))
    with pytest.raises(Exception, match="pushes"), engine.begin() as connection:
        schema.upgrade(connection)
    assert inspect(engine).get_table_names() == ["pushes"]


async def test_a_database_of_a_newer_version_is_refused(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        schema.upgrade(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="a newer adsyncd made it"):
        async with open_store(url, clock=HandClock(), tracer=NoOpTracer()):
            pass


async def test_a_start_waits_for_a_migration_that_is_under_way(engine: Engine, url: str) -> None:
    opened = anyio.Event()

    async def start() -> None:
        async with open_store(url, clock=HandClock(), tracer=NoOpTracer()):
            opened.set()

    async with anyio.create_task_group() as tasks:
        with engine.begin() as connection:
            schema.upgrade(connection)
            tasks.start_soon(start)
            await anyio.wait_all_tasks_blocked()
            assert not opened.is_set()
    assert opened.is_set()


def test_processes_that_start_at_once_migrate_once(url: str) -> None:
    command = [sys.executable, "-W", "error", "-c", OPEN, url]
    starting = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    for process in starting:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in starting:
        process.communicate(b"\n", timeout=60)
    assert [process.returncode for process in starting] == [0, 0]
