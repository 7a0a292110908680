from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_api.campaigns import Catalogue, campaign, campaign_id
from mock_api.faults import FaultKind
from mock_api.settings import Behaviour


def catalogue(client_id: str = "acme", seed: int = 0, **settings: object) -> Catalogue:
    return Catalogue(seed, client_id, Behaviour.model_validate(settings))


def ids(page: dict[str, Any]) -> list[str]:
    return [listed["id"] for listed in page["data"]]


@given(st.integers(0, 40), st.integers(1, 15), st.sets(st.integers(1, 40)))
def test_the_pages_together_hold_every_campaign_that_is_not_deleted_once_and_in_order(
    campaigns: int, limit: int, deleted: set[int]
) -> None:
    listing = catalogue(campaigns=campaigns, deleted=frozenset(map(campaign_id, deleted)))
    expected = [campaign_id(number) for number in range(1, campaigns + 1) if number not in deleted]
    found, number, more = [], 0, True
    while more:
        number += 1
        page: dict[str, Any] = listing.page(number, limit)
        found += ids(page)
        more = page["pagination"].pop("has_more")
        assert page["pagination"] == {"page": number, "limit": limit, "total": len(expected)}
    assert found == expected
    assert number == max(1, -(-len(expected) // limit))
    assert all(id_ in listing for id_ in expected)
    assert not any(campaign_id(number) in listing for number in deleted)


@pytest.mark.parametrize("wrong", ["", "cmp-", "cmp-0000", "cmp-0101", "cmp-1", "cmp-00001", "x", "cmp--001"])
def test_an_id_that_is_not_listed_is_no_campaign(wrong: str) -> None:
    assert wrong not in catalogue(campaigns=100)


def test_campaigns_follow_from_seed_and_client_id() -> None:
    assert catalogue().page(1, 10) == catalogue().page(1, 10)
    assert catalogue().page(1, 10) != catalogue(seed=1).page(1, 10)
    assert catalogue().page(1, 10) != catalogue("other").page(1, 10)
    assert ids(catalogue().page(1, 10)) == ids(catalogue("other").page(1, 10))


def test_a_revision_changes_the_figures_of_one_campaign_and_not_its_identity() -> None:
    before: dict[str, Any] = catalogue().page(1, 3)
    after: dict[str, Any] = catalogue(revisions={"cmp-0002": 1}).page(1, 3)
    changed = [old["id"] for old, new in zip(before["data"], after["data"], strict=True) if old != new]
    assert changed == ["cmp-0002"]
    assert all(before["data"][1][field] == after["data"][1][field] for field in ("id", "name", "created_at"))


def test_an_endless_listing_has_fresh_campaigns_on_every_page_and_they_can_be_pushed() -> None:
    listing = catalogue(campaigns=20, fault=FaultKind.ENDLESS)
    pages = [listing.page(number, 10) for number in range(1, 8)]
    found = [id_ for page in pages for id_ in ids(page)]
    assert len(set(found)) == 70
    assert all(id_ in listing for id_ in found)
    assert all(page["pagination"]["has_more"] for page in pages)  # type: ignore[index, call-overload]  # JSON


def test_a_repeating_listing_shows_its_first_page_for_ever() -> None:
    listing = catalogue(campaigns=20, fault=FaultKind.REPEATING)
    pages: list[dict[str, Any]] = [listing.page(number, 10) for number in range(1, 8)]
    assert all(page["data"] == pages[0]["data"] and page["pagination"]["has_more"] for page in pages)


def test_an_empty_listing_has_nothing_and_its_campaigns_can_be_pushed_all_the_same() -> None:
    listing = catalogue(campaigns=20, fault=FaultKind.EMPTY)
    assert listing.page(1, 10) == {"data": [], "pagination": {"page": 1, "limit": 10, "total": 0, "has_more": False}}
    assert "cmp-0001" in listing


def test_hidden_campaigns_are_not_listed_and_are_there() -> None:
    listing = catalogue(campaigns=3, hidden=["cmp-0002"])
    assert ids(listing.page(1, 10)) == ["cmp-0001", "cmp-0003"]
    assert "cmp-0002" in listing


def test_an_odd_campaign_is_listed_with_the_values_that_are_set_for_it() -> None:
    listing = catalogue(campaigns=2, odd=[["cmp-0002", {"id": None, "budget": "10.50"}]])
    usual, odd = listing.page(1, 10)["data"]  # type: ignore[misc, str-unpack]  # a list of two
    assert usual == campaign(0, "acme", 1, 0)
    assert odd == campaign(0, "acme", 2, 0) | {"id": None, "budget": "10.50"}


@pytest.mark.parametrize(
    ("total", "claimed"),
    [
        *(("right", {"total": 5}), ("null", {"total": None}), ("absent", {})),
        *(("small", {"total": 2}), ("large", {"total": 10}), ("page", {"total": 3})),
    ],
)
def test_a_listing_claims_as_many_campaigns_as_it_is_told_to(total: str, claimed: dict[str, object]) -> None:
    pagination = catalogue(campaigns=5, total=total).page(1, 3)["pagination"]
    assert pagination == {"page": 1, "limit": 3, "has_more": True} | claimed


def test_a_listing_may_begin_with_a_later_campaign() -> None:
    moved = Catalogue(0, "acme", Behaviour(campaigns=3), moved=4)
    assert ids(moved.page(1, 2)) + ids(moved.page(2, 2)) == ["cmp-0002", "cmp-0003", "cmp-0001"]
    assert ids(Catalogue(0, "acme", Behaviour(campaigns=0), moved=4).page(1, 2)) == []


def test_a_campaign_has_the_fields_and_types_of_the_api() -> None:
    types = {field: type(value) for field, value in campaign(0, "acme", 1, 0).items()}
    assert types == {
        "id": str, "name": str, "status": str, "budget": float,
        "impressions": int, "clicks": int, "conversions": int, "created_at": str,
    }  # fmt: skip
