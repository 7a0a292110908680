"""A database in memory, on the event loop's thread, that reports its writes."""

import sqlite3
from collections.abc import Callable
from functools import cache

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import StaticPool

from adsyncd.store.tables import metadata

Tell = Callable[..., None]

_OF_A_RUN = (
    "run_id", "outcome", "listed", "pushed", "skipped", "stored", "dead_lettered", "failed", "requests", "retries",
    "error",
)  # fmt: skip

# Reported by triggers of the database, independently of the code under test.
_TOLD = {
    "begun": ("INSERT ON runs", "new.run_id, new.tenant"),
    "owed": ("INSERT ON pushes", "new.run_id, new.campaign_id, new.idempotency_key, new.state"),
    "settled": ("UPDATE OF state ON pushes", "new.run_id, new.campaign_id, new.state"),
    "ended": (
        "UPDATE OF ended_at ON runs WHEN old.ended_at IS NULL AND new.ended_at IS NOT NULL",
        ", ".join(f"new.{column}" for column in _OF_A_RUN),
    ),
    "marked_deleted": (
        "UPDATE OF deleted_at ON campaigns WHEN old.deleted_at IS NULL AND new.deleted_at IS NOT NULL",
        "new.tenant, new.campaign_id",
    ),
}


def memory_engine(tell: Tell | None = None) -> Engine:
    """Return an engine for a database in memory with all tables and one connection; `dispose()` empties it.

    `tell(what, *values)` is called for each change of runs, pushes and campaigns, within its transaction.
    """
    engine = create_engine(
        "sqlite://",
        poolclass=StaticPool,
        connect_args={"isolation_level": "IMMEDIATE"},  # one connection: no own BEGIN needed
        hide_parameters=True,
    )
    schema = ";\n".join([_tables(), *(_triggers() if tell else ())])

    @event.listens_for(engine, "connect")
    def lay_out(connection: DBAPIConnection, _record: object) -> None:
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - what pysqlite gives
        connection.create_function("tell", -1, tell)
        connection.executescript(schema)

    return engine


def dump(engine: Engine) -> str:
    """Return all that a database in memory holds, as SQL."""
    connection = engine.raw_connection().driver_connection
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - what pysqlite gives
    return "\n".join(connection.iterdump())


@cache
def _tables() -> str:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").scalars()
        return ";\n".join(made)


def _triggers() -> list[str]:
    return [
        f"CREATE TRIGGER tell_{what} AFTER {when.replace(' WHEN', ' FOR EACH ROW WHEN')} "
        f"BEGIN SELECT tell('{what}', {values}); END"
        for what, (when, values) in _TOLD.items()
    ]
