"""How other APIs page: the part of a listing that a request asks for, and what its answer says leads to the next."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from mock_api.description import ListTable, PagingKind

CURSOR_PARAM = "next_token"
"""The parameter in links, which are addresses that a client takes as they are."""


class BadPage(ValueError):
    """A page that can't be asked for like this; its text says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A part of a listing: `size` campaigns after the `first` ones; `number` is the page's, if pages have one."""

    first: int
    size: int


def asked(listing: ListTable, sent: Mapping[str, JsonValue], own_size: int, cursors: "Cursors") -> Asked:
    """Return the part that a request with these parameters asks for, which has `own_size` campaigns if that is not 0.

    Raises BadPage.
    """
    paging, (least, most) = listing.paging, listing.page_size
    size = min(most, _whole(sent, paging.size, most, least)) if paging.size else most
    size = own_size or size
    match paging.kind:
        case PagingKind.NUMBER:
            return Asked((_whole(sent, paging.param, paging.first, paging.first) - paging.first) * size, size)
        case PagingKind.OFFSET:
            return Asked(_whole(sent, paging.param, 0, 0), size)
        case PagingKind.CURSOR | PagingKind.LINK:
            cursor = sent.get((paging.kind is PagingKind.CURSOR and paging.param) or CURSOR_PARAM)
            return Asked(0 if cursor in {None, ""} else cursors.first(str(cursor)), size)
    return Asked(0, size)


@dataclass(frozen=True, slots=True)
class Cursors:
    """The cursors of one client id: opaque, good for it alone and, unless `lifetime_s` is 0, for so long."""

    secret: str
    now: float
    lifetime_s: float

    def cursor(self, first: int) -> str:
        """Return the cursor to the campaigns after the `first` ones."""
        content = f"{first}/{self.now if self.lifetime_s else 0:.3f}"
        return base64.urlsafe_b64encode(f"{content}/{self._seal(content)}".encode()).decode().rstrip("=")

    def first(self, cursor: str) -> int:
        """Return the number of campaigns in front of those that a cursor leads to. Raises BadPage."""
        try:
            text = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
        except (binascii.Error, UnicodeError):
            text = ""
        content, _, seal = text.rpartition("/")
        if not content or seal != self._seal(content):
            raise BadPage("the cursor is not valid")
        first, _, issued = content.partition("/")
        if self.lifetime_s and float(issued) + self.lifetime_s <= self.now:
            raise BadPage("the cursor has expired")
        return int(first)

    def _seal(self, content: str) -> str:
        return hashlib.sha256(f"{self.secret}/{content}".encode()).hexdigest()[:12]


def _whole(sent: Mapping[str, JsonValue], name: str | None, usual: int, least: int) -> int:
    value = sent.get(name or "", usual)
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise BadPage(f"{name} must be a whole number from {least}")
    return number
