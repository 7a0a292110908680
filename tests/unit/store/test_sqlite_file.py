import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from adsyncd.errors import StoreError
from adsyncd.store import sqlite_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "adsyncd.db"


@pytest.fixture
def writer(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection that has written 1, to the log alone."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (1)")
        yield connection


def copied(writer: sqlite3.Connection, file: Path, *suffixes: str) -> Path:
    """Return a copy as a crash or a careless backup leaves it."""
    writer.execute("SELECT 1")
    folder = file.parent / "copy"
    folder.mkdir()
    for suffix in suffixes:
        shutil.copy(f"{file}{suffix}", folder)
    return folder / file.name


def closed(writer: sqlite3.Connection, file: Path) -> Path:
    writer.close()
    return file


def journaled_otherwise(writer: sqlite3.Connection, file: Path) -> Path:
    writer.execute("PRAGMA journal_mode=DELETE")
    return closed(writer, file)


STATES: dict[str, Callable[[sqlite3.Connection, Path], Path]] = {
    "in use": lambda _, file: file,
    "closed": closed,
    "journaled otherwise": journaled_otherwise,
    "after a crash": lambda writer, file: copied(writer, file, "", "-wal", "-shm"),
    "without its index": lambda writer, file: copied(writer, file, "", "-wal"),
}


@pytest.mark.parametrize("state", STATES)
def test_a_reader_sees_all_and_makes_and_changes_no_file(writer: sqlite3.Connection, file: Path, state: str) -> None:
    place = STATES[state](writer, file)
    before = {path: path.stat().st_mtime_ns for path in place.parent.iterdir() if not path.name.endswith("-shm")}
    connection, still = sqlite_file.connect_to_read(place, 1)
    with closing(connection):
        assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
        with pytest.raises(sqlite3.OperationalError):
            connection.execute("INSERT INTO t VALUES (2)")
        assert still()
    assert {path: path.stat().st_mtime_ns for path in place.parent.iterdir() if path in before} == before


def test_what_was_read_beside_a_daemon_that_started_meanwhile_is_not_relied_on(
    writer: sqlite3.Connection, file: Path
) -> None:
    writer.close()
    connection, still = sqlite_file.connect_to_read(file, 1)
    with closing(sqlite3.connect(file)) as daemon:
        daemon.execute("INSERT INTO t VALUES (2)")
        daemon.commit()
        assert still()  # it is in the log
        daemon.execute("PRAGMA wal_checkpoint")
        assert not still()
    connection.close()


@pytest.mark.usefixtures("writer")
def test_a_link_leads_to_the_side_files_too(file: Path) -> None:
    link = file.with_name("link.db")
    link.symlink_to(file)
    connection, _ = sqlite_file.connect_to_read(link, 1)
    with closing(connection):
        assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]


def test_what_is_no_readable_file_is_named_with_its_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"none\.db: there is no database; the daemon makes it at its first start"):
        sqlite_file.connect_to_read(tmp_path / "none.db", 1)
    with pytest.raises(StoreError, match="it can't be read: Is a directory"):
        sqlite_file.connect_to_read(tmp_path, 1)

    def refuse(_path: Path) -> os.stat_result:  # these tests may run as root, which may read everything
        raise PermissionError

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(StoreError, match="this user may not read it; run this as the daemon's user"):
        sqlite_file.connect_to_read(tmp_path / "adsyncd.db", 1)


USE = """
import sqlite3, sys
used = sqlite3.connect(sys.argv[1], isolation_level=None)
used.execute("PRAGMA journal_mode=WAL")
used.execute("CREATE TABLE t (x)")
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def in_use(file: Path) -> Iterator[int]:
    """Have another process use the database, and yield its id."""
    command = [sys.executable, "-c", USE, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


@pytest.mark.parametrize("replaced", [False, True])
def test_while_a_process_uses_a_file_that_was_there_before_no_other_is_made_or_read(file: Path, replaced: bool) -> None:
    away = file.with_name("away.db")
    with in_use(file) as process:
        sqlite_file.make_private(file)
        file.rename(away)
        if replaced:
            shutil.copy(away, file)
        said = f"process {process} still uses another file that was here; end it, or put its file back"
        with pytest.raises(StoreError, match=said):
            sqlite_file.make_private(file)
        with pytest.raises(StoreError, match=said):
            sqlite_file.connect_to_read(file, 1)
        assert file.exists() == replaced
    sqlite_file.make_private(file)


def test_what_is_no_writable_file_is_named_with_its_fix(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match=rf"there is no directory {tmp_path}/none; make it, or change store\.url"):
        sqlite_file.make_private(tmp_path / "none" / "adsyncd.db")
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "adsyncd.db"
    with pytest.raises(StoreError, match=f"{below}: it can't be created or written: Not a directory"):
        sqlite_file.make_private(below)

    def refuse(_path: Path, **_how: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(StoreError, match="this user may not write it; run this as the daemon's user"):
        sqlite_file.make_private(file)


def test_a_file_that_root_makes_goes_to_its_folder_s_owner(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Path, int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *to: given.append(to))
    sqlite_file.make_private(file)
    sqlite_file.make_private(file)  # one that is there keeps its owner
    assert given == [(file, file.parent.stat().st_uid, file.parent.stat().st_gid)]
