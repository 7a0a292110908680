"""The differences between SQLite and PostgreSQL, and their errors in plain words."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    NullPool,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from adsyncd.errors import StoreError
from adsyncd.host.shortage import lacking
from adsyncd.store import postgres_session, sqlite_file

Answer = TypeVar("Answer")

_LOOKS = 5  # attempts to read a file that changes
_FORMS = "write sqlite:////path/to/file or postgresql+psycopg://host:port/database"
_SECONDS = re.compile(r"\d{1,6}(\.\d+)?")

_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}

# Defaults that the URL's query may override. No write waits for ever: `timeout` (s) is for SQLite's lock, the others
# are for a server that does not accept (s) or no longer answers (ms, s, s).
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
_FIXED: dict[str, dict[str, str]] = {"sqlite": {}, "postgresql": {"client_encoding": "utf8"}}
_OF_WRITERS = {"target_session_attrs": "read-write"}  # of several hosts the primary, not a demoted one

FULL = "the disk is full"
LOCKED = "another process keeps it locked"
READ_ONLY = "it is read-only"
IO_ERROR = "its disk has an I/O error"
AWAY = "its server went away"
DAMAGED = f"it is damaged; see adsyncd check --store, then {sqlite_file.RESTORE}"

# By prefix of the code (SQLite's name, PostgreSQL's SQLSTATE): errors of the database, not of a single statement.
_CAUSES = {
    "SQLITE_FULL": FULL,
    "SQLITE_BUSY": LOCKED,
    "SQLITE_LOCKED": LOCKED,
    "SQLITE_READONLY": READ_ONLY,
    "SQLITE_CANTOPEN": "it can't be opened",
    "SQLITE_NOTADB": f"it is not an SQLite database; name the right file, or if it was one: {sqlite_file.RESTORE}",
    "SQLITE_CORRUPT": DAMAGED,
    "SQLITE_IOERR": IO_ERROR,
    "53100": FULL,
    "53300": "its server has no connection left",
    "55P03": LOCKED,
    "25006": READ_ONLY,
    "57P": AWAY,
    "0800": AWAY,  # 08P01 has a pooler's own message
    "3D000": "there is no such database",
    "28": "the user or password was refused",
    "42501": "the user lacks a right",
    "XX001": DAMAGED,
    "XX002": DAMAGED,
}

_WORDS = {  # for errors without a code of their own
    "session is read-only": READ_ONLY,  # at the door of a standby
    "statement pooling mode": "its pooler allows no transactions; set pool_mode = transaction",
}


def engine(url: str, *, connections: int) -> Engine:
    """Return an engine for `url` with at most that many connections; it does not connect yet.

    Transactions with the execution option `writes=True` take SQLite's write lock at their start: a transaction that
    reads first could not write after another process did.

    Raises StoreError if the URL is neither SQLite's nor PostgreSQL's, or the file can't be created.
    """
    place = _url(url)
    if embedded := place.get_backend_name() == "sqlite":
        sqlite_file.make_private(Path(str(place.database)))
    else:
        place = place.set(query={**_OF_WRITERS, **place.query})
    made = create_engine(place, pool_size=connections, max_overflow=0, pool_pre_ping=True, hide_parameters=True)
    if embedded:
        sqlite_file.configure(made, _patience_s(place))
    else:
        postgres_session.configure(made)
    return made


def reading_engine(url: str) -> Engine:
    """Return an engine for `look`: it writes nothing and creates no file; it does not connect yet.

    Raises StoreError if the URL is neither SQLite's nor PostgreSQL's.
    """
    place = _url(url)
    options = {"postgresql_readonly": True} if place.get_backend_name() == "postgresql" else {}
    made = create_engine(place, poolclass=NullPool, hide_parameters=True, execution_options=options)
    if place.get_backend_name() == "sqlite":

        @event.listens_for(made, "do_connect")
        def connect(_dialect: Dialect, record: ConnectionPoolEntry, *_arguments: object) -> sqlite3.Connection:
            connection, still = sqlite_file.connect_to_read(Path(str(place.database)), _patience_s(place))
            record.info["still"] = still
            return connection

        @event.listens_for(made, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    else:
        postgres_session.configure(made)
    return made


def look(engine: Engine, query: Callable[[Connection], Answer]) -> Answer:
    """Return the result of `query`, read in one transaction."""
    for _ in range(_LOOKS):
        with engine.connect() as connection:
            still = connection.info.get("still", lambda: True)
            try:
                answer = query(connection)
            except DBAPIError:  # a file that changed while it was read looks damaged
                if still():
                    raise
            else:
                if still():
                    return answer
    raise StoreError(f"{name(engine.url)}: it changed while it was read; try again")


def writers_meet(connection: Connection) -> bool:
    """Return whether several writers work at the same time and lock single rows; SQLite has one writer at a time."""
    return connection.dialect.name == "postgresql"


def misfit(connection: Connection) -> str | None:
    """Return why a database can't store all text, with the fix, or None if it can. SQLite always can."""
    return postgres_session.misfit(connection) if connection.dialect.name == "postgresql" else None


def lock_schema(connection: Connection) -> None:
    """Block migrations of other processes until this transaction ends. SQLite's write lock does that already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('adsyncd schema'))"))


def file_of(url: str) -> Path | None:
    """Return the file of an SQLite database, or None for PostgreSQL. Raises StoreError for any other URL."""
    place = _url(url)
    return Path(str(place.database)) if place.get_backend_name() == "sqlite" else None


def cause(error: Exception) -> str | None:
    """Return in plain words what is wrong with the database, or None if the statement is at fault."""
    if not isinstance(error, DBAPIError):
        return None
    for theirs, words in _WORDS.items():
        if theirs in str(error.orig):
            return words
    code = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or ""
    if code.startswith("SQLITE_CANTOPEN") and (lack := lacking()):
        return lack
    for prefix, words in _CAUSES.items():
        if code.startswith(prefix):
            return words
    if (
        isinstance(error, OperationalError | InterfaceError) or error.statement is None
    ):  # without a statement it was connecting
        return str(error.orig).partition("\n")[0]  # the driver's message, which holds no values of ours
    return None


def name(url: URL) -> str:
    """Return the database's name for people: without user, password and options."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    hosts = url.query.get("host", ())
    if hosts and not url.host:
        return f"postgresql://{hosts if isinstance(hosts, str) else ','.join(hosts)}/{url.database}"
    return URL.create("postgresql", host=url.host, port=url.port, database=url.database).render_as_string()


def store_error(url: URL, error: Exception) -> StoreError:
    """Return the StoreError for `error`: the database's name, without user and password, and the cause."""
    if isinstance(error, StoreError):
        return type(error)(str(error))
    kind = type(error.orig if isinstance(error, DBAPIError) else error).__name__
    return StoreError(f"{name(url)}: {cause(error) or f'it refused a statement ({kind})'}")


def _patience_s(place: URL) -> float:
    return float(str(place.query["timeout"]))


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
    place = parsed.set(drivername=_DRIVERS[system], query={**_DEFAULTS[system], **parsed.query, **_FIXED[system]})
    if system == "sqlite" and not (
        place.query.keys() == {"timeout"} and _SECONDS.fullmatch(str(place.query["timeout"]))
    ):
        raise StoreError("store.url has an option that SQLite does not have; the only one is ?timeout=SECONDS")
    try:
        place.get_dialect()().create_connect_args(place)
    except ArgumentError:
        raise StoreError(f"store.url has a malformed option; {_FORMS}") from None
    return place
