"""Follows the platforms' listings: how many in a row left out an existing campaign."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import httpx


@dataclass(slots=True)
class _UnderWay:
    """A listing in progress: its page size, the next page, and the campaigns of each page.

    If a page is requested again, because the store could not keep it, the latest answer counts.
    """

    limit: str
    next_page: int = 1
    pages: dict[int, set[str]] = field(default_factory=dict)


class Listings:
    """Follows the listings of each client id, page by page. `there` returns a client id's current campaigns."""

    def __init__(self, there: Callable[[str], frozenset[str]]) -> None:
        self._there = there
        self._under_way: dict[str, _UnderWay] = {}
        self._pages: dict[str, tuple[set[str], bool]] = {}  # by ETag
        self._left_out: Counter[tuple[str, str]] = Counter()

    def left_out(self, client_id: str, campaign: str) -> int:
        """Return how many of the last complete listings in a row left out a campaign."""
        return self._left_out[client_id, campaign]

    def delivered(self, answer: httpx.Response) -> None:
        """Follow an answer that was delivered; only pages of listings matter."""
        request = answer.request
        if request.method == "GET" and answer.status_code in {HTTPStatus.OK, HTTPStatus.NOT_MODIFIED}:
            with suppress(ValueError, TypeError, KeyError, AttributeError):  # not a page
                params = request.url.params
                shown, has_more = self._read(answer)
                self._take(request.headers["x-client-id"], int(params["page"]), params["limit"], shown)
                if not has_more:
                    self._end(request.headers["x-client-id"])

    def _read(self, answer: httpx.Response) -> tuple[set[str], bool]:
        etag = answer.headers.get("etag", "")
        if answer.status_code == HTTPStatus.NOT_MODIFIED:
            return self._pages[etag]
        page = answer.json()
        read = {str(item.get("id")) for item in page["data"]}, bool(page["pagination"]["has_more"])
        if etag:
            self._pages[etag] = read
        return read

    def _take(self, client_id: str, number: int, limit: str, shown: set[str]) -> None:
        if number == 1:
            self._under_way[client_id] = _UnderWay(limit)
        listing = self._under_way.get(client_id)
        if listing is None:
            return
        if listing.limit != limit or number not in {listing.next_page - 1, listing.next_page}:
            del self._under_way[client_id]  # pages of two different listings
            return
        listing.next_page = number + 1
        listing.pages[number] = shown

    def _end(self, client_id: str) -> None:
        listing = self._under_way.pop(client_id, None)
        if listing is None:
            return
        shown = set().union(*listing.pages.values())
        for campaign in self._there(client_id):
            missing = campaign not in shown
            self._left_out[client_id, campaign] = missing * (self._left_out[client_id, campaign] + 1)
