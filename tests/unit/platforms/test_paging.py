from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from adsyncd.config.profile_file import shipped_profile
from adsyncd.errors import BadAnswer, ListingError
from adsyncd.model.campaign import Oddities, Page
from adsyncd.model.profile import Paging, PagingKind, Profile
from adsyncd.platforms.paging import Ask, Pages
from adsyncd.platforms.reading import Listed
from support.records import campaign

PATH = "/v1/accounts/acme%2F1/campaigns"
URL = httpx.URL(f"https://ads.invalid{PATH}?limit=10")
NUMBER = Paging(PagingKind.NUMBER, "page", "limit")
OFFSET = Paging(PagingKind.OFFSET, "start", "count")
CURSOR = Paging(PagingKind.CURSOR, "after", "limit", next="paging.after")
LINK = Paging(PagingKind.LINK, None, "limit", next="paging.next")


def described(paging: Paging) -> Profile:
    profile = shipped_profile()
    return replace(profile, listing=replace(profile.listing, paging=paging), volatile=("metrics",))


def listed(items: int = 10, has_more: bool | None = None, total: int | None = None, following: object = None) -> Listed:
    campaigns = tuple(campaign(f"c{number}") for number in range(items))
    return Listed(campaigns, items, has_more, total, following, Oddities(), Oddities())


class Listing:
    """A listing with pages of at most 10, as a client goes through it."""

    def __init__(self, paging: Paging, is_secret: Callable[[str], bool] = lambda _: False) -> None:
        self.pages = Pages(described(paging), 10)
        self.is_secret = is_secret
        self.url = URL

    def ask(self, number: int, cursor: str | None = None) -> Ask:
        return self.pages.ask(number, cursor, PATH)

    def page(self, number: int, cursor: str | None = None, **answer: Any) -> Page:  # noqa: ANN401 - what `listed` has
        ask = self.ask(number, cursor)
        url = self.url if ask.query is None else httpx.URL(f"https://ads.invalid{PATH}?{ask.query}")
        return self.pages.page(number, listed(**answer), url, self.is_secret)


def refusal(paging: Paging, following: object, is_secret: Callable[[str], bool] = lambda _: False) -> str:
    with pytest.raises(ListingError) as refused:
        Listing(paging, is_secret).page(1, following=following)
    return str(refused.value)


# No paging at all


def test_what_has_no_pages_is_listed_at_once() -> None:
    listing = Listing(Paging())
    assert listing.ask(1) == Ask()
    page = listing.page(1, items=3, total=3)
    assert (page.has_more, page.next, page.total, page.volatile) == (False, None, 3, ("metrics",))


def test_what_has_no_pages_may_not_say_that_more_follow() -> None:
    with pytest.raises(ListingError, match=r'meta\.more says that more follows, but paging is of kind "none"'):
        Listing(Paging(has_more="meta.more")).page(1, has_more=True)


# Numbers


@pytest.mark.parametrize(("first", "asked"), [(1, ["1", "2", "9"]), (0, ["0", "1", "8"])])
def test_pages_are_asked_for_by_their_numbers(first: int, asked: list[str]) -> None:
    listing = Listing(replace(NUMBER, first=first))
    assert [listing.ask(number).value for number in (1, 2, 9)] == asked


@pytest.mark.parametrize("paging", [NUMBER, OFFSET])
@pytest.mark.parametrize(
    ("items", "more"),
    [([10, 10], True), ([10, 9], True), ([9], True), ([10, 0], False), ([0], False)],
)
def test_a_short_page_ends_nothing_and_an_empty_one_the_listing(paging: Paging, items: list[int], more: bool) -> None:
    listing, cursor = Listing(paging), None
    for number, count in enumerate(items, 1):
        page = listing.page(number, cursor, items=count)
        cursor = page.next
    assert page.has_more is more


@pytest.mark.parametrize("paging", [NUMBER, OFFSET])
@pytest.mark.parametrize(
    ("items", "total", "more"),
    [
        ([10, 10, 5], 25, False),
        ([10, 10, 5], 24, False),
        ([10, 10, 5], 26, True),
        ([10, 10, 5], None, True),
        ([10, 10], 20, True),  # full: the total is a claim, and another page costs a request alone
        ([5, 5, 5], 15, False),  # a platform that caps its pages
        ([5, 5], 15, True),
        ([7], 7, False),
        ([7], 0, False),
    ],
)
def test_a_total_ends_a_listing_at_a_short_page_once_all_are_listed(
    paging: Paging, items: list[int], total: int | None, more: bool
) -> None:
    listing, cursor = Listing(paging), None
    for number, count in enumerate(items, 1):
        page = listing.page(number, cursor, items=count, total=total)
        cursor = page.next
    assert page.has_more is more


def test_a_total_ends_no_listing_whose_first_pages_another_process_saw() -> None:
    assert Listing(NUMBER).page(3, items=5, total=5).has_more
    assert Listing(OFFSET).page(3, "20", items=5, total=25).has_more


def test_a_total_ends_no_listing_if_the_size_of_a_page_is_unknown() -> None:
    assert Listing(replace(NUMBER, size=None)).page(1, items=5, total=5).has_more


def test_a_page_that_has_not_changed_counts_as_one_that_was_listed() -> None:
    listing = Listing(NUMBER)
    listing.ask(1)
    listing.pages.unchanged(Page(1, listed(10).campaigns, 15, has_more=True))
    assert not listing.page(2, items=5, total=15).has_more


def test_a_listing_that_begins_anew_counts_anew() -> None:
    listing = Listing(NUMBER)
    for _ in range(2):
        assert listing.page(1, items=5, total=10).has_more
    assert not listing.page(2, items=5, total=10).has_more


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("items", [0, 3, 10])
def test_has_more_decides_where_a_platform_says_it(said: bool, items: int) -> None:
    page = Listing(replace(NUMBER, has_more="more")).page(1, items=items, has_more=said, total=items)
    assert (page.has_more, page.next) == (said, None)


def test_a_listing_whose_end_nothing_tells_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswer, match=r"meta\.more: is not a boolean, and no total"):
        Listing(replace(OFFSET, has_more="meta.more")).page(1)


# Offsets


def test_the_offset_of_the_next_page_is_behind_all_items_of_this_one() -> None:
    listing = Listing(OFFSET)
    assert listing.ask(1) == Ask("0")
    assert listing.page(1, items=7).next == "7"
    assert listing.ask(2, "7") == Ask("7")
    assert listing.page(2, "7", items=10).next == "17"
    assert Listing(OFFSET).page(3, "17", items=2).next == "19"


@pytest.mark.parametrize("items", [0, 5])
def test_an_offset_ends_with_has_more_or_an_empty_page(items: int) -> None:
    listing = Listing(replace(OFFSET, has_more="more"))
    page = listing.page(1, items=items, has_more=True)
    assert (page.has_more, page.next) == ((True, "5") if items else (False, None))
    assert not listing.page(1, items=5, has_more=False).has_more


@pytest.mark.parametrize("cursor", [None, "", "-1", "1.5", "x", "٣", "9" * 30])
def test_a_page_is_not_asked_for_at_an_offset_that_is_none(cursor: str | None) -> None:
    with pytest.raises(ListingError):
        Listing(OFFSET).ask(2, cursor)


# Cursors


@pytest.mark.parametrize(
    ("following", "cursor"),
    [("abc", "abc"), (7, "7"), (2**70, str(2**70)), ("x" * 4096, "x" * 4096), ("ü(&", "ü(&"), ("0", "0"), (0, "0")],
)
def test_a_cursor_leads_to_the_next_page(following: object, cursor: str) -> None:
    listing = Listing(CURSOR)
    assert listing.ask(1) == Ask()
    page = listing.page(1, items=3, total=3, following=following)
    assert (page.has_more, page.next) == (True, cursor)
    assert listing.ask(2, page.next) == Ask(cursor)


@pytest.mark.parametrize("paging", [CURSOR, LINK])
@pytest.mark.parametrize("items", [0, 10])
@pytest.mark.parametrize("following", [None, ""])
def test_without_a_cursor_no_page_follows(paging: Paging, items: int, following: object) -> None:
    page = Listing(paging).page(1, items=items, total=99, following=following)
    assert (page.has_more, page.next) == (False, None)


def test_an_empty_page_with_a_cursor_ends_nothing() -> None:
    assert Listing(CURSOR).page(1, items=0, following="abc").has_more


@pytest.mark.parametrize("paging", [CURSOR, LINK])
@pytest.mark.parametrize("following", [True, False, 1.5, [], {}, ["abc"], {"a": "abc"}])
def test_what_is_neither_text_nor_a_number_leads_nowhere(paging: Paging, following: object) -> None:
    assert refusal(paging, following).startswith(f"{paging.next} is neither text nor a whole number")


@pytest.mark.parametrize("paging", [CURSOR, LINK])
@pytest.mark.parametrize("following", ["x" * 4097, "a\0", "a\nb", "\ud800", "\x1b[2J", "a\u202eb"])
def test_what_is_too_long_or_unprintable_leads_nowhere(paging: Paging, following: str) -> None:
    assert refusal(paging, following).startswith(f"{paging.next} is longer than 4096 characters, or holds unprintable")


@pytest.mark.parametrize("paging", [CURSOR, LINK])
def test_a_cursor_that_repeats_a_secret_is_refused_and_not_repeated(paging: Paging) -> None:
    told = refusal(paging, "?access_token=hunter2", lambda text: "hunter2" in text)
    assert "secret" in told
    assert "hunter2" not in told
    assert ('write kind = "cursor"' in told) is (paging is LINK)


@pytest.mark.parametrize("cycle", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_cursors_that_repeat_end_a_listing(cycle: list[str]) -> None:
    listing, cursor = Listing(CURSOR), None
    for number, following in enumerate(cycle, 1):
        cursor = listing.page(number, cursor, following=following).next
    with pytest.raises(ListingError, match=f"paging.after of page {len(cycle) + 1} leads back to a page"):
        listing.page(len(cycle) + 1, cursor, following="a")


def test_a_page_that_is_asked_for_again_leads_on_as_before() -> None:
    listing = Listing(CURSOR)
    for _ in range(2):
        assert listing.page(2, "a", following="b").next == "b"


def test_a_listing_that_begins_anew_may_have_the_same_cursors() -> None:
    listing = Listing(CURSOR)
    for _ in range(2):
        assert listing.page(1, following="a").next == "a"
        assert listing.page(2, "a", following="b").next == "b"


@pytest.mark.parametrize("paging", [CURSOR, LINK])
def test_a_page_behind_the_first_is_not_asked_for_without_a_cursor(paging: Paging) -> None:
    with pytest.raises(ListingError, match="page 2 can't be asked for without the page before"):
        Listing(paging).ask(2)


# Links


@pytest.mark.parametrize(
    "link",
    [
        f"https://ads.invalid{PATH}?c=a%2F(b)",
        f"HTTPS://ADS.invalid:443{PATH}?c=a%2F(b)",
        f"//ads.invalid{PATH}?c=a%2F(b)",
        f"{PATH}?c=a%2F(b)",
        "campaigns?c=a%2F(b)",
        "?c=a%2F(b)",
        "https://ads.invalid/v1/accounts/acme%2f1/campaign%73?c=a%2F(b)",  # the same path
    ],
)
def test_a_link_leads_where_the_request_went(link: str) -> None:
    listing = Listing(LINK)
    page = listing.page(1, following=link)
    assert (page.has_more, page.next) == (True, f"{PATH}?c=a%2F(b)")
    assert listing.ask(2, page.next) == Ask(query="c=a%2F(b)")


@pytest.mark.parametrize(
    "link",
    [
        f"https://evil.invalid{PATH}?c=a",
        f"http://ads.invalid{PATH}?c=a",
        f"https://ads.invalid:8443{PATH}?c=a",
        f"https://ads.invalid:{PATH}?c=a",
        f"https://ads.invalid.{PATH}?c=a",
        f"https://ads.invalid.evil.invalid{PATH}?c=a",
        f"https://ads%2einvalid{PATH}?c=a",
        f"https://ads.invalid@evil.invalid{PATH}?c=a",
        f"https://user@ads.invalid{PATH}?c=a",
        f"https://:pw@ads.invalid{PATH}?c=a",
        f"https://@ads.invalid{PATH}?c=a",
        f"//evil.invalid{PATH}?c=a",
        f"///evil.invalid{PATH}?c=a",
        f"https:///ads.invalid{PATH}?c=a",
        f"https:{PATH}?c=a",
        f"https:ads.invalid{PATH}?c=a",
        "javascript:alert(1)",
        f"file://ads.invalid{PATH}",
        f"https:\\\\evil.invalid{PATH}?c=a",
        f"/\\evil.invalid{PATH}?c=a",
        f"https://ads.invalid\\@evil.invalid{PATH}?c=a",
        f"https://ads.invalid{PATH}?c=a#b",
        f"https://ads.invalid{PATH}#?c=a",
        f"https://ads.invalid{PATH}?c=a b",
        f"https://ads.invalid{PATH}?c=ü",
        f" https://ads.invalid{PATH}?c=a",
        "https://[::1]/?c=a",
    ],
)
def test_a_link_to_another_server_is_not_followed(link: str) -> None:
    assert refusal(LINK, link) == "paging.next is no link to the server that was asked, so it is not followed"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/accounts/globex/campaigns",
        "/v1/accounts/acme/1/campaigns",
        "/v1/accounts/acme%252F1/campaigns",
        f"{PATH}/",
        f"/{PATH}",
        f"{PATH}/..",
        "/v1/accounts/acme%2F1/x/../campaigns",
        "/v1/accounts/acme%2F1/./campaigns",
        "/v1/accounts/acme%2F1/%2e/campaigns",
        "/v1/accounts/acme%2F1%2Fcampaigns",
        "/",
        "",
    ],
)
@pytest.mark.parametrize("server", ["https://ads.invalid", ""])
def test_a_link_to_another_path_is_not_followed(path: str, server: str) -> None:
    if not server and path in ("", f"/{PATH}"):
        return  # the path itself, and a server
    assert refusal(LINK, f"{server}{path}?c=a").startswith("paging.next is a link to another path than the listing's")


@pytest.mark.parametrize(
    ("asked", "link"),
    [
        ("http://ads.invalid/x", "http://ads.invalid:80/x?c=a"),
        ("http://ads.invalid:8080/x", "http://ads.invalid:8080/x?c=a"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x?c=a"),
        ("http://[::1]/x", "http://[::1]/x?c=a"),
        ("http://127.0.0.1/x?limit=1", "?c=a"),
    ],
)
def test_a_server_may_be_an_address_with_a_port(asked: str, link: str) -> None:
    listing = Listing(LINK)
    listing.url = httpx.URL(asked)
    assert listing.page(1, following=link).next == "/x?c=a"


def test_a_link_back_to_the_first_page_ends_a_listing() -> None:
    with pytest.raises(ListingError, match="leads back"):
        Listing(LINK).page(1, following=str(URL))
    listing = Listing(LINK)
    listing.page(1, following="?c=a")
    with pytest.raises(ListingError, match="leads back"):
        listing.page(2, f"{PATH}?c=a", following=str(URL))


@pytest.mark.parametrize("cursor", ["/v1/accounts/globex/campaigns?c=a", "https://evil.invalid/?c=a", f"{PATH}?c=\n"])
def test_a_link_that_was_kept_is_checked_before_it_is_followed(cursor: str) -> None:
    with pytest.raises(ListingError, match="is not one of this listing"):
        Listing(LINK).ask(2, cursor)
