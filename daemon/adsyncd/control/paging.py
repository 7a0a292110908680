"""Pages of lists: the positions at which they begin, and the Link header that leads to the next page (RFC 8288)."""

import json
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from adsyncd.errors import CommandRefused

T = TypeVar("T")
TOTAL = "X-Total-Count"  # the header with the number of items of all pages
LIMIT = 100  # items of a page by default
MOST = 1000
MOST_NAMES = 10_000
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """A page of a list. `next`: the position of the next page, None on the last; `by`: the parameter that takes it.

    `body`: the whole answer, if it has more than the items. `total`: how many items all pages have, if it is known.
    """

    items: Sequence[T]
    next: str | None = None
    by: str = "after"
    body: object = None
    total: int | None = None

    def link(self, path: str, query: Mapping[str, str]) -> str | None:
        """Return the Link header of a page that was asked for with `query` at `path`, None on the last page."""
        if self.next is None:
            return None
        return f'<{path}?{urlencode({**query, self.by: self.next})}>; rel="next"'


def page_of(found: Sequence[T], limit: int, position_of: Callable[[T], str]) -> Listed[T]:
    """Return a page of `limit` items; of `found`, those from its start on, one more shows that another page follows."""
    items = found[:limit]
    return Listed(items, position_of(items[-1]) if len(found) > limit else None)


def position(*key: str | float) -> str:
    """Return the opaque text that stands for the place of an item with this sort key."""
    return urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).rstrip(b"=").decode()


def key_of(after: str, *kinds: type[str | int | float]) -> tuple[str | int | float, ...]:
    """Return the sort key in a position. Raises CommandRefused if it does not have values of these kinds."""
    try:
        key = json.loads(urlsafe_b64decode(after + "=" * (-len(after) % 4)))
    except (ValueError, RecursionError):
        key = None
    if not isinstance(key, list) or [type(part) for part in key] != list(kinds) or not all(map(_is_usable, key)):
        raise CommandRefused(
            f"no page of this list begins after {after[:60]!r}", "take `after` from the Link header of the page before"
        )
    return tuple(key)


def _is_usable(part: str | float) -> bool:
    """Return whether a database takes this value."""
    if isinstance(part, str):
        return not _UNSTORABLE.search(part)
    return math.isfinite(part) and abs(part) < _LARGEST
