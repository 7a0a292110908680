"""docs/data.md describes the view and the tables as they are, and its query works."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adsyncd.store import schema, tables
from support import page
from support.migrated import sqlite_file

PAGE = page.read("data.md")
READABLE = re.findall(r"^\| column of `(\w+)` \|", PAGE, re.MULTILINE)
VIEW = page.rows(page.section(PAGE, "The view campaigns_current"), "column")


def database_in(folder: Path) -> str:
    return sqlite_file(folder).removeprefix("sqlite:///")


@pytest.mark.parametrize("table", READABLE)
def test_each_column_of_a_table_that_may_be_read_is_documented_once(table: str) -> None:
    documented = page.names(page.section(PAGE, table), f"column of `{table}`")
    assert sorted(documented) == sorted(column.name for column in tables.metadata.tables[table].columns)


def test_every_table_may_be_read_or_is_private() -> None:
    private = page.names(PAGE, "private table")
    assert sorted([*READABLE, *private]) == sorted([*tables.metadata.tables, "alembic_version"])


def test_each_column_of_the_view_is_documented_in_its_order(tmp_path: Path) -> None:
    with closing(sqlite3.connect(database_in(tmp_path))) as database:
        columns = [name for (_, name, *_) in database.execute("PRAGMA table_info(campaigns_current)")]
    assert [name.strip("`") for name, *_ in VIEW] == columns


def test_the_query_works_on_the_database(tmp_path: Path) -> None:
    [query] = page.blocks(page.section(PAGE, "The view campaigns_current"), "sql")
    row = "'acme', ?, 'active', ?, 'EUR', '{}', 'h', 0, ?"
    with closing(sqlite3.connect(database_in(tmp_path))) as database:
        database.executemany(
            "INSERT INTO campaigns (tenant, campaign_id, status, budget, currency, payload, content_hash, failures, "
            f"deleted_at) VALUES ({row})",
            [("c1", 10.5, None), ("c2", 20.0, None), ("c3", 40.0, "2026-01-02 03:04:05.000000")],
        )
        assert database.execute(query).fetchall() == [("acme", "EUR", 2, 30.5)]


def test_the_schema_with_the_view_is_named() -> None:
    [file] = Path(schema.__file__).with_name("migrations").glob("versions/*_campaigns_current.py")
    assert f"(schema {file.name.partition('_')[0]})" in PAGE
