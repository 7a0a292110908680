"""What trials measured, kept by `make soak`: in docs/reliability.json, and as the table of docs/reliability.md."""

import json
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

_DOCS = Path(__file__).parents[2] / "docs"
PAGE, RESULTS = _DOCS / "reliability.md", _DOCS / "reliability.json"
_MARK = "<!-- From here on `make soak` writes. -->\n"
_HEAD = """
| where | fault | trials | pushes | lost | doubled | refused for quota |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """All trials of one fault, `where`: `process` or `simulator`. `pushes` took effect; the last three are to be 0."""

    where: str
    fault: str
    trials: int
    pushes: int
    lost: int
    doubled: int
    refused: int


def results() -> list[Row]:
    """Return what was kept last."""
    return [Row(**row) for row in json.loads(RESULTS.read_text())] if RESULTS.exists() else []


def keep(where: str, rows: Iterable[Row]) -> None:
    """Keep `rows` in the place of what was kept from there before, and bring the table up to date."""
    both = [row for row in results() if row.where != where] + list(rows)
    both.sort(key=lambda row: row.where)
    RESULTS.write_text(json.dumps([asdict(row) for row in both], indent=2) + "\n")
    PAGE.write_text(page(both))


def page(rows: Iterable[Row]) -> str:
    """Return the page as it is, but with the table of `rows`."""
    lines = [f"| {' | '.join(map(str, astuple(row)))} |\n" for row in rows]
    return PAGE.read_text().partition(_MARK)[0] + _MARK + _HEAD + "".join(lines)
