"""Schema versions and migrations: every start upgrades the schema, one process at a time."""

from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, String, column, inspect, select, table
from sqlalchemy.exc import SQLAlchemyError

from adsyncd.errors import StoreError
from adsyncd.store.sql import lock_schema, look, misfit, name, store_error
from adsyncd.store.sqlite_file import back_up

_MIGRATIONS = Path(__file__).with_name("migrations")
_REVISION = select(column("version_num", String)).select_from(table("alembic_version"))  # Alembic's own table


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Upgrade the schema to `revision`, within the connection's transaction.

    An SQLite file with an older schema is copied first, to a name with its revision. Raises StoreError if the copy
    fails or a newer version made the schema.
    """
    lock_schema(connection)
    present, revisions = current(connection), known()
    if present == revisions[-1]:
        return
    if present in revisions:
        back_up(connection, f"schema-{present}")
    elif present is not None:
        place = name(connection.engine.url)
        raise StoreError(f"{place}: a newer adsyncd made it; run that one, or restore a backup")
    _migrate("upgrade", connection, revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Downgrade the schema to `revision` (`base`: no tables), within the connection's transaction."""
    lock_schema(connection)
    _migrate("downgrade", connection, revision)


def current(connection: Connection) -> str | None:
    """Return a database's revision, or None if it has no schema of adsyncd."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(_REVISION).scalar_one_or_none()


def unreadable(connection: Connection) -> str | None:
    """Return in words why this version can't read a database, or None if it can."""
    if (wrong := misfit(connection)) is not None:
        return wrong
    present, revisions = current(connection), known()
    if present == revisions[-1]:
        return None
    if present is None:
        return "it holds no schema of adsyncd; the daemon makes it at its first start, or store.url names the wrong one"
    if present in revisions:
        later = f"the daemon's next start migrates it to {revisions[-1]}; until then, use the version that made it"
        return f"an older adsyncd made its schema {present}; {later}"
    return f"a newer adsyncd made its schema {present}; use that one, or restore a backup"


def see_that_it_is_ours(engine: Engine) -> None:
    """Raise StoreError if this version can't read the database of a reading engine, or there is none. Blocks."""
    try:
        wrong = look(engine, unreadable)
    except SQLAlchemyError as error:
        raise store_error(engine.url, error) from error
    if wrong:
        raise StoreError(f"{name(engine.url)}: {wrong}")


def known() -> list[str]:
    """Return all revisions, oldest first. The name of a migration's file begins with its revision."""
    return sorted(file.name.partition("_")[0] for file in (_MIGRATIONS / "versions").glob("*.py"))


def _migrate(direction: Literal["upgrade", "downgrade"], connection: Connection, revision: str) -> None:
    from alembic import command  # noqa: PLC0415 - slow to import, and few starts have anything to migrate
    from alembic.config import Config  # noqa: PLC0415 - the same

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    getattr(command, direction)(config, revision)
