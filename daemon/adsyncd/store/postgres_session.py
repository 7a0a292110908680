"""Sessions of PostgreSQL: how they begin, whether a pooler shares them, and when they are dropped."""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

if TYPE_CHECKING:
    from psycopg import Connection as Session

# How long a write waits for another process's lock. In a shared session it is set for each transaction.
_PATIENCE = "lock_timeout = '10s'"

# Prefixes of the SQLSTATEs after which another session, perhaps of another server, may succeed: wrong state (25; 25006:
# the server is a standby now), the server ends, restarts or fails (08, 57P, 58, 55000, XX), prepared statements are
# missing or of another schema (26, 42P05, 0A000).
_UNFIT = ("25", "08", "57P", "58", "55000", "XX", "26", "42P05", "0A000")
_OF_OTHERS = ("26", "42P05")  # others prepare statements in this session


def configure(engine: Engine) -> None:
    """Set up each connection of an engine, and replace all connections after an error of an unfit one.

    Behind a pooler such as PgBouncer each transaction may be in another server's session, shared with others. The
    number of the server's process shows that: a pooler makes it up. Such a session gets no setting and no prepared
    statement; elsewhere these save the server up to half of its work.
    """
    pooled = False

    @event.listens_for(engine, "connect")
    def begin_session(session: "Session", entry: ConnectionPoolEntry) -> None:
        with session.cursor() as cursor:
            [process] = cursor.execute("SELECT pg_backend_pid()").fetchone() or [None]
            if pooled or process != session.info.backend_pid:
                session.prepare_threshold = None
                entry.info["pooled"] = True
            else:
                cursor.execute(f"SET {_PATIENCE}")
        session.commit()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        if "pooled" in connection.info:
            connection.exec_driver_sql(f"SET LOCAL {_PATIENCE}")

    @event.listens_for(engine, "handle_error")
    def leave_unfit_sessions(context: ExceptionContext) -> None:
        nonlocal pooled
        code = getattr(context.original_exception, "sqlstate", None) or ""
        pooled = pooled or code.startswith(_OF_OTHERS)
        if code.startswith(_UNFIT):
            context.is_disconnect = True  # which empties the pool


def misfit(connection: Connection) -> str | None:
    """Return why a database can't hold all text, with the fix, or None if it can."""
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding == "UTF8":
        return None
    fix = f"create another one: createdb -E UTF8 -T template0 {connection.engine.url.database}_utf8"
    return f"its encoding is {encoding}, which cannot store every campaign's name; {fix}"
