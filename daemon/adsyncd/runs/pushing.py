"""Several pushes at a time, from one queue: the part that runs and replays share."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from adsyncd.errors import AdsyncdError, BadAnswer, Rejected, StoreError, Unauthorized, Unavailable

CAMPAIGN_ERRORS = (Rejected, Unavailable, BadAnswer, Unauthorized)  # they end one push; other errors end all of them

_RECORDING_S = 15.0
_RECORDED_A_S = 1000  # campaigns, by a slow store

Item = TypeVar("Item")


class Pusher(Protocol):
    """The part of a platform that takes pushes. See `adsyncd.platforms.PlatformClient`."""

    async def push(self, campaign_id: str, key: str, *, again: bool) -> int:
        """Push a campaign and return in which attempt that succeeded; `again`: its key may have been sent before."""


class PushQueue(Generic[Item]):
    """A queue of at most `size` items, from which up to `concurrency` calls of `push` are made at the same time.

    `error`: the first AdsyncdError that `push`, or the block that fills the queue, raised. It ends the queue: pushes in
    flight come to their end, the block is cancelled, and the remaining items are left.
    """

    def __init__(self, push: Callable[[Item], Awaitable[None]], *, concurrency: int, size: int = 0) -> None:
        self.error: AdsyncdError | None = None
        self._push = push
        self._concurrency = concurrency
        self._size = size
        self._filling = anyio.CancelScope()

    @asynccontextmanager
    async def filling(self) -> AsyncIterator[MemoryObjectSendStream[Item]]:
        """Yield the end that takes items, and push them meanwhile; leave when the last push has ended."""
        give, take = anyio.create_memory_object_stream[Item](self._size)
        with take:
            async with anyio.create_task_group() as pushing:
                for _ in range(self._concurrency):
                    pushing.start_soon(self._push_from, take)
                with give, self._filling:
                    try:
                        yield give
                    except AdsyncdError as error:
                        self._end(error)

    async def _push_from(self, queue: MemoryObjectReceiveStream[Item]) -> None:
        try:
            async for item in queue:
                if self.error is not None:
                    return
                await self._push(item)
        except AdsyncdError as error:
            self._end(error)

    def _end(self, error: AdsyncdError) -> None:
        self.error = self.error or error
        self._filling.cancel()


@asynccontextmanager
async def recording(campaigns: int = 0) -> AsyncIterator[None]:
    """Shield the block from cancellation, so that known outcomes are recorded.

    Raises StoreError after 15 s, and a second more for each thousand of many `campaigns`.
    """
    patience_s = _RECORDING_S + campaigns // _RECORDED_A_S
    try:
        with anyio.CancelScope(shield=True), anyio.fail_after(patience_s):
            yield
    except TimeoutError as error:
        raise StoreError(f"the store took longer than {patience_s:g} s") from error
