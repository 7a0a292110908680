"""All that differs between SQLite and PostgreSQL, and their errors in plain words."""

import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, Engine, Select, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import KeyedColumnElement

from adsyncd.errors import StoreError

Insert = postgresql.Insert | sqlite.Insert
Columns = ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]

CHUNK = 500  # ids in one statement: databases limit its parameters
_ASK_AGAIN_S = 0.01  # for a lock that SQLite does not wait for
_FORMS = "write sqlite:////path/to/file or postgresql+psycopg://host:port/database"
_SECONDS = re.compile(r"\d{1,6}(\.\d+)?")

_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}
_INSERTS: dict[str, Callable[[Table], Insert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

# What the URL's query may say otherwise. No write waits for ever: `timeout` (s) is for SQLite's lock, the others for a
# server that does not answer (s) or fell silent (ms, s, s).
_DEFAULTS: dict[str, dict[str, str]] = {
    "sqlite": {"timeout": "10"},
    "postgresql": {
        "application_name": "adsyncd",
        "connect_timeout": "10",
        "tcp_user_timeout": "30000",
        "keepalives_idle": "10",
        "keepalives_interval": "5",
    },
}

# synchronous=FULL: a commit survives a power cut, too. NORMAL would survive only kill -9, and spare one fsync a
# transaction; as one transaction carries every write that waits, that is not worth forgetting what was pushed.
_ON_CONNECT = {
    "sqlite": ("PRAGMA synchronous=FULL",),
    "postgresql": ("SET lock_timeout = '10s'",),
}

# How the codes begin (SQLite's names, PostgreSQL's SQLSTATE) of errors that are the database's, whatever it was asked.
_CAUSES = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_BUSY": "another process keeps it locked",
    "SQLITE_LOCKED": "another process keeps it locked",
    "SQLITE_READONLY": "it is read-only",
    "SQLITE_CANTOPEN": "it can't be opened",
    "SQLITE_NOTADB": "it is not an SQLite database",
    "SQLITE_CORRUPT": "it is damaged",
    "SQLITE_IOERR": "its disk fails",
    "53100": "the disk is full",
    "53300": "its server has no connection left",
    "55P03": "another process keeps it locked",
    "25006": "it is read-only",
    "57P": "its server went away",
    "08": "its server went away",
    "3D000": "there is no such database",
    "28": "the user or password was refused",
    "42501": "the user lacks a right",
}


def engine(url: str, *, connections: int) -> Engine:
    """Return an engine for `url` with at most that many connections; it does not connect yet.

    Transactions started with the execution option `writes=True` take SQLite's write lock at their start: one that
    reads first could otherwise not go on to write after another process did.

    Raises StoreError for a URL that is neither SQLite's nor PostgreSQL's, and for a file that can't be made.
    """
    place = _url(url)
    system = place.get_backend_name()
    if system == "sqlite":
        _make_private(place)
    made = create_engine(
        place,
        connect_args={"isolation_level": None} if system == "sqlite" else {},  # we say BEGIN ourselves
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,
    )

    @event.listens_for(made, "connect")
    def configure(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        if system == "sqlite":
            _write_ahead(cursor, patience_s=float(str(place.query["timeout"])))
        for statement in _ON_CONNECT[system]:
            cursor.execute(statement)
        cursor.close()
        connection.commit()

    if system == "sqlite":

        @event.listens_for(made, "begin")
        def begin(connection: Connection) -> None:
            writes = connection.get_execution_options().get("writes")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return made


def upsert(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    source: Select[Any] | None = None,
    where: Callable[[Columns], ColumnElement[bool]] | None = None,
) -> Insert:
    """Return an INSERT that overwrites `columns` of the row that has its primary key already.

    It inserts the parameters that it is executed with or, given a `source`, what that selects, as `columns`. `where`
    says of the row that would have been inserted when that may overwrite the other one.
    """
    return _upsert(connection.dialect.name, table, tuple(columns), source, where)


@cache
def _upsert(
    system: str,
    table: Table,
    columns: tuple[str, ...],
    source: Select[Any] | None,
    where: Callable[[Columns], ColumnElement[bool]] | None,
) -> Insert:
    """Build each statement once: that takes longer than to execute it."""
    statement = _INSERTS[system](table)
    if source is not None:
        statement = statement.from_select(columns, source)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={name: statement.excluded[name] for name in columns if not table.c[name].primary_key},
        where=where and where(statement.excluded),
    )


def insert_missing(connection: Connection, table: Table) -> Insert:
    """Return an INSERT that leaves a row as it is that has its primary key already."""
    return _insert_missing(connection.dialect.name, table)


@cache
def _insert_missing(system: str, table: Table) -> Insert:
    return _INSERTS[system](table).on_conflict_do_nothing()


def writers_meet(connection: Connection) -> bool:
    """Whether others write at the same time, and wait for single rows. SQLite has one writer at a time."""
    return connection.dialect.name == "postgresql"


def lock_schema(connection: Connection) -> None:
    """Let no other process migrate before this transaction ends. SQLite's write lock does that already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('adsyncd schema'))"))


def file_of(url: str) -> Path | None:
    """Return the file of an SQLite database, or None for one of a server. Raises StoreError for any other URL."""
    place = _url(url)
    return Path(str(place.database)) if place.get_backend_name() == "sqlite" else None


def back_up(connection: Connection, label: str) -> None:
    """Copy a database's file to `FILE.LABEL`, as it was before the connection's transaction; nothing for a server's.

    The copy is whole or not there, and its owner's alone. One that has the name already gives way: what it was a copy
    of has become this database since. Raises StoreError.
    """
    if connection.dialect.name != "sqlite":
        return
    file = Path(str(connection.engine.url.database))
    copy = file.with_name(f"{file.name}.{label}")
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
        unfinished.replace(copy)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{file}: it can't be copied to {copy.name} before it is migrated: {error}") from error


def cause(error: Exception) -> str | None:
    """Return in plain words what is wrong with the database, or None where the fault is in what was asked of it."""
    if not isinstance(error, DBAPIError):
        return None
    code = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or ""
    for prefix, words in _CAUSES.items():
        if code.startswith(prefix):
            return words
    if isinstance(error, OperationalError | InterfaceError) or error.statement is None:  # none while it connects
        return str(error.orig).partition("\n")[0]  # a driver's own words; they hold no values of ours
    return None


def name(url: URL) -> str:
    """Return what to call the database in front of people: without user, password or options."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return URL.create("postgresql", host=url.host, port=url.port, database=url.database).render_as_string()


def store_error(url: URL, error: Exception) -> StoreError:
    """Return what to raise from `error`: the database's name, without user or password, and the cause."""
    if isinstance(error, StoreError):
        return type(error)(str(error))
    kind = type(error.orig if isinstance(error, DBAPIError) else error).__name__
    return StoreError(f"{name(url)}: {cause(error) or f'it refused what was asked of it ({kind})'}")


def _url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError(f"store.url is not a URL; {_FORMS}") from None  # it may quote a password
    system = parsed.get_backend_name()
    if system not in _DRIVERS:
        raise StoreError(f"store.url names {system}; {_FORMS}")
    if system == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise StoreError("store.url names no file; write sqlite:////path/to/file")
    place = parsed.set(drivername=_DRIVERS[system], query={**_DEFAULTS[system], **parsed.query})
    if system == "sqlite" and not (
        place.query.keys() == {"timeout"} and _SECONDS.fullmatch(str(place.query["timeout"]))
    ):
        raise StoreError("store.url has an option that SQLite's can't have; there is one, ?timeout=SECONDS")
    try:
        place.get_dialect()().create_connect_args(place)
    except ArgumentError:
        raise StoreError(f"store.url has a malformed option; {_FORMS}") from None
    return place


def _write_ahead(cursor: DBAPICursor, patience_s: float) -> None:
    """Let readers and the writer not wait for each other (WAL).

    A file that is not journaled so yet is changed over. SQLite waits for no lock while another process writes to such a
    file, which may be its first start: there we ask again.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() >= until:
                raise
            time.sleep(_ASK_AGAIN_S)  # as SQLite itself does where it waits; never on the event loop
        else:
            return


def _make_private(url: URL) -> None:
    """Make the file, for its owner alone to read; SQLite makes its side files with the same mode."""
    path = Path(str(url.database))
    try:
        path.touch(mode=0o600)
    except FileNotFoundError as error:
        raise StoreError(f"{path}: there is no directory {path.parent}; make it, or change store.url") from error
    except PermissionError as error:
        raise StoreError(f"{path}: this user may not write it; run this as the daemon's user") from error
    except OSError as error:
        raise StoreError(f"{path}: it can't be made or written: {error.strerror}") from error
