from dataclasses import replace
from datetime import timedelta

import pytest

from adsyncd.cli.profile_view import described, direction
from adsyncd.config.profile_file import shipped_profile
from adsyncd.model.profile import Listing, Paging, PagingKind, TokenRequest

PROFILE = shipped_profile()


def part(name: str, **changes: object) -> str:
    return dict(described(replace(PROFILE, **changes)))[name]  # type: ignore[arg-type]  # any part of a profile


def test_the_built_in_api_is_described() -> None:
    assert dict(described(PROFILE)) == {
        "base_url": "none: each user's own, in [platforms.NAME]",
        "sign-in": "POST /auth/token brings the token, at access_token, for expires_in seconds; "
        "sent as authorization: Bearer TOKEN",
        "listing": "GET /api/campaigns, records at data, 1 to 1000 a page",
        "paging": "by number, page in the query, more follows by pagination.has_more",
        "fields": "id, name, status, budget, impressions, clicks, conversions, created_at",
        "push": "POST /api/campaigns/{id}/sync",
        "secrets": "email, password (in the credentials)",
        "vars": "none",
    }
    assert direction(PROFILE) == "push"
    assert direction(shipped_profile("meta")) == "pull only"


@pytest.mark.parametrize(
    ("request_", "lasts"),
    [
        (TokenRequest("GET", "/token", expires_at="until"), "until until"),
        (TokenRequest("GET", "/token", life=timedelta(hours=12)), "for 12h"),
        (TokenRequest("GET", "/token"), "until it is refused"),
    ],
)
def test_a_token_lasts_as_the_profile_says(request_: TokenRequest, lasts: str) -> None:
    expected = f"GET /token brings the token, at access_token, {lasts}; sent as x-token: TOKEN"
    assert part("sign-in", sign_in=request_, token_header="x-token", token_scheme="") == expected


def test_a_listing_is_described_with_all_that_is_unusual() -> None:
    paging = Paging(PagingKind.CURSOR, "pageToken", "pageSize", in_body=True, next="nextPageToken")
    listing = Listing("POST", "/search", "", absent_is_empty=True, page_size=(5, 50), cost=3, paging=paging)
    assert part("listing", listing=listing) == (
        "POST /search, records at the top, none if that is absent, 5 to 50 a page, costs 3 permits"
    )
    assert part("paging", listing=listing) == "by cursor, pageToken in the body, from nextPageToken"
    assert part("paging", listing=Listing("GET", "/all", "data")) == "none: one page"
