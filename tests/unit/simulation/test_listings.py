import httpx
import pytest

from adsyncd.simulation.listings import Listings

THERE = frozenset({"c1", "c2", "c3"})


@pytest.fixture
def listings() -> Listings:
    return Listings(lambda _: THERE)


def page(
    number: int,
    *ids: object,
    more: bool = False,
    status: int = 200,
    limit: int = 2,
    etag: str = "",
    method: str = "GET",
) -> httpx.Response:
    request = httpx.Request(
        method, f"http://ads/api/campaigns?page={number}&limit={limit}", headers={"x-client-id": "acme"}
    )
    body = {"data": [{"id": id_} for id_ in ids], "pagination": {"has_more": more}}
    return httpx.Response(status, json=body, headers={"etag": etag} if etag else {}, request=request)


def by_cursor(
    cursor: str, *ids: str, following: str | None = None, code: int = 0, records: str = "list"
) -> httpx.Response:
    request = httpx.Request("GET", f"http://orbit/v2/accounts/acme/campaigns?page_size=2&cursor={cursor}")
    data = {records: [{"campaign": {"id": id_}} for id_ in ids]}
    return httpx.Response(
        200, json={"code": code, "data": data | ({"page": {"next": following}} if following else {})}, request=request
    )


def deliver(listings: Listings, *answers: httpx.Response, owner: str = "life 0") -> None:
    for answer in answers:
        listings.delivered("acme", answer, owner)


def left_out(listings: Listings) -> dict[str, int]:
    return {id_: times for id_ in sorted(THERE) if (times := listings.left_out("acme", id_))}


def test_a_campaign_is_left_out_of_so_many_whole_listings_in_a_row(listings: Listings) -> None:
    deliver(listings, *(page(1, "c1", "c2"), page(1, "c1", more=True), page(2, "c2")))
    assert left_out(listings) == {"c3": 2}
    deliver(listings, *(page(1, "c3", "c1"), page(1), page(1, "c3")))
    assert left_out(listings) == {"c1": 2, "c2": 3}
    assert listings.left_out("globex", "c2") == 0


@pytest.mark.parametrize(
    "answers",
    [
        [page(1, "c1", more=True)],  # it goes on
        [page(1, "c1", more=True), page(3, "c2")],  # a page was never asked for
        [page(1, "c1", more=True), page(2, "c2", limit=5)],  # pages of another size
        [page(2, "c2")],
        [page(1, status=503)],
        [page(1, method="POST")],
        [httpx.Response(200, text="<html>", request=page(1).request)],
        [page(1, status=304, etag="unknown")],
        [by_cursor("", "c1", following="a")],
        [by_cursor("", "c1", following="a"), by_cursor("b", "c2")],  # the cursor of another listing
        [by_cursor("a", "c1")],
        [by_cursor("", code=4290)],
        [by_cursor("", records="nothing")],
    ],
)
def test_what_is_no_whole_listing_leaves_nothing_out(listings: Listings, answers: list[httpx.Response]) -> None:
    deliver(listings, *answers)
    assert left_out(listings) == {}


def test_a_page_that_comes_twice_and_one_that_is_unchanged_are_pages_of_their_listing(listings: Listings) -> None:
    deliver(listings, page(1, "c1", more=True, etag="v1"))
    deliver(listings, page(1, more=True, status=304, etag="v1"))
    deliver(listings, page(2, "c2", more=True))
    deliver(listings, page(2, "c2", more=True))
    deliver(listings, page(3))
    assert left_out(listings) == {"c3": 1}


def test_of_a_page_that_is_asked_for_again_the_latest_answer_counts(listings: Listings) -> None:
    deliver(listings, *(page(1, "c1", more=True), page(2, "c2", more=True), page(2, "c3", more=True), page(3)))
    assert left_out(listings) == {"c2": 1}


def test_a_listing_by_cursors_leaves_out_what_no_page_of_its_chain_has(listings: Listings) -> None:
    deliver(listings, by_cursor("", "c1", following="a"), by_cursor("a", "c2", following="b"))
    deliver(listings, by_cursor("a", "c2", following="b"), by_cursor("b"))
    assert left_out(listings) == {"c3": 1}
    assert not listings.was_pieced("acme")


def test_a_listing_that_another_process_went_on_with_was_pieced_together(listings: Listings) -> None:
    deliver(listings, by_cursor("", "c1", following="a"))
    deliver(listings, by_cursor("a", "c2", "c3"), owner="life 1")
    assert listings.was_pieced("acme")
    deliver(listings, by_cursor("", "c1", following="a"), by_cursor("a", "c2", "c3"), owner="life 1")
    assert not listings.was_pieced("acme")
    deliver(listings, by_cursor("x", "c2"), owner="life 1")
    assert listings.was_pieced("acme")


def test_pages_that_lead_to_themselves_are_counted(listings: Listings) -> None:
    deliver(listings, by_cursor("", "c1", following="a"), *[by_cursor("a", "c1", following="a")] * 3)
    assert listings.repeats("acme") == 3
    deliver(listings, by_cursor("a", "c1", following="b"))
    assert listings.repeats("acme") == listings.repeats("globex") == 0
