"""Tables that may have thousands of rows. Rich measures, wraps and pads each cell on its own: a millisecond a row."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text


class Rows(Table):
    """A table without a frame. Where every cell fits on its line, its rows are put together here, and look the same."""

    def __init__(self) -> None:
        super().__init__(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        columns = [self._texts(console, column) for column in self.columns]
        widths = [max((cell_len(cell.plain) for cell in column), default=0) for column in columns]
        if self._is_plain(columns) and all(widths) and sum(widths) + len(widths) - 1 <= options.max_width:
            rights = [column.justify == "right" for column in self.columns]
            for number, row in enumerate(zip(*columns, strict=True)):
                head = console.get_style(self.header_style) if self.show_header and not number else None
                for place, (cell, width, right) in enumerate(zip(row, widths, rights, strict=True)):
                    if place:
                        yield Segment(" ", head)
                    style = console.get_style(cell.style) if cell.style else head
                    text = cell.plain.rstrip() if right else cell.plain
                    padding = " " * (width - cell_len(text))
                    yield Segment(padding + text if right else text + padding, style)
                yield Segment.line()
        else:
            yield from super().__rich_console__(console, options)

    def _texts(self, console: Console, column: Column) -> list[Text]:
        head = [column.header] if self.show_header else []
        return [each if isinstance(each, Text) else console.render_str(str(each)) for each in [*head, *column.cells]]

    def _is_plain(self, columns: Sequence[Sequence[Text]]) -> bool:
        styled = any(column.style for column in self.columns)
        return not styled and not any("\n" in cell.plain or cell.spans for column in columns for cell in column)
