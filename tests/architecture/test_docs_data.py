"""docs/data.md describes the view and the tables as they are, and its query works."""

import re
import sqlite3
from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adsyncd.cli import campaigns as cli_campaigns
from adsyncd.store import schema, tables
from adsyncd.store.stored_campaigns import StoredCampaign
from support import page
from support.migrated import sqlite_file
from support.zone import in_zone

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


def test_the_example_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def stored(campaign_id: str, name: str, budget: float | None = None, **more: object) -> StoredCampaign:
        values = dict.fromkeys(field.name for field in fields(StoredCampaign))
        values |= {"campaign_id": campaign_id, "name": name, "status": "active", "budget": budget, "currency": "EUR"}
        return StoredCampaign(**{**values, **more})  # type: ignore[arg-type]  # as they are named

    with in_zone("Europe/Berlin"):
        cli_campaigns._print_table(
            [
                stored("cmp-0001", "Spring sale", 100.5, synced_at=noon),
                stored("cmp-0002", "Brand", 80, dead_since=noon),
                stored(
                    *("cmp-0003", "Retargeting"),
                    status="paused",
                    synced_at=datetime(2026, 11, 24, 9, tzinfo=UTC),
                    missing_since=noon,
                ),
            ]
        )
    [example] = re.findall(r"^\$ adsyncd campaigns acme[^\n]*\n(.*?)^and 37 more", PAGE, re.DOTALL | re.MULTILINE)
    said = capsys.readouterr().out
    assert [line.split() for line in example.splitlines()] == [line.split() for line in said.splitlines()]


def test_what_json_has_beside_the_view_is_named() -> None:
    text = page.section(PAGE, "adsyncd campaigns")
    columns = {name for name, *_ in VIEW}
    for name in {*cli_campaigns.COLUMNS, "payload"}:
        assert f"`{name}`" in text or f"`{name}`" in columns
