"""A page of the documentation: its sections, what can be pasted from it, and its tables."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

# A code block, whose comments look like headings, or a heading.
_PARTS = re.compile(r"^```.*?^```$|^(?P<rank>#+) (?P<heading>[^\n]*)$", re.DOTALL | re.MULTILINE)


def read(name: str) -> str:
    """Return a page of docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def headings(page: str) -> list[re.Match[str]]:
    """Return the headings, each with its `rank` and `heading`."""
    return [part for part in _PARTS.finditer(page) if part["rank"]]


def section(page: str, heading: str) -> str:
    """Return what stands below a heading, up to the next one of its rank or a higher one."""
    found = headings(page)
    [begin] = [part for part in found if part["heading"] == heading]
    ends = (part.start() for part in found if part.start() > begin.start() and len(part["rank"]) <= len(begin["rank"]))
    return page[begin.end() : next(ends, None)]


def blocks(text: str, language: str) -> list[str]:
    """Return what stands in code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def rows(text: str, first_column: str) -> list[list[str]]:
    """Return the cells of a table, which holds no escaped bars."""
    table = re.search(rf"^\| {re.escape(first_column)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table, first_column
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[1].splitlines()]


def names(text: str, first_column: str) -> list[str]:
    """Return the names in the first column of a table."""
    return [name for cells in rows(text, first_column) for name in re.findall(r"`([^`]+)`", cells[0])]
