"""Campaigns of which not every field can be read, how often listings missed them, and what runs say of listings."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_INSTANT = sa.DateTime(timezone=True)
_LISTED: dict[str, tuple[sa.types.TypeEngine[Any], str]] = {
    "name": (sa.Text(), "''"),
    "status": (sa.Text(), "''"),
    "budget": (sa.Double(), "0"),
    "impressions": (sa.BigInteger(), "0"),
    "clicks": (sa.BigInteger(), "0"),
    "conversions": (sa.BigInteger(), "0"),
    "created_at": (_INSTANT, "'1970-01-01 00:00:00.000000'"),
}


def upgrade() -> None:
    with op.batch_alter_table("campaigns") as campaigns:
        for name, (kind, _) in _LISTED.items():
            campaigns.alter_column(name, existing_type=kind, nullable=True)
        campaigns.add_column(sa.Column("missed_at", _INSTANT))
    with op.batch_alter_table("listing_pages") as pages:
        pages.alter_column("total", existing_type=sa.BigInteger(), nullable=True)
    op.add_column("runs", sa.Column("note", sa.Text))
    op.add_column("runs", sa.Column("listing", sa.String(16)))


def downgrade() -> None:
    op.drop_column("runs", "listing")
    op.drop_column("runs", "note")
    op.execute("DELETE FROM listing_pages WHERE total IS NULL")
    with op.batch_alter_table("listing_pages") as pages:
        pages.alter_column("total", existing_type=sa.BigInteger(), nullable=False)
    nothing = ", ".join(f"{name} = COALESCE({name}, {value})" for name, (_, value) in _LISTED.items())
    op.execute(f"UPDATE campaigns SET {nothing}")  # noqa: S608 - of our own words
    with op.batch_alter_table("campaigns") as campaigns:
        campaigns.drop_column("missed_at")
        for name, (kind, _) in _LISTED.items():
            campaigns.alter_column(name, existing_type=kind, nullable=False)
