"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "campaigns",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("campaign_id", sa.String, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("budget", sa.Double, nullable=False),
        sa.Column("impressions", sa.BigInteger, nullable=False),
        sa.Column("clicks", sa.BigInteger, nullable=False),
        sa.Column("conversions", sa.BigInteger, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("pushed_hash", sa.String(64)),
        sa.Column("synced_at", _INSTANT),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("deleted_at", _INSTANT),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String, primary_key=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("fire_time", _INSTANT, nullable=False),
        sa.Column("started_at", _INSTANT, nullable=False),
        sa.Column("trace_id", sa.String(32), nullable=False),
        sa.Column("ended_at", _INSTANT),
        sa.Column("outcome", sa.String(16)),
        sa.Column("listed", sa.Integer, nullable=False),
        sa.Column("pushed", sa.Integer, nullable=False),
        sa.Column("skipped", sa.Integer, nullable=False),
        sa.Column("dead_lettered", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("retries", sa.Integer, nullable=False),
        sa.Column("refused", sa.Integer, nullable=False),
        sa.Column("waited_s", sa.Double, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("next_page", sa.Integer, nullable=False),
        sa.Column("announced", sa.BigInteger, nullable=False),
        sa.Column("complete", sa.Boolean, nullable=False),
        sa.Column("source", sa.Text),
        sa.Column("listed_at", _INSTANT),
        sa.UniqueConstraint("tenant", "fire_time", name="runs_tenant_fire_time"),
    )
    op.create_index("runs_fire_time", "runs", ["fire_time"])
    is_open = sa.text("ended_at IS NULL")
    op.create_index("runs_open", "runs", ["run_id"], sqlite_where=is_open, postgresql_where=is_open)
    op.create_table(
        "pushes",
        sa.Column("run_id", sa.String, primary_key=True),
        sa.Column("campaign_id", sa.String, primary_key=True),
        sa.Column("idempotency_key", sa.String(36), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("owed_at", _INSTANT, nullable=False),
        sa.Column("settled_at", _INSTANT),
    )
    op.create_table(
        "dead_letters",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("campaign_id", sa.String, primary_key=True),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("idempotency_key", sa.String(36), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("owed_at", _INSTANT, nullable=False),
        sa.Column("dead_at", _INSTANT, nullable=False),
        sa.Column("replayed_at", _INSTANT),
        sa.Column("trace_id", sa.String(32), nullable=False),
    )
    op.create_table(
        "listing_pages",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("campaigns", sa.JSON, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("has_more", sa.Boolean, nullable=False),
    )
    op.create_table(
        "alerts",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("since", _INSTANT, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("resolved_at", _INSTANT),
        sa.Column("told", sa.Boolean, nullable=False),
    )
    op.create_table(
        "permits",
        sa.Column("platform", sa.String, primary_key=True),
        sa.Column("client_id", sa.String, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("free_at", sa.Double, nullable=False),
        sa.Column("boot_id", sa.String, nullable=False),
        sa.Column("window_s", sa.Double, nullable=False),
    )


def downgrade() -> None:
    for table in ("permits", "alerts", "listing_pages", "dead_letters", "pushes", "runs", "campaigns"):
        op.drop_table(table)
