"""How SQLite answers the queries of a block: by which index, or by scanning which table."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event

from adsyncd.store import Store, tables


@contextmanager
def scans(store: Store) -> Iterator[set[str]]:
    """Yield what the queries of a block scan: a table, or the whole of an index. It is complete after the block."""
    found = set[str]()
    with steps(store) as taken:
        yield found
    scanned = (step.removeprefix("SCAN ") for step in taken if step.startswith("SCAN"))
    found |= {step for step in scanned if step.split()[0] in tables.metadata.tables}


@contextmanager
def steps(store: Store) -> Iterator[set[str]]:
    """Yield the steps by which SQLite answers the queries of a block. They are complete after the block."""
    found = set[str]()

    def explain(connection: Connection, _cursor: object, statement: str, parameters: Any, *_more: object) -> None:  # noqa: ANN401 - a driver's
        cursor = connection.connection.cursor()
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        found.update(step for *_, step in cursor.fetchall())
        cursor.close()

    event.listen(store._engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(store._engine, "before_cursor_execute", explain)
