import gc
import threading
import weakref
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from unittest.mock import Mock

import anyio
import pytest
from sqlalchemy import Connection

from adsyncd.model.lease import Lease
from adsyncd.store import writer as module
from adsyncd.store.writer import Ticket, Writer

LEASE = Lease("acme", "me", 1, 0)


class Refused(Exception):
    """One write's fault."""


class Gone(Exception):
    """The database's."""


class Database:
    """Remembers what was committed, batch by batch. A batch waits until `goes_on` is set."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []
        self.fenced: list[Collection[Lease]] = []
        self.lost: set[Lease] = set()
        self.goes_on = threading.Event()
        self.gone = False
        self._batch: list[str] = []

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        self._batch = []
        assert self.goes_on.wait(timeout=10)
        if self.gone:
            raise Gone
        yield Mock()
        self.commits.append(self._batch)

    def fence(self, _connection: Connection, held: Collection[Lease]) -> None:
        """Refuse what is written under a lease that was lost."""
        self.fenced.append(held)
        if self.lost & set(held):
            raise Refused

    def first(self, _connection: Connection, items: Sequence[str]) -> list[str]:
        """Do the writes that come first in a run's life; refuse `bad`."""
        if "bad" in items:
            raise Refused
        return self.last(_connection, items)

    def last(self, _connection: Connection, items: Sequence[str]) -> list[str]:
        """Do those that come last."""
        self._batch += items
        return [item.upper() for item in items]


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[Writer]:
    writer = Writer(
        database.begin,
        dict.fromkeys((database.first, database.last), lambda item: item[-1]),
        fence=database.fence,
        is_shared=lambda error: isinstance(error, Gone),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        try:
            yield writer
        finally:
            writer.close()


@pytest.fixture
def database() -> Database:
    return Database()


async def written_behind(database: Database, *items: str, under: Lease | None = None) -> dict[str, Ticket[str]]:
    """Queue a write, and `items` while that is under way: they make the next batch, the first one under a lease."""
    tickets: dict[str, Ticket[str]] = {}

    async def write(item: str) -> None:
        operation = database.last if item.startswith("last") else database.first
        tickets[item] = await writer.write(operation, item, under if item == items[0] else None)

    async with writing(database) as writer, anyio.create_task_group() as tasks:
        tasks.start_soon(write, "ahead")
        await anyio.wait_all_tasks_blocked()
        for item in items:
            tasks.start_soon(write, item)
        await anyio.wait_all_tasks_blocked()
        database.goes_on.set()
    return tickets


async def test_what_waits_while_a_transaction_is_under_way_is_the_next_one(database: Database) -> None:
    tickets = await written_behind(database, "a", "b", "c")
    assert database.commits == [["ahead"], ["a", "b", "c"]]
    came_to = {item: (ticket.result, ticket.batch) for item, ticket in tickets.items()}
    assert came_to == {"ahead": ("AHEAD", 1), "a": ("A", 3), "b": ("B", 3), "c": ("C", 3)}


async def test_what_was_written_is_freed_without_the_garbage_collector(database: Database) -> None:
    class Item(str):
        __slots__ = ("__weakref__",)

    database.goes_on.set()
    item = Item("a")
    watched = weakref.ref(item)
    gc.disable()
    try:
        async with writing(database) as writer:
            await writer.write(database.last, item)
            await writer.write(database.last, "b")  # the writer keeps its last batch
            del item
            database.commits.clear()
            assert watched() is None
    finally:
        gc.enable()


async def test_a_batch_does_each_kind_of_write_at_once_in_the_order_of_a_run_s_life(database: Database) -> None:
    tickets = await written_behind(database, "last1", "a", "last2", "b")
    assert database.commits == [["ahead"], ["a", "b", "last1", "last2"]]
    assert tickets["last2"].result == "LAST2"


async def test_no_write_overtakes_one_that_touched_the_same(database: Database) -> None:
    await written_behind(database, "last1", "a1", "last2", "b", "last1", "b2", "a3")
    assert database.commits == [["ahead"], ["b", "a3", "last1", "last2", "a1", "b2", "last1"]]


async def test_a_write_that_is_refused_fails_alone(database: Database) -> None:
    tickets = await written_behind(database, "a", "bad", "b")
    assert database.commits == [["ahead"], ["a"], ["b"]]
    assert [item for item, ticket in tickets.items() if ticket.error] == ["bad"]
    assert isinstance(tickets["bad"].error, Refused)


async def test_a_batch_asks_once_whether_its_leases_are_held(database: Database) -> None:
    tickets = await written_behind(database, "a", "b", under=LEASE)
    assert database.commits == [["ahead"], ["a", "b"]]
    assert database.fenced == [{LEASE}]
    assert not any(ticket.error for ticket in tickets.values())


async def test_a_write_under_a_lease_that_was_lost_fails_alone(database: Database) -> None:
    database.lost = {LEASE}
    tickets = await written_behind(database, "a", "b", under=LEASE)
    assert database.commits == [["ahead"], ["b"]]
    assert [item for item, ticket in tickets.items() if ticket.error] == ["a"]


async def test_a_database_that_fails_is_asked_once_for_a_batch(database: Database) -> None:
    database.gone = True
    attempts = Mock(wraps=database.begin)
    database.begin = attempts  # type: ignore[method-assign]
    tickets = await written_behind(database, "a", "b")
    assert attempts.call_count == 2
    assert all(isinstance(ticket.error, Gone) for ticket in tickets.values())


async def test_the_writer_goes_on_when_the_database_is_back(database: Database) -> None:
    database.goes_on.set()
    async with writing(database) as writer:
        database.gone = True
        assert isinstance((await writer.write(database.first, "a")).error, Gone)
        database.gone = False
        assert (await writer.write(database.first, "b")).error is None


async def test_a_queued_write_is_done_though_its_caller_is_cancelled(database: Database) -> None:
    async with writing(database) as writer:
        async with anyio.create_task_group() as callers:
            for item in ("a", "b"):
                callers.start_soon(writer.write, database.first, item)
                await anyio.wait_all_tasks_blocked()  # so that the second waits behind the first
            callers.cancel_scope.cancel()
        database.goes_on.set()
        await writer.write(database.first, "c")
    assert [item for commit in database.commits for item in commit] == ["a", "b", "c"]


async def test_the_queue_is_emptied_when_the_writer_s_own_task_is_cancelled(database: Database) -> None:
    writer = Writer(database.begin, {database.first: lambda item: item}, fence=database.fence, is_shared=lambda _: True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        for item in ("a", "b"):
            tasks.start_soon(writer.write, database.first, item)
            await anyio.wait_all_tasks_blocked()  # so that the second waits behind the first
        tasks.cancel_scope.cancel()
        writer.close()
        database.goes_on.set()
    assert [item for commit in database.commits for item in commit] == ["a", "b"]


async def test_a_post_that_finds_no_room_or_a_closed_writer_is_left_out(database: Database) -> None:
    database.goes_on.set()
    async with writing(database) as writer:
        for _ in range(3 * module._LARGEST_BATCH):
            writer.post(database.first, "a")
        writer.close()
        writer.post(database.first, "b")
    assert [item for commit in database.commits for item in commit] == ["a"] * module._LARGEST_BATCH


async def test_a_write_that_is_put_in_waits_for_no_room_and_is_told_of_in_order(database: Database) -> None:
    told: list[tuple[str, bool]] = []
    items = ["a"] * module._LARGEST_BATCH + ["b", "bad", "c"]
    async with writing(database) as writer:
        for item in items:
            writer.put(
                Ticket(database.first, item, done=lambda done: told.append((str(done.item), done.error is None)))
            )
        database.goes_on.set()
    assert told == [(item, item != "bad") for item in items]
    with pytest.raises(anyio.ClosedResourceError):
        writer.put(Ticket(database.first, "late"))
    writer.post(database.first, "late")  # is dropped


async def test_a_write_waits_for_room_while_the_queue_is_full(database: Database) -> None:
    async with writing(database) as writer, anyio.create_task_group() as tasks:
        writer.post(database.first, "ahead")
        await anyio.wait_all_tasks_blocked()
        for _ in range(module._LARGEST_BATCH):
            writer.post(database.first, "a")
        async with anyio.create_task_group() as gone:
            gone.start_soon(writer.write, database.first, "cancelled while it waits, so never queued")
            await anyio.wait_all_tasks_blocked()
            gone.cancel_scope.cancel()
        for item in ("b", "c"):
            tasks.start_soon(writer.write, database.first, item)
        await anyio.wait_all_tasks_blocked()
        database.goes_on.set()
    assert database.commits == [["ahead"], ["a"] * module._LARGEST_BATCH, ["b", "c"]]


async def test_a_flood_is_cut_into_batches_of_bounded_size(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGEST_BATCH", 3)
    await written_behind(database, *"abcdefgh")
    assert [len(commit) for commit in database.commits] == [1, 3, 3, 2]
