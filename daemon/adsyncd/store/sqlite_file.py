"""The file of an SQLite database: how it is created, copied, and read without changing anything."""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from adsyncd.errors import StoreError

_ASK_AGAIN_S = 0.01  # retry interval where SQLite does not wait for a lock
_LOOKS = 5
RESTORE = "stop the daemon and restore a backup, as in docs/operate.md#backup-and-restore"
_WRITE_AHEAD = b"\x02\x02"  # in the header of a file in WAL mode


def make_private(file: Path) -> None:
    """Create the file, readable only by its owner; SQLite creates its side files with the same mode and owner.

    A file created by root gets the owner of its folder, so that the daemon can open it.

    Raises StoreError if that fails, or while another process uses a file that was at this path before.
    """
    _see_that_nobody_uses_another(file)
    try:
        try:
            file.touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            file.touch()  # fails for a user without write access
        else:
            if os.geteuid() == 0:
                folder = file.parent.stat()
                os.chown(file, folder.st_uid, folder.st_gid)
    except FileNotFoundError as error:
        raise StoreError(f"{file}: there is no directory {file.parent}; make it, or change store.url") from error
    except PermissionError as error:
        raise StoreError(f"{file}: this user may not write it; run this as the daemon's user") from error
    except OSError as error:
        raise StoreError(f"{file}: it can't be created or written: {error.strerror}") from error


def configure(engine: Engine, patience_s: float) -> None:
    """Set up each connection of an engine: WAL, waiting for locks, durable commits, checks of the file.

    synchronous=FULL: a commit survives a power cut. NORMAL survives only kill -9 and saves one fsync a transaction;
    since one transaction carries all waiting writes, that is not worth losing the record of a push.

    SQLite continues to write to a file that was deleted or replaced, and the data is lost. Each transaction therefore
    checks the files at its begin and its commit. Once the file is put back, transactions succeed again.
    """
    file = Path(str(engine.url.database))
    log = _beside(file, "-wal")
    ours, used, emptied = _identity(file), False, False

    def see_that_it_is_there(*_arguments: object) -> None:
        nonlocal emptied
        if _identity(file) != ours:
            raise _missing("it was deleted or replaced while adsyncd used it; put it back, or restart adsyncd")
        emptied = emptied or (used and not _size(file))
        if emptied:  # permanently: a later file does not fit the log
            raise _missing(f"it was emptied while adsyncd used it; {RESTORE}")

    event.listen(engine, "do_connect", see_that_it_is_there)  # otherwise SQLite would create a new file

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        nonlocal used
        connection.isolation_level = None  # BEGIN is sent below
        _write_ahead(connection, patience_s)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA schema_version").close()  # opens the log
        entry.info["log"] = _identity(log)
        used = True

    @event.listens_for(engine, "close")
    def close(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
        # SQLite would leave our log beside the file that has the name now, and the next start would mix the two.
        if _identity(file) != ours and _identity(log) == entry.info.get("log"):
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    @event.listens_for(engine, "commit")
    def see_all(connection: Connection) -> None:
        see_that_it_is_there()
        if _identity(log) != connection.info["log"]:
            raise _missing("its write-ahead log was deleted or replaced while adsyncd used it; restart adsyncd")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        see_all(connection)
        _begin(connection)


def connect_to_read(file: Path, patience_s: float) -> tuple[sqlite3.Connection, Callable[[], bool]]:
    """Connect to a database without creating or changing a file, not even one of SQLite's side files.

    Also returns a function that tells whether the data read so far is consistent: a file that no process had open is
    read without locks, and a daemon that starts in the meantime may write to it. Raises StoreError if the file can't be
    read.
    """
    file, log, index = file.resolve(), _beside(file, "-wal"), _beside(file, "-shm")
    _see_that_nobody_uses_another(file)
    try:
        before = _version(file)
        if log.exists() and index.exists():
            return _connect(file, "mode=ro", patience_s), lambda: True
        with file.open("rb") as opened:
            header = opened.read(20)
        if header[18:] != _WRITE_AHEAD:
            return _connect(file, "mode=ro", patience_s), lambda: True
        connection = _connect_to_copy(file, log) if _size(log) else _connect(file, "immutable=1", patience_s)
    except FileNotFoundError as error:
        fix = "the daemon makes it at its first start, or store.url names the wrong file"
        raise StoreError(f"{file}: there is no database; {fix}") from error
    except PermissionError as error:
        raise StoreError(f"{file}: this user may not read it; run this as the daemon's user") from error
    except OSError as error:
        raise StoreError(f"{file}: it can't be read: {error.strerror}") from error
    return connection, lambda: _version(file) == before


def back_up(connection: Connection, label: str) -> None:
    """Copy an SQLite file to `FILE.LABEL`, as it was before the connection's transaction; does nothing for a server.

    The copy is complete or absent, and readable only by its owner. It replaces an older copy of the same name. Raises
    StoreError if it fails.
    """
    if connection.dialect.name != "sqlite":
        return
    file = Path(str(connection.engine.url.database))
    copy = file.with_name(f"{file.name}.{label}")
    unfinished = copy.with_name(f"{copy.name}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
        unfinished.replace(copy)
    except (OSError, sqlite3.Error) as error:
        fix = f"; {RESTORE}" if is_damage(error) else ""
        raise StoreError(f"{file}: it can't be copied to {copy.name} before it is migrated: {error}{fix}") from error


def is_damage(error: BaseException | None) -> bool:
    """Return whether SQLite says that a file is damaged."""
    return str(getattr(error, "sqlite_errorname", "")).startswith("SQLITE_CORRUPT")


def _write_ahead(connection: sqlite3.Connection, patience_s: float) -> None:
    """Switch the file to WAL, so that readers and the writer do not wait for each other.

    While another process writes to a file that is not in WAL yet, SQLite fails at once instead of waiting for the lock:
    this retries.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() >= until:
                raise
            time.sleep(_ASK_AGAIN_S)  # as SQLite itself waits; never on the event loop
        else:
            return


def _begin(connection: Connection) -> None:
    """Begin a transaction by the driver: SQLAlchemy's way to execute takes longer than all else of an empty one."""
    statement = "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN"
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - what pysqlite gives
    try:
        driver.execute(statement).close()
    except sqlite3.Error as error:
        raise OperationalError(statement, None, error) from error


def _missing(what: str) -> OperationalError:
    return OperationalError("BEGIN", None, sqlite3.OperationalError(what))


def _see_that_nobody_uses_another(file: Path) -> None:
    """Raise StoreError if a process has the side files open but not the file, which was deleted or replaced.

    That process has permits and leases that this file does not record, and its log does not fit this file.
    """
    for look in range(_LOOKS):  # one check may be wrong while a process opens or closes its files
        users = _lockers(_beside(file, "-shm")) - {str(os.getpid())}
        if not users or not (astray := users - _lockers(file)):
            return
        time.sleep(_ASK_AGAIN_S * look)  # at a start or in a reading command: no run is in progress
    who = f"process {', '.join(sorted(astray))} still uses another file that was here"
    raise StoreError(f"{file}: {who}; end it, or put its file back")


def _lockers(file: Path) -> set[str]:
    """Return the ids of the processes that hold locks on a file, as every user of a database does; empty if unknown.

    It does not open the file: closing it would release this process's own locks on it.
    """
    with suppress(OSError):
        about = file.stat()
        place = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}:{about.st_ino}"
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return {lock[lock.index(place) - 1] for lock in locks if place in lock}
    return set()


def _beside(file: Path, suffix: str) -> Path:
    resolved = file.resolve()  # as SQLite: side files are beside the target of a link
    return resolved.with_name(f"{resolved.name}{suffix}")


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _connect(file: Path, options: str, patience_s: float) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.as_uri()}?{options}", uri=True, isolation_level=None, timeout=patience_s)


def _connect_to_copy(file: Path, log: Path) -> sqlite3.Connection:
    """Connect to a copy: to read a write-ahead log without its index, SQLite has to create the index beside it."""
    with tempfile.TemporaryDirectory(prefix="adsyncd-") as folder:  # the connection works after its files are unlinked
        for source in (file, log):
            shutil.copyfile(source, Path(folder, source.name))
        connection = sqlite3.connect(Path(folder, file.name), isolation_level=None)
        connection.execute("PRAGMA query_only=ON").close()
        connection.execute("PRAGMA schema_version").close()  # opens the side files
    return connection


def _version(file: Path) -> tuple[int, ...]:
    about = file.stat()
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
