"""Group commit: one task does all waiting writes in one transaction.

The next batch gathers while a transaction is in progress. A thousand writes at once cost hardly more transactions,
threads and syncs of the disk than one write.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import anyio
from sqlalchemy import Connection

from adsyncd.model.lease import Lease
from adsyncd.tasks import OffLoop, in_thread

Item = TypeVar("Item")
Result = TypeVar("Result")
Operation = Callable[[Connection, Sequence[Item]], Sequence[Result]]  # one kind of write for many items, in order
Touches = Callable[[Any], Iterable[Hashable]]  # keys of what a write of an item may read or change

_LARGEST_BATCH = 1000  # well under a second in one transaction; as many may queue behind it


class Ticket(Generic[Result]):
    """A queued write and its outcome. `batch`: the number of writes in its transaction.

    `lease`: the lease under which it is done. `done`: called after the outcome.
    """

    __slots__ = ("batch", "done", "error", "item", "lease", "operation", "result")

    def __init__(
        self,
        operation: Operation[Any, Result],
        item: object,
        lease: Lease | None = None,
        done: "Callable[[Ticket[Result]], None] | None" = None,
    ) -> None:
        self.operation = operation
        self.item = item
        self.lease = lease
        self.done = done
        self.batch = 0
        self.error: Exception | None = None
        self.result: Result


class Answers(Protocol):
    """Is told of each transaction. See `adsyncd.store.health.Health`."""

    def asked(self) -> None:
        """Note that a transaction begins."""

    def answered(self, error: Exception | None) -> None:
        """Note that it was committed or failed."""


class Writer:
    """Does writes in batches: in each, writes of a kind together, and kinds in the order of `operations`.

    The order is the same in all processes, so that two cannot deadlock. Writes that touch the same key keep their
    order: if the order of kinds differs, the later one is done in another round.

    `begin` opens a transaction. `fence` raises an error unless all given leases are held. `is_shared` returns whether
    an error is the database's and concerns all writes, or was caused by one of them. `measured` is entered around each
    transaction, in its thread. `answers` is told of each one.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractContextManager[Connection]],
        operations: Mapping[Operation[Any, Any], Touches],
        fence: Callable[[Connection, Collection[Lease]], None],
        is_shared: Callable[[Exception], bool],
        off_loop: OffLoop = in_thread,
        measured: "Measured | None" = None,
        answers: Answers | None = None,
    ) -> None:
        self._answers = answers
        self._begin = begin
        self._kinds = {operation: (kind, operations[operation]) for kind, operation in enumerate(operations)}
        self._fence = fence
        self._is_shared = is_shared
        self._off_loop = off_loop
        self._measured = measured or _unmeasured
        self._one = anyio.CapacityLimiter(1)
        self._queue = deque[Ticket[Any]]()
        self._arrived = asyncio.Event()  # something is in the queue, or it is closed
        self._room = anyio.Event()  # replaced whenever the queue was emptied
        self._closed = False

    async def write(self, operation: Operation[Item, Result], item: Item, lease: Lease | None = None) -> Ticket[Result]:
        """Queue a write, and return when it is committed or has failed. A queued write is done even if cancelled.

        Waits while the queue is full. With a `lease` it is refused if the lease was lost.
        """
        while len(self._queue) >= _LARGEST_BATCH:
            await self._room.wait()
        waiter: asyncio.Future[Ticket[Result]] = asyncio.get_running_loop().create_future()
        self.put(Ticket(operation, item, lease, partial(_answer, waiter)))
        return await waiter

    def put(self, ticket: Ticket[Any]) -> None:
        """Queue a write, even if the queue is full. Raises ClosedResourceError if the writer is closed."""
        if self._closed:
            raise anyio.ClosedResourceError
        self._queue.append(ticket)
        self._arrived.set()

    def post(self, operation: Operation[Item, Result], item: Item) -> None:
        """Queue a write without waiting for its outcome; dropped if the queue is full or closed."""
        if not self._closed and len(self._queue) < _LARGEST_BATCH:
            self.put(Ticket(operation, item))

    async def run(self) -> None:
        """Write until the writer is closed and its queue empty. Shielded from cancellation: callers rely on it."""
        with anyio.CancelScope(shield=True):
            while True:
                await self._arrived.wait()
                if not self._queue:
                    return
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), _LARGEST_BATCH))]
                if not self._queue and not self._closed:
                    self._arrived.clear()
                if len(self._queue) < _LARGEST_BATCH:
                    self._room.set()
                    self._room = anyio.Event()
                await self._commit(batch)

    def close(self) -> None:
        """Accept no more writes; `run` ends after the queued ones."""
        self._closed = True
        self._arrived.set()

    async def _commit(self, batch: list[Ticket[Any]]) -> None:
        try:
            await self._told(batch)
        except Exception as error:  # noqa: BLE001 - the caller of the write gets it
            if len(batch) > 1 and not self._is_shared(error):
                for ticket in batch:
                    await self._commit([ticket])
                return
            for ticket in batch:
                ticket.error = error
        for ticket in batch:
            done, ticket.done = ticket.done, None  # else a waiter that keeps the ticket would be a cycle
            if done is not None:
                done(ticket)

    async def _told(self, batch: list[Ticket[Any]]) -> None:
        """Transact, and tell the health when the transaction begins and how it ends."""
        failure: Exception | None = None
        if self._answers is not None:
            self._answers.asked()
        try:
            await self._off_loop(partial(self._transact, batch), limiter=self._one)
        except Exception as error:
            failure = error
            raise
        finally:
            if self._answers is not None:
                self._answers.answered(failure)

    def _transact(self, batch: list[Ticket[Any]]) -> None:
        leases = {ticket.lease for ticket in batch if ticket.lease}
        with self._measured(batch), self._begin() as connection:
            if leases:
                self._fence(connection, leases)
            for group in self._grouped(batch):
                results = group[0].operation(connection, [ticket.item for ticket in group])
                for ticket, result in zip(group, results, strict=True):
                    ticket.batch, ticket.result = len(batch), result

    def _grouped(self, batch: list[Ticket[Any]]) -> Iterator[list[Ticket[Any]]]:
        """Yield groups of writes of a kind: by round, and in each by kind."""
        groups: dict[tuple[int, int], list[Ticket[Any]]] = {}
        last: dict[Hashable, tuple[int, int]] = {}  # by touched key: the last round and kind
        for ticket in batch:
            kind, touches = self._kinds[ticket.operation]
            touched = list(touches(ticket.item))
            before = [last[one] for one in touched if one in last]
            place = max((number + (other > kind) for number, other in before), default=0), kind
            groups.setdefault(place, []).append(ticket)
            last.update(dict.fromkeys(touched, place))
        for place in sorted(groups):
            yield groups[place]


Measured = Callable[[Sequence[Ticket[Any]]], AbstractContextManager[None]]


def _unmeasured(_batch: Sequence[Ticket[Any]]) -> AbstractContextManager[None]:
    return nullcontext()


def _answer(waiter: "asyncio.Future[Ticket[Result]]", ticket: Ticket[Result]) -> None:
    if not waiter.cancelled():  # though its caller is, the write is done
        waiter.set_result(ticket)
