"""The pages of a list that lead to the present one, in the address: next and previous pages without counting rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode

from adsyncd.control.page.words import number

_BETWEEN = "~"
ROWS = 100
_LONGEST = 8000  # characters of an address


@dataclass(frozen=True, slots=True)
class Pager:
    """Where a page lies in its list. The links are empty where there is no such page."""

    words: str
    previous: str
    next: str


@dataclass(frozen=True, slots=True)
class Trail:
    """The cursors of the pages after the first one, up to the present page."""

    cursors: Sequence[str] = ()

    @property
    def after(self) -> str | None:
        """The cursor of the present page; None for the first one."""
        return self.cursors[-1] if self.cursors else None

    def pager(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        shown: int,
        total: int | None,
        following: str | None,
        rows: int = ROWS,
    ) -> Pager | None:
        """Return the links to the pages before and after this one; None if all rows are on one page.

        `query`: the other parameters of the address; `following`: the cursor of the next page; `rows`: of a full page.
        """
        if not self.cursors and following is None:
            return None
        before = len(self.cursors) * rows
        of = "" if total is None else f" of {number(total)}"
        words = f"{number(before + min(1, shown))} to {number(before + shown)}{of}"
        previous = address(path, {**query, "after": _joined(self.cursors[:-1])}) if self.cursors else ""
        joined = _joined([*self.cursors, following]) if following is not None else ""
        return Pager(words, previous, address(path, {**query, "after": joined}) if 0 < len(joined) < _LONGEST else "")


FIRST = Trail()


def trail(after: str) -> Trail:
    """Read the trail from the parameter `after` of an address."""
    return Trail(tuple(unquote(one) for one in after[:_LONGEST].split(_BETWEEN) if one))


def _joined(cursors: Sequence[str]) -> str:
    """Join cursors. They may be another party's ids, so they are quoted."""
    return _BETWEEN.join(quote(one, safe="").replace(_BETWEEN, "%7E") for one in cursors)


def address(path: str, query: Mapping[str, str]) -> str:
    """Return a path with the parameters that are not empty."""
    kept = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(kept)}" if kept else path
