"""Permits of several windows and several processes, leases, what is known of a platform's counting, and pauses."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "permits_of_windows",
        sa.Column("platform", sa.String, primary_key=True),
        sa.Column("client_id", sa.String, primary_key=True),
        sa.Column("window_ms", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("free_at", sa.Double, nullable=False),
        sa.Column("boot_id", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
    )
    # What the version before had out has to cool all the same.
    op.execute(
        "INSERT INTO permits_of_windows (platform, client_id, window_ms, number, free_at, boot_id, owner) "
        "SELECT platform, client_id, CAST(ROUND(window_s * 1000) AS BIGINT), number, free_at, boot_id, '' FROM permits"
    )
    op.drop_table("permits")
    op.rename_table("permits_of_windows", "permits")
    op.create_table(
        "shapes",
        sa.Column("platform", sa.String, primary_key=True),
        sa.Column("client_id", sa.String, primary_key=True),
        sa.Column("quota", sa.String, nullable=False),
        sa.Column("shape", sa.String(16), nullable=False),
        sa.Column("strict", sa.Boolean, nullable=False),
        sa.Column("since", _INSTANT, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "pauses",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("since", _INSTANT, nullable=False),
    )


def downgrade() -> None:
    for table in ("pauses", "leases", "shapes"):
        op.drop_table(table)
    op.create_table(
        "permits_of_one_window",
        sa.Column("platform", sa.String, primary_key=True),
        sa.Column("client_id", sa.String, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("free_at", sa.Double, nullable=False),
        sa.Column("boot_id", sa.String, nullable=False),
        sa.Column("window_s", sa.Double, nullable=False),
    )
    # The longest window of a client id is the one that has out what any of them has.
    op.execute(
        "INSERT INTO permits_of_one_window (platform, client_id, number, free_at, boot_id, window_s) "
        "SELECT platform, client_id, number, free_at, boot_id, window_ms / 1000.0 FROM permits AS ours "
        "WHERE window_ms = (SELECT MAX(window_ms) FROM permits WHERE platform = ours.platform "
        "AND client_id = ours.client_id)"
    )
    op.drop_table("permits")
    op.rename_table("permits_of_one_window", "permits")
