"""Several pushes at a time, from one queue: the part that runs and replays share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from contextvars import Context, copy_context
from types import TracebackType
from typing import Generic, Protocol, TypeVar

import anyio
import anyio.abc

from adsyncd.errors import AdsyncdError, BadAnswer, Rejected, StoreError, Unauthorized, Unavailable

CAMPAIGN_ERRORS = (Rejected, Unavailable, BadAnswer, Unauthorized)  # they end one push; other errors end all of them

_RECORDING_S = 15.0
_RECORDED_A_S = 1000  # campaigns, by a slow store
_MOST_UNRECORDED = 100  # outcomes of one run; the next push waits then

Item = TypeVar("Item")


class Pusher(Protocol):
    """The part of a platform that takes pushes. See `adsyncd.platforms.PlatformClient`."""

    async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
        """Push a campaign and return in which attempt that succeeded; `again`: its key may have been sent before."""


class PushQueue(Generic[Item]):
    """A queue of at most `size` items, from which up to `concurrency` calls of `push` are made at the same time.

    `error`: the first AdsyncdError that `push`, the block that fills the queue, or the store of an outcome raised. It
    ends the queue: pushes in flight come to their end, the block is cancelled, and the remaining items are left.
    `storing`: the block in which it waits for the store.
    """

    def __init__(
        self,
        push: Callable[[Item], Awaitable[None]],
        *,
        concurrency: int,
        size: int = 0,
        storing: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.error: AdsyncdError | None = None
        self._push = push
        self._concurrency = concurrency
        self._pushing: anyio.abc.TaskGroup
        self._pushers = 0
        self._around: Context
        self._size = max(size, 1)
        self._storing = storing
        self._items: asyncio.Queue[Item | None]  # with the first pusher; None is the end, and stays in it for all
        self._filling = anyio.CancelScope()
        self._unrecorded = 0
        self._fewer: anyio.Event | None = None  # set at the next outcome that was recorded, if somebody waits for it

    @asynccontextmanager
    async def filling(self) -> AsyncIterator["PushQueue[Item]"]:
        """Yield the queue, to send items to, and push them meanwhile.

        Leave, even if cancelled, when the last push has ended and no outcome is on its way to the store.
        """
        # Pushes are part of the span around the queue, not of the one that sends the first.
        self._around = copy_context()
        try:
            async with anyio.create_task_group() as self._pushing:
                with self._filling:
                    try:
                        yield self
                        if self._pushers:
                            await self._items.put(None)
                    except AdsyncdError as error:
                        self.end(error)
        finally:
            try:
                await self._record_until_fewer_than(1)
            except StoreError as error:
                self.end(error)

    async def send(self, item: Item) -> None:
        """Queue an item; wait while the queue is full."""
        if self._pushers < self._concurrency:  # most runs of a tenant in which little changes push nothing
            if not self._pushers:
                self._items = asyncio.Queue(self._size)
            self._pushers += 1
            self._around.run(self._pushing.start_soon, self._push_all)
        await self._items.put(item)

    def queued(self, recorded: Callable[[], None]) -> Callable[[StoreError | None], None]:
        """Count an outcome as on its way to the store; return what the store calls once it is committed or has failed.

        `recorded` is called if it is committed. A failure ends the queue.
        """
        self._unrecorded += 1

        def told(error: StoreError | None) -> None:
            self._unrecorded -= 1
            if error is None:
                recorded()
            else:
                self.end(error)
            if self._fewer is not None:
                self._fewer.set()
                self._fewer = None

        return told

    async def _push_all(self) -> None:
        try:
            while True:
                await self._record_until_fewer_than(_MOST_UNRECORDED)
                item = await self._items.get()
                if item is None or self.error is not None:
                    self._items.put_nowait(None)
                    return
                await self._push(item)
        except AdsyncdError as error:
            self.end(error)

    async def _record_until_fewer_than(self, outcomes: int) -> None:
        if self._unrecorded < outcomes:
            return
        with recording(), self._storing():
            while self._unrecorded >= outcomes:
                self._fewer = self._fewer or anyio.Event()
                await self._fewer.wait()

    def end(self, error: AdsyncdError) -> None:
        """End the queue because of an error; the first one counts."""
        self.error = self.error or error
        self._filling.cancel()
        if self._pushers and self._items.empty():  # some may wait for an item
            self._items.put_nowait(None)


class recording:  # noqa: N801 - it is used as a function
    """Shield a block from cancellation, so that known outcomes are recorded.

    Raises StoreError after 15 s, and a second more for each thousand of many `campaigns`.
    """

    __slots__ = ("_patience_s", "_scope")

    def __init__(self, campaigns: int = 0) -> None:
        self._patience_s = _RECORDING_S + campaigns // _RECORDED_A_S

    def __enter__(self) -> None:
        self._scope = anyio.CancelScope(deadline=anyio.current_time() + self._patience_s, shield=True)
        self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scope.__exit__(kind, error, trace)
        if self._scope.cancelled_caught:
            raise StoreError(f"the store took longer than {self._patience_s:g} s") from error
