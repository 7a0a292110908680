"""Sessions of PostgreSQL: how one begins, whose it is, and when it is not used again."""

from psycopg import Connection as Session
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

# A write waits for a lock of another process for so long. In a session of others it is said for each transaction.
_PATIENCE = "lock_timeout = '10s'"

# How the codes begin of errors after which another session may do better, maybe of another server: this one's state is
# wrong (25; 25006: its server is a standby by now), its server ends, restarts or fails (08, 57P, 58, 55000, XX), or its
# prepared statements are gone or of another schema (26, 42P05, 0A000).
_UNFIT = ("25", "08", "57P", "58", "55000", "XX", "26", "42P05", "0A000")
_OF_OTHERS = ("26", "42P05")  # others prepare statements here, too


def configure(engine: Engine) -> None:
    """Have all connections of an engine begin well, and all be made anew after one has proved unfit.

    Behind a pooler such as PgBouncer each transaction may be in another server's session, which others use, too. It is
    told by the number of the server's process, which a pooler makes up. Nothing is left in such a session then: no
    setting, and no prepared statement. Elsewhere those spare the server up to half of its work.
    """
    pooled = False

    @event.listens_for(engine, "connect")
    def begin_session(session: Session, entry: ConnectionPoolEntry) -> None:
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
    fix = f"make another one: createdb -E UTF8 -T template0 {connection.engine.url.database}_utf8"
    return f"its encoding is {encoding}, in which not every campaign's name can be written; {fix}"
