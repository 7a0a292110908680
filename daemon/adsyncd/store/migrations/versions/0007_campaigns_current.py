"""The view `campaigns_current`, on which other programs rely: docs/data.md describes its columns.

A later migration that changes a column of `campaigns` or `dead_letters` drops the view first, and creates it again with
the same columns.
"""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
        CREATE VIEW campaigns_current AS
        SELECT campaigns.tenant, campaigns.campaign_id, campaigns.name, campaigns.status,
               campaigns.budget, campaigns.currency,
               campaigns.impressions, campaigns.clicks, campaigns.conversions,
               campaigns.created_at, campaigns.synced_at,
               campaigns.missed_at AS missing_since, dead_letters.dead_at AS dead_since,
               campaigns.payload
        FROM campaigns
        LEFT JOIN dead_letters
            ON dead_letters.tenant = campaigns.tenant AND dead_letters.campaign_id = campaigns.campaign_id
        WHERE campaigns.deleted_at IS NULL
        """
    )


def downgrade() -> None:
    op.execute("DROP VIEW campaigns_current")
