"""What is special about PostgreSQL: failovers, several hosts, poolers, encodings."""

from dataclasses import replace

import anyio
import psycopg
import pytest
from opentelemetry.trace import NoOpTracer
from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from adsyncd.errors import StoreError
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, open_reader, open_store, sql
from adsyncd.store.checkup import check_up
from support.postgres import Postgres, pooling
from support.records import NOON, HandClock, page, run


def written(place: URL) -> str:
    return place.render_as_string(hide_password=False)


async def sync(store: Store, tenant: str) -> None:
    await store.begin(run(tenant))
    for number in range(1, 8):  # more than it takes until a statement is prepared
        await store.keep_page(run(tenant), page("c1", "c2", number=number, has_more=True), PushPolicy.ALL)
    await store.finish(replace(run(tenant), ended_at=NOON))


def provoke(connection: Connection, trouble: str) -> None:
    connection.execute(text(trouble))
    connection.commit()
    connection.execute(text("CREATE TABLE t (x INT)"))


@pytest.mark.parametrize(
    "trouble",
    [
        "SET default_transaction_read_only = on",  # as a primary is that became a standby, and answers all the same
        "DO $$ BEGIN RAISE SQLSTATE '57P05'; END $$",
        "DO $$ BEGIN RAISE SQLSTATE '58030'; END $$",
        "DO $$ BEGIN RAISE SQLSTATE '25P03'; END $$",
    ],
)
async def test_after_a_failover_the_next_write_reaches_the_new_primary(database: URL, trouble: str) -> None:
    engine = sql.engine(written(database), connections=2)
    with engine.connect() as first, engine.connect() as second:
        old = {connection.scalar(text("SELECT pg_backend_pid()")) for connection in (first, second)}
        for connection in (first, second):
            connection.commit()
        with pytest.raises(DBAPIError):
            provoke(first, trouble)
    for _ in old:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS t (x INT)"))
            assert connection.scalar(text("SELECT pg_backend_pid()")) not in old
    engine.dispose()


async def test_a_server_that_takes_no_writes_is_left_for_the_next_host_and_read_by_readers(
    postgres: Postgres, database: URL
) -> None:
    async with open_store(written(database), clock=HandClock(), tracer=NoOpTracer()) as store:
        await sync(store, "acme")
    primary = f"{database.host}:{database.port}"
    hosts = f"postgresql://{database.username}@/{database.database}?host=127.0.0.1:1&host={primary}"
    async with open_store(hosts, clock=HandClock(), tracer=NoOpTracer()) as store:
        await sync(store, "globex")
    postgres.execute("ALTER DATABASE {} SET default_transaction_read_only = on", str(database.database))
    said = f"postgresql://127.0.0.1:1,{primary}/{database.database}: it is read-only"
    with pytest.raises(StoreError, match=f"^{said}$"):
        async with open_store(hosts, clock=HandClock(), tracer=NoOpTracer()):
            pass
    async with open_reader(hosts, clock=HandClock()) as reader:
        assert len(await reader.runs(None, 10)) == 2


async def test_behind_a_pooler_all_works_and_nothing_is_left_in_its_sessions(database: URL) -> None:
    with pooling(database) as pooled:
        async with open_store(written(pooled), clock=HandClock(), tracer=NoOpTracer()) as store:
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(sync, store, f"t{number}")
            async with open_reader(written(pooled), clock=HandClock()) as reader:
                assert len(await reader.runs(None, 100)) == 20
        with psycopg.connect(written(pooled).replace("+psycopg", ""), autocommit=True) as other:
            assert other.execute("SHOW lock_timeout").fetchone() == ("0",)
            assert other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


async def test_a_pooler_that_allows_no_transactions_is_refused_with_its_setting(database: URL) -> None:
    said = "its pooler allows no transactions; set pool_mode = transaction"
    with pooling(database, "statement") as pooled, pytest.raises(StoreError, match=said):
        async with open_store(written(pooled), clock=HandClock(), tracer=NoOpTracer()):
            pass


def test_a_write_waits_for_a_lock_for_a_while_with_and_without_a_pooler(database: URL) -> None:
    with pooling(database) as pooled:
        for place in (database, pooled):
            engine = sql.engine(written(place), connections=1)
            with engine.begin() as connection:
                assert connection.scalar(text("SHOW lock_timeout")) == "10s"
            engine.dispose()


async def test_a_pooler_that_was_not_told_is_told_by_its_first_error(database: URL) -> None:
    engine = sql.engine(written(database), connections=1)
    with engine.connect() as connection, pytest.raises(DBAPIError):
        connection.execute(text("DEALLOCATE theirs"))
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection.prepare_threshold is None  # type: ignore[union-attr]
    engine.dispose()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_that_is_not_utf_8_is_refused_with_the_command_that_makes_a_right_one(
    postgres: Postgres, encoding: str
) -> None:
    with postgres.database(encoding) as place:
        said = f"its encoding is {encoding}, .* createdb -E UTF8 -T template0 {place.database}_utf8"
        for opened in (
            open_store(written(place), clock=HandClock(), tracer=NoOpTracer()),
            open_reader(written(place), clock=HandClock()),
        ):
            with pytest.raises(StoreError, match=said):
                async with opened:
                    pass
        [problem] = check_up(written(place)).problems
        assert f"its encoding is {encoding}, " in str(problem)


def test_text_is_sent_as_utf_8_whatever_the_environment_says(database: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    engine = sql.engine(f"{written(database)}?client_encoding=latin1", connections=1)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW client_encoding")) == "UTF8"
    engine.dispose()
