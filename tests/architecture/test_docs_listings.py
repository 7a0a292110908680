"""docs/listings.md describes the table of campaigns as it is, and its query works."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from adsyncd.store import tables
from support import page
from support.migrated import sqlite_file

PAGE = page.read("listings.md")


def test_each_column_of_a_campaign_is_documented_in_its_order() -> None:
    assert page.names(PAGE, "column") == [column.name for column in tables.campaigns.columns]


def test_the_query_works_on_the_database(tmp_path: Path) -> None:
    [query] = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    file = sqlite_file(tmp_path).removeprefix("sqlite:///")
    row = "'acme', ?, 'active', ?, 'EUR', '{}', 'h', 0, ?"
    with closing(sqlite3.connect(file)) as database:
        database.executemany(
            "INSERT INTO campaigns (tenant, campaign_id, status, budget, currency, payload, content_hash, failures, "
            f"deleted_at) VALUES ({row})",
            [("c1", 10.5, None), ("c2", 20.0, None), ("c3", 40.0, "2026-01-02 03:04:05.000000")],
        )
        assert database.execute(query).fetchall() == [("acme", "EUR", 2, 30.5)]
