"""Indexes that lead to a tenant's open runs, and to the latest runs that did not succeed, however many are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_IS_OPEN = sa.text("ended_at IS NULL")
_UNSUCCESSFUL = sa.text("outcome <> 'succeeded'")


def upgrade() -> None:
    _index("runs_open", ["tenant", "fire_time"], _IS_OPEN, replaces=True)
    _index("runs_unsuccessful", ["outcome", "fire_time"], _UNSUCCESSFUL)


def downgrade() -> None:
    op.drop_index("runs_unsuccessful", "runs")
    _index("runs_open", ["run_id"], _IS_OPEN, replaces=True)


def _index(name: str, columns: list[str], where: sa.TextClause, *, replaces: bool = False) -> None:
    if replaces:
        op.drop_index(name, "runs")
    op.create_index(name, "runs", columns, sqlite_where=where, postgresql_where=where)
