"""The schema's version: brought up to date at every start, by one process at a time."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from adsyncd.store.dialects import lock_schema

_MIGRATIONS = "adsyncd.store:migrations"  # found in the package, wherever that is installed


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema up to `revision`, within the connection's transaction.

    Raises Alembic's CommandError for a schema that this version does not know: a newer one made it.
    """
    lock_schema(connection)
    command.upgrade(_config(connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Take the schema down to `revision` (`base`: no tables), within the connection's transaction."""
    lock_schema(connection)
    command.downgrade(_config(connection), revision)


def _config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", _MIGRATIONS)
    return config
