"""Database files with pages that a broken disk would leave."""

from pathlib import Path

_HEAD = 100  # bytes of the file's header, by which it is known as a database


def damage(file: Path, *pages: int) -> None:
    """Overwrite these pages of an SQLite file in place, or all but the first one, as a broken disk would.

    Pages of the write-ahead log, if there is one, stay.
    """
    content = bytearray(file.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    for page in pages or range(1, len(content) // size):
        start = page * size + (0 if page else _HEAD)
        content[start : (page + 1) * size] = b"\xff" * ((page + 1) * size - start)
    with file.open("r+b") as opened:
        opened.write(content)
