import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style
from rich.table import Table

from adsyncd.cli.output import Terminal, styled
from adsyncd.cli.table import Rows

WORDS = st.text(st.sampled_from("ab 7/é日[]\x1b\n"), max_size=9)
CELLS = st.one_of(WORDS, st.builds(styled, WORDS, st.sampled_from(["green", "dim", "red"])))
COLUMNS = st.lists(st.tuples(WORDS, st.sampled_from(["left", "right"]), st.booleans()), min_size=1, max_size=5)


def drawn(table: Table, width: int, *, soft: bool) -> tuple[str, list[tuple[str, Style | None]]]:
    """Return what is printed, and in which styles."""
    console = Terminal(width=width)
    console.file = io.StringIO()
    console.print(table, soft_wrap=soft)
    return console.file.getvalue(), [(segment.text, segment.style or None) for segment in console.render(table)]


@given(data=st.data(), width=st.integers(10, 60), head=st.booleans(), soft=st.booleans())
def test_a_table_looks_as_rich_draws_it(data: st.DataObject, width: int, head: bool, soft: bool) -> None:
    columns = data.draw(COLUMNS)
    rows = data.draw(st.lists(st.lists(CELLS, min_size=len(columns), max_size=len(columns)), max_size=4))
    ours, theirs = Rows(), Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for table in (ours, theirs):
        table.show_header = head
        for name, justify, no_wrap in columns:
            table.add_column(name, justify=justify, no_wrap=no_wrap)  # type: ignore[arg-type]  # one of two
        for row in rows:
            table.add_row(*row)
    assert drawn(ours, width, soft=soft) == drawn(theirs, width, soft=soft)


@pytest.mark.parametrize("name", ["a", "a-name-that-is-longer-than-the-terminal-is-wide"])
def test_rich_draws_a_table_that_does_not_fit_and_no_other(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(*_arguments: object) -> list[str]:
        asked.append(name)
        return []

    monkeypatch.setattr(Table, "__rich_console__", ask)
    table = Rows()
    table.add_column("tenant")
    table.add_row(name)
    drawn(table, 20, soft=False)
    assert bool(asked) == (len(name) > 20)
