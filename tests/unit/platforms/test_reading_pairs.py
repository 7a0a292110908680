"""Recorded answers, read by the profiles that adsyncd has.

A public mock of the platforms' APIs gave them: its shapes are theirs, but some paths, header fields and the paging of
LinkedIn are not, as the tests say.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import BadAnswer
from adsyncd.model.campaign import Campaign, Page
from adsyncd.model.profile import FieldPlace, Paging, PagingKind, Profile, Times
from adsyncd.platforms.call import Call, Kind
from adsyncd.platforms.paging import Pages
from adsyncd.platforms.profile_requests import ProfileRequests
from adsyncd.platforms.reading import Reader
from adsyncd.platforms.requests import Requests
from support.tenants import a_tenant

PAIRS = Path(__file__).parents[2] / "data" / "pairs"


class Recorded:
    """A tenant's listing, whose answers were recorded."""

    def __init__(self, platform: str, profile: Profile, client_id: str, page_size: int = 3) -> None:
        self._pairs = {pair["label"]: pair for pair in json.loads((PAIRS / f"{platform}.json").read_text())}
        tenant = a_tenant(client_id=client_id, page_size=page_size, base_url=profile.base_url)
        tenant = replace(tenant, platform=replace(tenant.platform, profile=profile))
        transport = httpx.MockTransport(lambda _: httpx.Response(200))
        self._requests = ProfileRequests(Requests(transport, tenant.platform.base_url, [], 10.0), tenant)
        self._reader = Reader(profile)
        self._pages = Pages(profile, page_size)
        self.asked: list[httpx.Request] = []  # as adsyncd asks
        self.answered: list[tuple[httpx.URL, Any]] = []  # as it was asked when this was recorded, with the body

    def page(self, label: str, number: int, cursor: str | None = None) -> Page:
        """Return the page that a recorded answer is."""
        pair = self._pairs[label]
        request = self._requests.listing(
            self._pages.ask(number, cursor, self._requests.listing_path), Call(Kind.LISTING), []
        )
        self.asked.append(request)
        self.answered.append((httpx.URL(pair["request"]["url"]), json.loads(pair["request"]["body"] or "null")))
        listed = self._reader.read(json.dumps(pair["response"]["body"]).encode(), number)
        return self._pages.page(number, listed, request.url, lambda _: False)


def row(campaign: Campaign) -> tuple[object, ...]:
    return (
        campaign.id,
        campaign.name,
        campaign.status,
        campaign.budget,
        campaign.currency,
        campaign.impressions,
        campaign.clicks,
        campaign.conversions,
        None if campaign.created_at is None else campaign.created_at.isoformat(),
    )


def test_meta() -> None:
    recorded, cursor, pages = Recorded("meta", shipped_profile("meta"), "act_123456"), None, []
    for number, label in enumerate(("list, page 1", "list, page 2", "list, last page"), 1):
        pages.append(recorded.page(label, number, cursor))
        cursor = pages[-1].next
    assert [(page.has_more, page.next, page.odd.count) for page in pages] == [
        (True, "3", 0),
        (True, "6", 0),
        (False, None, 0),
    ]
    none = (None,) * 4
    new = "2026-11-29T09:53:20+00:00"
    assert [row(campaign) for page in pages for campaign in page.campaigns] == [
        ("120210000000000000", "Mock Meta Campaign", "ACTIVE", 50.0, *none, "2025-10-30T00:00:00+00:00"),
        ("120210000046000202", "Meta 0", "ACTIVE", 50.0, *none, new),
        ("120210000046000214", "Meta 1", "PAUSED", 50.01, *none, new),
        ("120210000046000226", "Meta 2", "ACTIVE", 50.02, *none, new),
        ("120210000046000238", "Meta 3", "PAUSED", 50.03, *none, new),
        ("120210000046000250", "Meta 4", "ACTIVE", 50.04, *none, new),
        ("120210000046000262", "Meta 5", "PAUSED", 50.05, *none, new),
    ]
    for asked, (answered, _) in zip(recorded.asked, recorded.answered, strict=True):
        assert asked.url.params == answered.params
        assert asked.url.path.split("/")[2:] == answered.path.split("/")[3:]  # behind the version


def test_google_ads() -> None:
    recorded, cursor, pages = Recorded("google-ads", shipped_profile("google-ads"), "1234567890"), None, []
    for number, label in enumerate(("list, page 1", "list, page 2"), 1):
        pages.append(recorded.page(label, number, cursor))
        cursor = pages[-1].next
    assert [(page.has_more, page.next, page.total) for page in pages] == [(True, "3", 7), (True, "6", 7)]
    none = (None, None)
    assert [row(campaign) for page in pages for campaign in page.campaigns] == [
        ("camp_43d1f819", "Sample Search Campaign", "ENABLED", *none, 218490, 6180, *none),
        ("3907838113", "Google 0", "PAUSED", *none, 365490, 4410, *none),
        ("9494326949", "Google 1", "ENABLED", *none, 410790, 5670, *none),
        ("4929732108", "Google 2", "PAUSED", *none, 396060, 20490, *none),
        ("1051113914", "Google 3", "ENABLED", *none, 410970, 21900, *none),
        ("2661821880", "Google 4", "PAUSED", *none, 327930, 13440, *none),
    ]
    for asked, (answered, body) in zip(recorded.asked, recorded.answered, strict=True):
        sent = json.loads(asked.read())
        assert asked.url.path.rpartition("/v")[2].split("/")[1:] == answered.path.rpartition("/v")[2].split("/")[1:]
        # The mock takes a page size, which the real API refuses; and the query asks for more now.
        assert sent.get("pageToken") == body.get("pageToken")
        assert "pageSize" not in sent


def test_google_ads_without_a_campaign_is_an_empty_listing() -> None:
    profile = shipped_profile("google-ads")
    listed = Reader(profile).read(b'{"fieldMask": "campaign.id"}', 1)
    page = Pages(profile, 10).page(1, listed, httpx.URL("http://ads.invalid"), lambda _: False)
    assert (page.campaigns, page.has_more) == ((), False)


def test_tiktok() -> None:
    recorded = Recorded("tiktok", shipped_profile("tiktok"), "1", page_size=10)
    page = recorded.page("list", 1)
    assert (page.has_more, page.total) == (False, 1)
    created = "2025-10-30T00:00:00+00:00"
    assert [row(campaign) for campaign in page.campaigns] == [
        ("1234567890123456789", "Test TikTok Campaign", "ENABLE", 100.0, None, None, None, None, created)
    ]
    [asked], [(answered, _)] = recorded.asked, recorded.answered
    assert asked.url.params == answered.params
    assert asked.url.path == answered.path.replace("/mock/", "/open_api/").replace("/tiktok/", "/open_api/")


# LinkedIn: the mock has another path, other names for an instant and pages by start and count. What the shipped profile
# has instead stands in the vendor's documentation, and no recorded answer shows it.


def linkedin_of_the_mock() -> Profile:
    profile = shipped_profile("linkedin")
    paging = Paging(PagingKind.OFFSET, "start", "count", total="paging.total")
    path = "/rest/adCampaigns?q=search&search.account=urn%3Ali%3AsponsoredAccount%3A{account}"
    created = FieldPlace("created_at", ("createdAt",), time=Times.MILLISECONDS)
    others = tuple(place for place in profile.fields if place.column != "created_at")
    return replace(
        profile, listing=replace(profile.listing, path=path, params=(), paging=paging), fields=(*others, created)
    )


def test_linkedin_as_the_mock_has_it() -> None:
    recorded = Recorded("linkedin", linkedin_of_the_mock(), "123")
    first, last = recorded.page("list, page 1", 1), recorded.page("list, last page", 3, "6")
    assert [(page.has_more, page.next, page.total) for page in (first, last)] == [(True, "3", 8), (True, "8", 8)]
    none = (None,) * 3

    def created(milliseconds: int) -> str:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()

    name = "urn:li:sponsoredCampaign:"
    assert [row(campaign) for page in (first, last) for campaign in page.campaigns] == [
        (f"{name}789", "Sample LinkedIn Campaign", "ACTIVE", 100.0, "USD", *none, created(1795859535141)),
        (f"{name}688523", "LinkedIn 0", "ACTIVE", 50.0, "USD", *none, created(1795946000284)),
        (f"{name}775910", "LinkedIn 1", "ACTIVE", 50.0, "USD", *none, created(1795946000296)),
        (f"{name}131913", "LinkedIn 5", "ACTIVE", 50.0, "USD", *none, created(1795946000343)),
        (f"{name}302747", "LinkedIn 6", "ACTIVE", 50.0, "USD", *none, created(1795946000355)),
    ]
    for asked, (answered, _) in zip(recorded.asked, recorded.answered, strict=True):
        assert asked.url.params == answered.params


def test_linkedin_by_the_shipped_profile() -> None:
    recorded = Recorded("linkedin", shipped_profile("linkedin"), "123")
    page = recorded.page("list, page 1", 1)
    assert [row(campaign)[:5] for campaign in page.campaigns] == [
        ("urn:li:sponsoredCampaign:789", "Sample LinkedIn Campaign", "ACTIVE", 100.0, "USD"),
        ("urn:li:sponsoredCampaign:688523", "LinkedIn 0", "ACTIVE", 50.0, "USD"),
        ("urn:li:sponsoredCampaign:775910", "LinkedIn 1", "ACTIVE", 50.0, "USD"),
    ]
    assert (page.has_more, page.next) == (False, None)
    assert "(status:(values:List(ACTIVE," in str(recorded.asked[0].url)


@pytest.mark.parametrize(
    ("platform", "label"),
    [("google-ads", "list, no token"), ("meta", "list, wrong token"), ("linkedin", "list, wrong token")],
)
def test_an_error_is_no_empty_listing_even_under_a_status_of_success(platform: str, label: str) -> None:
    with pytest.raises(BadAnswer):
        Recorded(platform, shipped_profile(platform), "123").page(label, 1)
