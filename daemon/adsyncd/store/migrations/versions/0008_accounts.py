"""With which account and sign-in a run was made: those of an earlier one say nothing about a tenant."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("runs", sa.Column("account_hash", sa.String(16), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("runs", "account_hash")
