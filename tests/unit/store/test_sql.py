import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from adsyncd.errors import StoreError
from adsyncd.store import sql, sqlite_file
from support.descriptors import exhausted

SECRET = "postgresql://sync:canary-7f3a@db.internal:5433/adsyncd?sslmode=require"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = sql.engine(f"sqlite:///{tmp_path}/adsyncd.db", connections=2)
    yield made
    made.dispose()


def test_only_the_owner_can_read_what_sqlite_keeps(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"adsyncd.db": 0o600, "adsyncd.db-wal": 0o600, "adsyncd.db-shm": 0o600}


def test_sqlite_is_durable_and_lets_readers_read_while_it_writes(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 10_000


def test_a_writing_transaction_holds_sqlite_s_write_lock_from_its_start(engine: Engine, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "adsyncd.db", timeout=0)
    with engine.execution_options(writes=True).begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    with engine.begin():
        other.execute("BEGIN IMMEDIATE")
    other.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("canary-7f3a", "store.url is not a URL"),
        ("mysql://sync:canary-7f3a@db/adsyncd", "store.url names mysql"),
        ("sqlite://", "store.url names no file"),
        ("sqlite:///:memory:", "store.url names no file"),
        ("sqlite:////tmp/adsyncd.db?timeot=3", r"does not have; the only one is \?timeout=SECONDS"),
        ("sqlite:////tmp/adsyncd.db?timeout=canary-7f3a", r"does not have; the only one is \?timeout=SECONDS"),
        ("sqlite:////tmp/adsyncd.db?timeout=nan", r"does not have; the only one is \?timeout=SECONDS"),
        ("sqlite:////tmp/adsyncd.db?timeout=1&timeout=2", r"does not have; the only one is \?timeout=SECONDS"),
        ("postgresql://db:canary-7f3a/adsyncd", "store.url is not a URL"),
        ("postgresql:///adsyncd?host=one:canary-7f3a&host=two", "store.url has a malformed option"),
    ],
)
def test_a_url_of_no_use_is_refused_without_being_quoted(url: str, said: str) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        sql.engine(url, connections=1)
    assert "canary" not in f"{caught.value}{caught.value.__cause__}"


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_postgresql_is_spoken_by_one_driver_whatever_the_url_says(scheme: str) -> None:
    assert sql.engine(f"{scheme}://db/adsyncd", connections=1).url.drivername == "postgresql+psycopg"


def test_what_the_url_says_of_waiting_goes_before_the_defaults() -> None:
    query = sql.engine("postgresql://db/adsyncd?connect_timeout=3", connections=1).url.query
    assert (query["connect_timeout"], query["tcp_user_timeout"]) == ("3", "30000")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("connect_timeot=3", 'postgresql://127.0.0.1:1/adsyncd: invalid connection option "connect_timeot"'),
        ("connect_timeout=soon", "postgresql://127.0.0.1:1/adsyncd: bad value for connect_timeout: 'soon'"),
    ],
)
def test_an_option_that_postgresql_does_not_know_is_named(option: str, said: str) -> None:
    engine = sql.engine(f"postgresql://sync:canary-7f3a@127.0.0.1:1/adsyncd?{option}", connections=1)
    with pytest.raises(DBAPIError) as caught:
        engine.connect()
    assert str(sql.store_error(engine.url, caught.value)) == said


def test_a_database_is_named_without_user_and_password() -> None:
    assert sql.name(make_url(SECRET)) == "postgresql://db.internal:5433/adsyncd"
    assert sql.name(make_url("sqlite:////var/lib/adsyncd/adsyncd.db")) == "/var/lib/adsyncd/adsyncd.db"


def wrapped(error: Exception, kind: type[DBAPIError] = OperationalError) -> DBAPIError:
    return kind("SELECT", {}, error)


def sqlite_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("...")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (sqlite_error("SQLITE_FULL"), "the disk is full"),
        (sqlite_error("SQLITE_BUSY_SNAPSHOT"), "another process keeps it locked"),
        (sqlite_error("SQLITE_READONLY_DBMOVED"), "it is read-only"),
        (sqlite_error("SQLITE_IOERR_WRITE"), "its disk has an I/O error"),
        (psycopg.errors.DiskFull(), "the disk is full"),
        (psycopg.errors.AdminShutdown(), "its server went away"),
        (psycopg.errors.LockNotAvailable(), "another process keeps it locked"),
        (psycopg.errors.ReadOnlySqlTransaction(), "it is read-only"),
        (psycopg.errors.InsufficientPrivilege(), "the user lacks a right"),
        (psycopg.errors.DataCorrupted(), f"it is damaged; see adsyncd check --store, then {sqlite_file.RESTORE}"),
        (psycopg.errors.IndexCorrupted(), f"it is damaged; see adsyncd check --store, then {sqlite_file.RESTORE}"),
        (sqlite_error("SQLITE_CORRUPT_INDEX"), f"it is damaged; see adsyncd check --store, then {sqlite_file.RESTORE}"),
        (psycopg.OperationalError("connection refused\n\tIs the server running?"), "connection refused"),
    ],
)
def test_the_cause_is_told_in_plain_words(error: Exception, words: str) -> None:
    assert sql.cause(wrapped(error)) == words


def test_a_file_that_is_no_database_is_told_from_one(tmp_path: Path) -> None:
    Path(tmp_path, "adsyncd.db").write_text("client_id = 'acme'\n" * 100)
    engine = sql.engine(f"sqlite:///{tmp_path}/adsyncd.db", connections=1)
    with pytest.raises(DBAPIError) as caught:
        engine.connect()
    fix = f"name the right file, or if it was one: {sqlite_file.RESTORE}"
    assert sql.cause(caught.value) == f"it is not an SQLite database; {fix}"


@pytest.mark.parametrize(
    "error",
    [wrapped(psycopg.errors.UniqueViolation("Key (id)=(canary-7f3a)"), IntegrityError), OverflowError("canary-7f3a")],
)
def test_a_fault_of_the_write_is_not_the_database_s_and_shows_no_value(error: Exception) -> None:
    assert sql.cause(error) is None
    told = str(sql.store_error(make_url(SECRET), error))
    kind = "UniqueViolation" if isinstance(error, DBAPIError) else "OverflowError"
    assert told == f"postgresql://db.internal:5433/adsyncd: it refused a statement ({kind})"


def test_a_file_that_this_process_has_no_descriptor_for_is_not_blamed(engine: Engine) -> None:
    with exhausted(), pytest.raises(DBAPIError) as caught, engine.connect():
        pass
    with exhausted():
        words = sql.cause(caught.value)
    assert words is not None
    assert words.startswith("this process has no file descriptor left; raise LimitNOFILE=")
