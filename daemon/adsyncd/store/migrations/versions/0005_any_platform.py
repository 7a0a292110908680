"""Campaigns with a currency, runs that only store them, and the cursor at which a listing resumes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("currency", sa.Text))
    op.add_column("runs", sa.Column("cursor", sa.Text))
    op.add_column("runs", sa.Column("stored", sa.Integer, nullable=False, server_default="0"))
    op.add_column("days", sa.Column("stored", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    """Count stored campaigns as skipped: neither is pushed, and the older version's counts must add up."""
    op.execute("UPDATE pushes SET state = 'skipped' WHERE state = 'stored'")
    op.execute("UPDATE runs SET skipped = skipped + stored")
    op.execute("UPDATE days SET skipped = skipped + stored")
    op.drop_column("days", "stored")
    op.drop_column("runs", "stored")
    op.drop_column("runs", "cursor")
    op.drop_column("campaigns", "currency")
