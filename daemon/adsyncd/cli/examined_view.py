"""What one page of a listing shows of a profile, on the terminal."""

from adsyncd.cli.output import new_console, new_table, print_line, styled
from adsyncd.model.profile import Profile
from adsyncd.platforms.probe import Examined


def print_examined(examined: Examined, profile: Profile) -> None:
    """Print what a page shows of a profile: its records, its next page, a table of columns, and what they lack."""
    print_line(f"records: {examined.records} at {profile.listing.records or 'the top'}")
    print_line(f"next page: {examined.next or 'none'}")
    print_line(f"total: {'not stated' if examined.total is None else examined.total}")
    if not examined.columns:
        print_line("without a record, the fields can't be checked")
        return
    table = new_table()
    for name in ("column", "path", "records", "value", "read as"):
        table.add_column(name, overflow="fold")
    for one in examined.columns:
        nothing = styled("nothing", "red")
        table.add_row(
            one.column,
            one.path or ", ".join(one.paths),
            f"{one.records} of {examined.records}",
            one.value or nothing,
            nothing if one.read_as is None else one.read_as,
        )
    new_console().print(table)
    for one in examined.columns:
        if not one.records:
            print_line(f"{one.column}: nothing there; a record has {', '.join(one.beside) or 'nothing'}")
    for words in examined.odd:
        print_line(f"odd: {words}")
