"""Where one listing stands, as far as this process has seen it: what to ask for next, and whether more follows.

    page N ──► ask: its number, offset, cursor or link ──► its answer ──► more follows? ──► next: leads to page N + 1

A short page ends nothing: platforms cap their pages. What leads to the next page comes from the platform, so it is
checked before it is sent back: it is bounded, no secret, and new; and a link leads where the request went.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import unquote

import httpx

from adsyncd.errors import ListingError
from adsyncd.model.campaign import Page
from adsyncd.model.profile import PagingKind, Profile
from adsyncd.platforms.reading import Listed
from adsyncd.platforms.wire import unlike_the_api

_LONGEST = 4096  # characters of a cursor or link
_LINK = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?"
)
_AUTHORITY = re.compile(r"(?P<host>[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?", re.ASCII)
_UNSENDABLE = re.compile(r"[^!-~]|[\\#]")  # in an address; what follows a # never leaves
_PORTS = {"http": 80, "https": 443}
_LAST = "without it no page follows"


@dataclass(frozen=True, slots=True)
class Ask:
    """How a page is asked for. `value`: of the paging's parameter; `query`: in place of the first page's."""

    value: str | None = None
    query: str | None = None


class Pages:
    """The pages of one listing at a time. A listing begins with page 1, or is resumed at a later one.

    `page_size`: how many campaigns a page is asked to have.
    """

    def __init__(self, profile: Profile, page_size: int) -> None:
        self._paging = paging = profile.listing.paging
        self._volatile = profile.volatile
        self._page_size = page_size if paging.size is not None else None
        self._asked = set[bytes]()  # digests of the cursors and links
        self._whole_up_to = 0  # the last of the pages that were listed in a row from page 1 on
        self._listed = 0  # items on them
        self._offset = 0

    def ask(self, number: int, cursor: str | None, path: str) -> Ask:
        """Return how to ask for page `number`, from 1. `cursor`: the `next` of the page before; `path`: the listing's.

        Raises `ListingError` if the page can't be asked for.
        """
        if number == 1:
            self._asked.clear()
            self._whole_up_to = self._listed = self._offset = 0
        kind = self._paging.kind
        if kind is PagingKind.NONE:
            return Ask()
        if kind is PagingKind.NUMBER:
            return Ask(str(self._paging.first + number - 1))
        if number > 1 and not cursor:
            raise ListingError(f"page {number} can't be asked for without the page before")
        if kind is PagingKind.OFFSET:
            self._offset = 0 if number == 1 else _offset(cursor)
            return Ask(str(self._offset))
        if number == 1 or cursor is None:
            return Ask()
        self._asked.add(_digest(cursor))
        if kind is PagingKind.CURSOR:
            return Ask(cursor)
        at, _, query = cursor.partition("?")
        if at != path or _UNSENDABLE.search(query):
            raise ListingError("the link to the next page is not one of this listing")
        return Ask(query=query)

    def page(self, number: int, listed: Listed, url: httpx.URL, is_secret: Callable[[str], bool]) -> Page:
        """Return page `number`, whose request went to `url`.

        Raises `ListingError` if what leads to the next page can't be used, and `BadAnswer` if nothing tells whether one
        follows.
        """
        has_more, following = self._following(number, listed, url, is_secret)
        self._add(number, listed.items)
        # Some platforms name as the total how many campaigns are on the page.
        belied = has_more and listed.total is not None and listed.total <= listed.items
        return Page(
            number,
            listed.campaigns,
            None if belied else listed.total,
            has_more,
            odd=listed.odd,
            lacking=listed.lacking,
            next=following,
            volatile=self._volatile,
        )

    def unchanged(self, page: Page) -> None:
        """Note that a page is as it is known."""
        self._add(page.number, len(page.campaigns))

    def _add(self, number: int, items: int) -> None:
        if number == self._whole_up_to + 1:
            self._whole_up_to = number
            self._listed += items

    def _following(
        self, number: int, listed: Listed, url: httpx.URL, is_secret: Callable[[str], bool]
    ) -> tuple[bool, str | None]:
        """Return whether another page follows, and what leads to it if its number does not."""
        match self._paging.kind:
            case PagingKind.NONE:
                if listed.has_more:
                    raise ListingError(f'{self._paging.has_more} says that more follows, but paging is of kind "none"')
                return False, None
            case PagingKind.NUMBER:
                return self._more(number, listed, number * listed.items), None
            case PagingKind.OFFSET:
                reached = self._offset + listed.items
                more = listed.items > 0 and self._more(number, listed, reached)
                return more, str(reached) if more else None
            case PagingKind.CURSOR:
                following = self._text(listed.next)
            case PagingKind.LINK:
                self._asked.add(_digest(url.raw_path.decode("ascii")))
                link = self._text(listed.next)
                following = None if link is None else self._target(link, url, is_secret)
        if following is None:
            return False, None
        if is_secret(following):
            raise ListingError(f"{self._paging.next} repeats a secret, which must not be sent in an address or stored")
        if _digest(following) in self._asked:
            raise ListingError(f"{self._paging.next} of page {number} leads back to a page that was listed before")
        return True, following

    def _more(self, number: int, listed: Listed, reached: int) -> bool:
        """Return whether more follows, where no cursor tells. `reached`: how many campaigns the pages so far hold."""
        if self._paging.has_more is not None:
            if listed.has_more is not None:
                return listed.has_more
            if listed.total is None:
                problem = "is not a boolean, and no total tells where the listing ends"
                raise unlike_the_api(f"{self._paging.has_more}: {problem}")
            return listed.items > 0 and reached < listed.total
        if listed.items == 0:
            return False
        is_short = self._page_size is not None and listed.items < self._page_size
        in_a_row = self._whole_up_to == number - 1
        has_all = in_a_row and listed.total is not None and self._listed + listed.items >= listed.total
        return not (is_short and has_all)

    def _text(self, value: object) -> str | None:
        """Return a cursor or link as text, or None if the platform names none."""
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise ListingError(f"{self._paging.next} is neither text nor a whole number; {_LAST}")
        if len(value) > _LONGEST or not value.isprintable():
            raise ListingError(f"{self._paging.next} is longer than {_LONGEST} characters, or holds unprintable ones")
        return value

    def _target(self, link: str, url: httpx.URL, is_secret: Callable[[str], bool]) -> str:
        """Return path and query of a link that leads where the request to `url` went. Raises `ListingError`."""
        parts = None if _UNSENDABLE.search(link) else _LINK.fullmatch(link)
        where = url.raw_path.decode("ascii").partition("?")[0]
        if parts is None or not _same_server(parts["scheme"], parts["authority"], url):
            raise ListingError(f"{self._paging.next} is no link to the server that was asked, so it is not followed")
        path = parts["path"]
        if path and not path.startswith("/") and parts["authority"] is None:
            path = where[: where.rindex("/") + 1] + path
        if (path or parts["authority"] is not None) and _segments(path) != _segments(where):
            raise ListingError(
                f"{self._paging.next} is a link to another path than the listing's, so it is not followed"
            )
        if is_secret(link):
            raise ListingError(
                f'{self._paging.next} is a link that repeats a secret; write kind = "cursor", with the cursor alone'
            )
        return where if parts["query"] is None else f"{where}?{parts['query']}"


def _offset(cursor: str | None) -> int:
    if cursor is None or not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= len(str(2**63))):
        raise ListingError("the offset of the next page is no number")
    return int(cursor)


def _same_server(scheme: str | None, authority: str | None, url: httpx.URL) -> bool:
    """Whether an address with these parts is on the server of `url`. Without parts it is."""
    if scheme is not None and (scheme.lower() != url.scheme or authority is None):
        return False
    if authority is None:
        return True
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return False
    host, _, _ = url.netloc.decode("ascii").rpartition(":") if url.port else (url.netloc.decode("ascii"), "", "")
    usual = _PORTS[url.scheme]
    return found["host"].lower() == host.lower() and int(found["port"] or usual) == (url.port or usual)


def _segments(path: str) -> list[str]:
    return [unquote(segment) for segment in path.split("/")]


def _digest(cursor: str) -> bytes:
    return blake2b(cursor.encode(), digest_size=16).digest()
