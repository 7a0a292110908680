"""A database that fails says why in plain words, and when it is well again the store goes on without a restart."""

import shutil
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from pathlib import Path

import anyio
import pytest
from opentelemetry.trace import NoOpTracer
from sqlalchemy import URL, Connection
from sqlalchemy.exc import OperationalError

from adsyncd.errors import StoreError
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store, open_store, pauses
from support.postgres import Postgres
from support.records import NOON, HandClock, campaign, page, run

PUSH = """
import sys, anyio
from dataclasses import replace
from opentelemetry.trace import NoOpTracer
from adsyncd.model.campaign import PushState
from adsyncd.clock import SystemClock
from adsyncd.store import open_store

async def settled(store, run, push):
    done = anyio.Event()
    store.settle(run, push, lambda error: done.set())
    await done.wait()

async def main():
    async with open_store(sys.argv[1], clock=SystemClock(), tracer=NoOpTracer()) as store:
        [run] = await store.open_runs()
        for push in (await store.begin(run)).owed:
            await settled(store, run, replace(push, state=PushState.PUSHED))
            print(push.campaign_id, flush=True)

anyio.run(main)
"""


@contextmanager
def locked(store: Store) -> Iterator[None]:
    with closing(sqlite3.connect(str(store._engine.url.database))) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def full(store: Store) -> Iterator[None]:
    with store._engine.connect() as connection:  # the one connection that there is so far
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    yield
    with store._engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {1 << 30}")


@contextmanager
def gone(server: Postgres, database: str) -> Iterator[None]:
    server.execute("ALTER DATABASE {} ALLOW_CONNECTIONS false", database)
    server.hang_up(database)
    yield
    server.execute("ALTER DATABASE {} ALLOW_CONNECTIONS true", database)


@contextmanager
def read_only(server: Postgres, database: str) -> Iterator[None]:
    server.execute("ALTER DATABASE {} SET default_transaction_read_only = on", database)
    server.hang_up(database)
    yield
    server.execute("ALTER DATABASE {} RESET default_transaction_read_only", database)
    server.hang_up(database)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "adsyncd.db"


@pytest.fixture
async def embedded(path: Path) -> AsyncIterator[Store]:
    """A store in SQLite that waits for a lock for 10 ms."""
    async with open_store(f"sqlite:///{path}?timeout=0.01", clock=HandClock(), tracer=NoOpTracer()) as store:
        yield store


@pytest.fixture
async def served(database: URL) -> AsyncIterator[Store]:
    """A store in PostgreSQL."""
    url = database.render_as_string(hide_password=False)
    async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as store:
        yield store


async def keep_big_pages(store: Store) -> list[str]:
    """Keep pages of many runs at once, and return what the errors said."""
    said = []

    async def keep(number: int) -> None:
        try:
            await store.keep_page(run(f"t{number}"), page(campaign("c1", "x" * 10_000)), PushPolicy.ALL)
        except StoreError as error:
            said.append(str(error))

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(keep, number)
    return said


@pytest.mark.parametrize(
    ("trouble", "words"), [(locked, "another process keeps it locked"), (full, "the disk is full")]
)
async def test_a_locked_file_and_a_full_disk_are_named_and_used_again_when_all_is_well(
    embedded: Store, path: Path, trouble: Callable[[Store], AbstractContextManager[None]], words: str
) -> None:
    with trouble(embedded):
        assert await keep_big_pages(embedded) == [f"{path}: {words}"] * 20
    assert await keep_big_pages(embedded) == []


def delete(file: Path) -> Callable[[], object]:
    away = file.rename(file.with_name("away.db"))
    return lambda: away.rename(file)


def replace_by_another(file: Path) -> Callable[[], object]:
    other = file.with_name("other.db")
    with closing(sqlite3.connect(other)) as theirs:
        theirs.execute("CREATE TABLE runs (theirs)")
    put_back = delete(file)
    other.rename(file)
    return put_back


def overwrite(file: Path, content: bytes) -> bytes:
    before = file.read_bytes()
    file.write_bytes(content)
    return before


def listing(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def rename_its_folder(file: Path) -> Callable[[], object]:
    away = file.parent.rename(file.parent.with_name("away"))
    return lambda: away.rename(file.parent)


@pytest.mark.parametrize("harm", [delete, replace_by_another, rename_its_folder])
async def test_a_file_that_is_not_at_its_place_is_named_and_used_again_when_it_is_back(
    tmp_path: Path, harm: Callable[[Path], Callable[[], object]]
) -> None:
    file = tmp_path / "database" / "adsyncd.db"
    file.parent.mkdir()
    async with open_store(f"sqlite:///{file}", clock=HandClock(), tracer=NoOpTracer()) as store:
        await store.begin(run("acme"))
        put_back = harm(file)
        before = listing(tmp_path)
        said = await keep_big_pages(store)
        assert len(said) == 20
        assert {text.partition("; ")[0] for text in said} == {
            f"{file}: it was deleted or replaced while adsyncd used it"
        }
        async with anyio.create_task_group() as tasks:  # with connections that have yet to be made, too
            for _ in range(4):
                tasks.start_soon(refused, store.open_runs)
        assert listing(tmp_path) == before
        put_back()
        assert await keep_big_pages(store) == []
        assert [one.tenant for one in await store.open_runs()] == ["acme"]


async def refused(read: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(StoreError, match="it was deleted or replaced"):
        await read()


async def test_a_file_that_is_moved_away_while_it_is_written_says_so_and_keeps_no_lock(
    embedded: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pause(connection: Connection, items: Sequence[tuple[str, datetime]]) -> list[None]:
        delete(path)
        return pauses.pause(connection, items)

    monkeypatch.setitem(embedded._writer._kinds, pause, (0, lambda _: ()))
    ticket = await embedded._writer.write(pause, ("acme", NOON))
    assert isinstance(ticket.error, OperationalError)
    path.with_name("away.db").rename(path)
    assert await embedded.pauses() == {}
    await embedded.pause("globex", NOON)


async def test_a_file_that_was_emptied_is_named_for_good(embedded: Store, path: Path) -> None:
    whole = overwrite(path, b"")
    with pytest.raises(StoreError, match="it was emptied while adsyncd used it"):
        await embedded.pause("acme", NOON)
    overwrite(path, whole)
    with pytest.raises(StoreError, match="it was emptied while adsyncd used it"):
        await embedded.pauses()


async def test_a_log_that_was_deleted_is_named_and_loses_nothing_at_a_restart(embedded: Store, path: Path) -> None:
    await embedded.pause("acme", NOON)
    path.with_name("adsyncd.db-wal").unlink()
    with pytest.raises(StoreError, match="its write-ahead log was deleted or replaced"):
        await embedded.pause("globex", NOON)
    embedded._engine.dispose()
    async with open_store(f"sqlite:///{path}", clock=HandClock(), tracer=NoOpTracer()) as restarted:
        assert await restarted.pauses() == {"acme": NOON}


async def test_a_backup_that_is_moved_over_a_database_in_use_is_what_the_next_start_finds(path: Path) -> None:
    url, backup = f"sqlite:///{path}", path.with_name("backup.db")
    async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as store:
        await store.pause("acme", NOON)
    shutil.copy(path, backup)
    async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as store:
        await store.pause("globex", NOON)
        backup.rename(path)
    async with open_store(url, clock=HandClock(), tracer=NoOpTracer()) as store:
        assert await store.pauses() == {"acme": NOON}


@pytest.mark.parametrize(
    ("trouble", "words"), [(gone, "not currently accepting connections"), (read_only, "it is read-only")]
)
async def test_a_server_that_goes_away_or_is_read_only_is_named_and_used_again_when_it_is_well(
    *,
    served: Store,
    postgres: Postgres,
    database: URL,
    trouble: Callable[..., AbstractContextManager[None]],
    words: str,
) -> None:
    with trouble(postgres, str(database.database)):
        said = await keep_big_pages(served)
        assert len(said) == 20
        assert all(f"{database.host}:{database.port}/{database.database}: " in text for text in said)
        assert all(text.endswith(words) for text in said)
        with pytest.raises(StoreError, match=words):
            await served.open_runs()
    assert await keep_big_pages(served) == []
    assert await served.open_runs() == []


async def test_a_password_is_in_no_error(database: URL) -> None:
    wrong = database.set(password="canary-7f3a", database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(StoreError, match="nowhere") as caught:
        async with open_store(wrong, clock=HandClock(), tracer=NoOpTracer()):
            pass
    assert "canary-7f3a" not in "".join(traceback.format_exception(caught.value))


def push_until_killed(url: str) -> list[str]:
    """Let a process settle the owed pushes, kill it on the way, and return those that it said were settled."""
    with subprocess.Popen([sys.executable, "-c", PUSH, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(50)]
        process.kill()
        return said + process.stdout.read().split()


async def test_kill_9_loses_nothing_that_was_said_to_be_settled(url: str, store: Store) -> None:
    ids = [f"c{number:04}" for number in range(2000)]
    await store.begin(run())
    await store.keep_page(run(), page(*ids), PushPolicy.ALL)
    said = push_until_killed(url)
    point = await store.begin(run())
    owed = {push.campaign_id for push in point.owed}
    assert owed
    assert len(said) >= 50
    assert all(said)
    assert owed.isdisjoint(said)
    assert point.tally.pushed + len(owed) == len(ids)
