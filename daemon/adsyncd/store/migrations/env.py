"""What Alembic runs: migrations in the transaction that `schema` was given, so that all of them happen or none."""

from alembic import context
from sqlalchemy import Connection

from adsyncd.store.tables import metadata

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
