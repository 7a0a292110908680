"""Schema versions and migrations: every start upgrades the schema, one process at a time."""

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from adsyncd.store.sql import lock_schema, misfit
from adsyncd.store.sqlite_file import back_up

_MIGRATIONS = "adsyncd.store:migrations"  # in the installed package


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Upgrade the schema to `revision`, within the connection's transaction.

    An SQLite file with an older schema is copied first, to a name with its revision. Raises StoreError if the copy
    fails, and Alembic's CommandError if a newer version made the schema.
    """
    lock_schema(connection)
    if (present := current(connection)) in known()[:-1]:
        back_up(connection, f"schema-{present}")
    command.upgrade(_config(connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Downgrade the schema to `revision` (`base`: no tables), within the connection's transaction."""
    lock_schema(connection)
    command.downgrade(_config(connection), revision)


def current(connection: Connection) -> str | None:
    """Return a database's revision, or None if it has no schema of adsyncd."""
    return MigrationContext.configure(connection).get_current_revision()


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


def known() -> list[str]:
    """Return all revisions, oldest first."""
    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in scripts.walk_revisions()][::-1]


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", _MIGRATIONS)
    return config
