"""How late runs were and what they waited for, and the campaigns that ended runs did not push."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("runs", sa.Column("late_s", sa.Double, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("skipped_ticks", sa.Integer, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("waits", sa.Text, nullable=False, server_default="{}"))
    op.add_column("runs", sa.Column("span_id", sa.String(16), nullable=False, server_default=""))
    op.add_column("runs", sa.Column("untried", sa.Integer, nullable=False, server_default="0"))
    op.add_column("days", sa.Column("skipped_ticks", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "unpushed",
        sa.Column("run_id", sa.String, primary_key=True),
        sa.Column("campaign_id", sa.String, primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("runs_trace_id", "runs", ["trace_id"])
    op.create_index("dead_letters_dead_at", "dead_letters", ["dead_at", "tenant", "campaign_id"])


def downgrade() -> None:
    op.drop_index("dead_letters_dead_at", "dead_letters")
    op.drop_index("runs_trace_id", "runs")
    op.drop_table("unpushed")
    op.drop_column("days", "skipped_ticks")
    for name in ("untried", "span_id", "waits", "skipped_ticks", "late_s"):
        op.drop_column("runs", name)
