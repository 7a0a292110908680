"""Listings that can be used again: whole ones, and pages that the platform may answer with 304 (Not Modified)."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from adsyncd.model.campaign import Campaign, Page, content_hash
from adsyncd.store.statements import CHUNK, upsert
from adsyncd.store.tables import campaigns, runs
from adsyncd.store.tables import listing_pages as pages


def whole(connection: Connection, tenant: str, source: str, since: datetime, now: datetime) -> Page | None:
    """Return the listing of a tenant's last run as one page, if it was a complete one of `source` after `since`."""
    last = connection.execute(
        select(runs.c.source, runs.c.listed_at)
        .where(runs.c.tenant == tenant, runs.c.ended_at.is_not(None))
        .order_by(runs.c.fire_time.desc())
        .limit(1)
    ).one_or_none()
    if last is None or last.source != source or last.listed_at is None or not since < last.listed_at <= now:
        return None
    rows = connection.execute(
        select(campaigns)
        .where(campaigns.c.tenant == tenant, campaigns.c.missed_at.is_(None), campaigns.c.deleted_at.is_(None))
        .order_by(campaigns.c.campaign_id)
    )
    kept = tuple(map(_campaign, rows))
    return Page(1, kept, len(kept), has_more=False, source=source, listed_at=last.listed_at)


_PAGE = select(pages).where(
    pages.c.tenant == bindparam("tenant"),
    pages.c.source == bindparam("source"),
    pages.c.number == bindparam("number"),
)
_CAMPAIGNS = select(campaigns).where(
    campaigns.c.tenant == bindparam("tenant"), campaigns.c.campaign_id.in_(bindparam("ids", expanding=True))
)


_WITH_PAGES = select(pages.c.tenant).where(pages.c.tenant.in_(bindparam("of_tenants", expanding=True))).distinct()


def have_pages(connection: Connection, tenants: Sequence[str]) -> list[bool]:
    """Return whether a page of each of these tenants has an ETag."""
    found = set(connection.scalars(_WITH_PAGES, {"of_tenants": [*set(tenants)]}))
    return [tenant in found for tenant in tenants]


def page(connection: Connection, tenant: str, source: str, number: int) -> Page | None:
    """Return a page of `source` as it was listed last, or None if it has no ETag.

    None as well if one of its campaigns was listed on another page with other content since.
    """
    kept = connection.execute(_PAGE, {"tenant": tenant, "source": source, "number": number}).one_or_none()
    if kept is None:
        return None
    ids = [campaign_id for campaign_id, _ in kept.campaigns]
    chunks = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
    rows = [row for chunk in chunks for row in connection.execute(_CAMPAIGNS, {"tenant": tenant, "ids": chunk})]
    known = {row.campaign_id: row for row in rows}
    if any(known[campaign_id].content_hash != hashed for campaign_id, hashed in kept.campaigns):
        return None
    listed = tuple(_campaign(known[campaign_id]) for campaign_id in ids)
    return Page(number, listed, kept.total, kept.has_more, source, kept.etag)


def remember(connection: Connection, tenant: str, page: Page) -> None:
    """Keep a page's ETag and what it listed."""
    connection.execute(
        upsert(connection, pages, ["source", "etag", "campaigns", "total", "has_more"]),
        {
            "tenant": tenant,
            "number": page.number,
            "source": page.source,
            "etag": page.etag,
            "campaigns": [[campaign.id, content_hash(campaign, page.volatile)] for campaign in page.campaigns],
            "total": page.total,
            "has_more": page.has_more,
        },
    )


def _campaign(row: Row[Any]) -> Campaign:
    return Campaign(row.campaign_id, **{field.name: getattr(row, field.name) for field in fields(Campaign)[1:]})
