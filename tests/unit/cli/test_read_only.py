"""Commands that read leave the database as it is, and say what is missing."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adsyncd.store import Store, schema, sql
from support.commands import Call, Shell, add_tenant
from support.migrated import in_store, sqlite_file
from support.records import bury, run

LOOKS = [
    ("runs",),
    ("runs", "show", run().run_id),
    ("dead-letters", "list"),
    ("dead-letters", "show", "acme", "c1"),
    ("dead-letters", "replay", "--all", "--dry-run"),
    ("dead-letters", "discard", "--all", "--dry-run"),
    ("campaigns", "acme"),
    ("campaigns", "acme", "--csv"),
    ("plan",),
    ("simulate", "--hours", "0.1", "--healthy"),
    ("check", "--store"),
]
# What changes dead letters and tenants makes and migrates no database for it, either.
CHANGES = [
    ("dead-letters", "replay", "--all"),
    ("dead-letters", "discard", "--all"),
    ("forget", "globex", "--yes"),
    ("rename", "globex", "apex"),
]
looks = pytest.mark.parametrize("command", LOOKS, ids=" ".join)
all_of_them = pytest.mark.parametrize("command", [*LOOKS, *CHANGES], ids=" ".join)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The database's own folder."""
    (tmp_path / "database").mkdir()
    return tmp_path / "database"


@pytest.fixture
def url(folder: Path) -> str:
    return f"sqlite:///{folder}/adsyncd.db"


@pytest.fixture
def call(shell: Shell, url: str) -> Call:
    add_tenant(shell.folder, "acme", 'schedule = { every = "1h" }\n')
    shell.environ(ADSYNCD_STORE__URL=url)
    return shell.call


async def one_dies(store: Store) -> None:
    await bury(store, "acme", "c1")


def traces(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in folder.iterdir():
        about = path.stat()
        content = path.read_bytes() if not path.name.endswith("-shm") else b""  # where readers note what they read
        found[path.name] = (about.st_ino, about.st_uid, about.st_mode, about.st_mtime_ns if content else 0, content)
    return found


def seen_without_a_trace(call: Call, folder: Path, command: list[str]) -> list[str]:
    """Look at the database, and return the files that there are."""
    before = traces(folder)
    said = call(*command)
    assert (said.code, "is unknown" in said.err) == (0, False), said
    assert traces(folder) == before
    return sorted(before)


@looks
def test_a_look_at_a_database_that_nobody_uses_leaves_no_trace(call: Call, folder: Path, command: list[str]) -> None:
    sqlite_file(folder, one_dies)
    assert seen_without_a_trace(call, folder, command) == ["adsyncd.db"]


@looks
def test_a_look_at_a_database_in_use_leaves_no_trace(call: Call, folder: Path, command: list[str]) -> None:
    sqlite_file(folder, one_dies)
    with closing(sqlite3.connect(folder / "adsyncd.db", isolation_level=None)) as daemon:
        daemon.execute("INSERT INTO pauses VALUES ('acme', '2026-11-25 12:00:00')")
        daemon.execute("BEGIN IMMEDIATE")  # it writes right now
        files = seen_without_a_trace(call, folder, command)
    assert files == ["adsyncd.db", "adsyncd.db-shm", "adsyncd.db-wal"]


@looks
def test_a_look_at_what_a_crash_or_a_copy_left_leaves_no_trace(
    call: Call, folder: Path, command: list[str], tmp_path: Path
) -> None:
    """All that was written last is in the log, and its index was not copied."""
    url = sqlite_file(tmp_path)
    with closing(sqlite3.connect(tmp_path / "adsyncd.db")) as daemon:
        daemon.execute("PRAGMA schema_version")  # while it reads, nothing moves from the log to the file
        in_store(url, one_dies)
        for file in ("adsyncd.db", "adsyncd.db-wal"):
            shutil.copy(tmp_path / file, folder)
    assert seen_without_a_trace(call, folder, command) == ["adsyncd.db", "adsyncd.db-wal"]


@all_of_them
def test_a_database_that_is_not_there_is_not_made_but_named(call: Call, folder: Path, command: list[str]) -> None:
    said = call(*command)
    assert "there is no database; " in said.out + said.err
    assert str(folder / "adsyncd.db") in said.out + said.err
    assert said.code == (0 if command[0] in {"plan", "simulate"} else 1)
    assert list(folder.iterdir()) == []


@all_of_them
@pytest.mark.parametrize(
    ("revision", "words"),
    [(None, "it holds no schema of adsyncd"), ("0001", "0001"), ("9999", "a newer adsyncd made its schema 9999")],
    ids=["somebody else's", "older", "newer"],
)
def test_a_database_of_another_kind_is_left_as_it_is_and_named(
    call: Call, url: str, folder: Path, command: list[str], revision: str | None, words: str
) -> None:
    if revision == "9999":
        sqlite_file(folder)
    engine = sql.engine(url, connections=1).execution_options(writes=True)
    with engine.begin() as connection:
        if revision is None:
            connection.exec_driver_sql("CREATE TABLE theirs (x)")
        elif revision == "9999":
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        else:
            schema.upgrade(connection, revision)
    engine.dispose()
    before = traces(folder)
    said = call(*command)
    assert words in said.out + said.err
    assert traces(folder) == before
