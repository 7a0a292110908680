"""Saves requests of a listing: reuses one that is young enough, and pages that have not changed.

page 1 ─► is the last run's listing younger than list_cache? ── yes ─► all of it, as one page
                              │ no
any page ─► is its ETag known, and is it ── yes ─► ask whether it changed ── no ─► the known page
            not a full last page?                                  │ yes
                              │ no                                 │
                              └─► ask for it                       └─► the new page

Only pages that have numbers are known: which campaigns a cursor leads to is the platform's business.
"""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import structlog
from opentelemetry import trace

from adsyncd.model.campaign import Page
from adsyncd.model.tenant import Tenant
from adsyncd.runs.pushing import Pusher
from adsyncd.telemetry.instruments import LISTED_FROM, SAVED, Instruments

_log = structlog.stdlib.get_logger(__name__)


class PagedPlatform(Pusher, Protocol):
    """The platform itself. See `adsyncd.platforms.PlatformClient`."""

    async def page(self, number: int, cursor: str | None = None, known: Page | None = None) -> Page:
        """Return page `number`, from 1; that is `known` if it has not changed since. `cursor` leads to the page."""


class KnownListings(Protocol):
    """The store, as far as it remembers listings. See `adsyncd.store.Store`."""

    async def kept_listing(self, tenant: str, source: str, max_age: timedelta) -> Page | None:
        """Return all campaigns as one page, if the last run saw all of `source` less than `max_age` ago."""

    async def kept_page(self, tenant: str, source: str, number: int) -> Page | None:
        """Return a page of `source` as it was listed last, if its ETag is known."""


class ListingCache:
    """The source of a run: a platform that is not asked for known pages.

    A kept listing is one whole page, so a run never mixes it with the platform's pages. `name`: see `_name`.
    """

    def __init__(
        self, tenant: Tenant, platform: PagedPlatform, listings: KnownListings, instruments: Instruments
    ) -> None:
        self._tenant = tenant
        self._platform = platform
        self._listings = listings
        self._instruments = instruments
        self._full = tenant.sync.page_size  # campaigns on a page, or fewer if the platform puts fewer on it
        self.name = _name(tenant)
        profile = tenant.platform.profile
        self._is_numbered, self._volatile = profile.listing.paging.is_numbered, profile.volatile

    async def page(self, number: int, cursor: str | None = None) -> Page:
        """Return page `number`, from 1. `cursor` is `Page.next` of the page before."""
        if number == 1 and (kept := await self._kept_listing()):
            return replace(kept, volatile=self._volatile)
        known = await self._known_page(number) if self._is_numbered else None
        page = await self._platform.page(number, cursor, known)
        if page.has_more:
            self._full = min(self._full, len(page.campaigns))
        trace.get_current_span().set_attribute(LISTED_FROM, "platform" if page is not known else "unchanged")
        etag = page.etag if self._is_numbered else None
        return replace(page, source=self.name, etag=etag, volatile=self._volatile)

    async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
        """Push a campaign and return in which attempt that succeeded; `again`: its key may have been sent before."""
        return await self._platform.push(campaign_id, key, again=again)

    async def _known_page(self, number: int) -> Page | None:
        known = await self._listings.kept_page(self._tenant.id, self.name, number)
        if known and not known.has_more and len(known.campaigns) >= self._full:
            return None  # an ETag of its campaigns alone does not show that a page follows it now
        return known

    async def _kept_listing(self) -> Page | None:
        sync = self._tenant.sync
        if not sync.list_cache:
            return None
        kept = await self._listings.kept_listing(self._tenant.id, self.name, sync.list_cache)
        if kept is not None:
            _log.debug("listing reused", listed_at=str(kept.listed_at), campaigns=len(kept.campaigns))
            trace.get_current_span().set_attribute(LISTED_FROM, "cache")
            pages = max(1, math.ceil(len(kept.campaigns) / sync.page_size))
            self._instruments.add(SAVED, pages, tenant=self._tenant.id)
        return kept


def _name(tenant: Tenant) -> str:
    """Return a name for a tenant's listing. With other settings it is another listing, of which nothing is known.

    The whole profile counts: it says what to ask for, and how the answers are read.
    """
    platform = tenant.platform
    parts = [platform.base_url, tenant.client_id, str(tenant.sync.page_size), platform.profile.fingerprint]
    return " ".join(parts + [f"{name}={value}" for name, value in tenant.vars])
