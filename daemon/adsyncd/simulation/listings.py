"""Follows the platforms' listings: how many in a row left out an existing campaign.

It reads the answers itself, in the shapes of the built-in API and of the one that the second platform speaks.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import httpx


@dataclass(frozen=True, slots=True)
class _PageSeen:
    """A page: what it was asked by, a number or a cursor, and what leads to the next one, None at the end."""

    asked: str
    limit: str
    shown: frozenset[str]
    next: str | None

    @property
    def is_first(self) -> bool:
        """Whether a listing begins with it."""
        return self.asked in {"1", ""}


@dataclass(slots=True)
class _UnderWay:
    """A listing in progress: its page size, the pages, and what may be asked for now.

    If a page is requested again, because the store could not keep it, the latest answer counts. `owner`: the process
    that began it; `pieced`: another one went on with it.
    """

    limit: str
    owner: str
    pieced: bool = False
    expected: set[str] = field(default_factory=set)
    pages: dict[str, frozenset[str]] = field(default_factory=dict)
    repeats: int = 0


class Listings:
    """Follows the listings of each client id, page by page. `there` returns a client id's current campaigns."""

    def __init__(self, there: Callable[[str], frozenset[str]]) -> None:
        self._there = there
        self._under_way: dict[str, _UnderWay] = {}
        self._pages: dict[str, tuple[frozenset[str], bool]] = {}  # by ETag
        self._left_out: Counter[tuple[str, str]] = Counter()
        self._pieced: dict[str, bool] = {}

    def left_out(self, client_id: str, campaign: str) -> int:
        """Return how many of the last complete listings in a row left out a campaign."""
        return self._left_out[client_id, campaign]

    def was_pieced(self, client_id: str) -> bool:
        """Return whether the last complete listing by cursors was begun by one process and ended by another."""
        return self._pieced.get(client_id, False)

    def repeats(self, client_id: str) -> int:
        """Return how many pages in a row of the listing in progress answered the same cursor."""
        listing = self._under_way.get(client_id)
        return listing.repeats if listing else 0

    def delivered(self, client_id: str, answer: httpx.Response, owner: str) -> None:
        """Follow an answer that was delivered to a process; only pages of listings matter."""
        request = answer.request
        if request.method == "GET" and answer.status_code in {HTTPStatus.OK, HTTPStatus.NOT_MODIFIED}:
            with suppress(ValueError, TypeError, KeyError, AttributeError):  # not a page
                numbered = "page" in request.url.params
                page = self._numbered(answer) if numbered else _by_cursor(answer)
                self._take(client_id, page, owner)
                if page.next is None:
                    self._end(client_id, numbered=numbered)

    def _numbered(self, answer: httpx.Response) -> _PageSeen:
        params = answer.request.url.params
        shown, has_more = self._read(answer)
        number = int(params["page"])
        return _PageSeen(str(number), params["limit"], shown, str(number + 1) if has_more else None)

    def _read(self, answer: httpx.Response) -> tuple[frozenset[str], bool]:
        etag = answer.headers.get("etag", "")
        if answer.status_code == HTTPStatus.NOT_MODIFIED:
            return self._pages[etag]
        page = answer.json()
        read = frozenset(str(item.get("id")) for item in page["data"]), bool(page["pagination"]["has_more"])
        if etag:
            self._pages[etag] = read
        return read

    def _take(self, client_id: str, page: _PageSeen, owner: str) -> None:
        if page.is_first:
            self._under_way[client_id] = _UnderWay(page.limit, owner)
        listing = self._under_way.get(client_id)
        if listing is None:
            return
        if listing.limit != page.limit or not (page.is_first or page.asked in listing.expected):
            del self._under_way[client_id]  # pages of two different listings
            return
        listing.pieced |= owner != listing.owner
        listing.repeats = listing.repeats + 1 if page.next == page.asked else 0
        listing.expected = {page.asked} | ({page.next} if page.next else set())
        listing.pages[page.asked] = page.shown

    def _end(self, client_id: str, *, numbered: bool) -> None:
        listing = self._under_way.pop(client_id, None)
        self._pieced[client_id] = not numbered and (listing is None or listing.pieced)
        if listing is None:
            return
        shown = frozenset[str]().union(*listing.pages.values())
        for campaign in self._there(client_id):
            missing = campaign not in shown
            self._left_out[client_id, campaign] = missing * (self._left_out[client_id, campaign] + 1)


def _by_cursor(answer: httpx.Response) -> _PageSeen:
    """Read a page of the second platform. Raises ValueError and others if it is none."""
    page, params = answer.json(), answer.request.url.params
    if page["code"]:
        raise ValueError
    shown = frozenset(str(record["campaign"]["id"]) for record in page["data"]["list"])
    return _PageSeen(params.get("cursor", ""), params["page_size"], shown, page["data"].get("page", {}).get("next"))
