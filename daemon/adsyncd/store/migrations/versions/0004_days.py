"""Days of history: the runs of a tenant and day, summed up."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_SUMS = (
    *("runs_succeeded", "runs_partial", "runs_failed", "runs_abandoned"),
    *("listed", "pushed", "skipped", "dead_lettered", "failed", "requests", "retries", "refused"),
)


def upgrade() -> None:
    op.create_table(
        "days",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS),
        sa.Column("waited_s", sa.Double, nullable=False),
        sa.Column("longest_s", sa.Double, nullable=False),
        sa.Column("error", sa.Text),
    )


def downgrade() -> None:
    op.drop_table("days")
