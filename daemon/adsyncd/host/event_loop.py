"""The event loop of all commands: asyncio's, with three differences.

DNS lookups have threads of their own. asyncio shares six: one platform whose name servers do not answer would keep the
tenants of every other platform from connecting, and the process from ending.

Data that arrived while the process was stopped (SIGSTOP) is read before timeouts fire. After SIGCONT, Linux ends
epoll_wait(2) with EINTR (signal(7)), and Python reports no events if the timeout has passed. So asyncio's own loop
gives up an answer that has arrived.

What goes first (`host/ready_queue`) waits behind few callbacks, however many are ready.
"""

import asyncio
import selectors
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import anyio

from adsyncd.host.ready_queue import ReadyQueue, goes_first

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
Callbacks = tuple[asyncio.Handle | None, asyncio.Handle | None]  # of a file: to read from it, to write to it
Asked = tuple[str | bytes | None, str | int | bytes | None, int, int, int, int]  # the arguments of `getaddrinfo`


def run(function: Callable[[*Arguments], Awaitable[T]], *arguments: *Arguments) -> T:
    """Run an async function to its end, as `anyio.run` does."""
    return anyio.run(function, *arguments, backend_options={"loop_factory": EventLoop})


class _Selector(selectors.DefaultSelector):
    """Looks once more, without waiting, before it says that nothing has happened while it waited.

    `first`: the files among them whose callbacks go first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = selectors.DefaultSelector()

    def register(
        self, fileobj: "FileDescriptorLike", events: int, data: Callbacks = (None, None)
    ) -> selectors.SelectorKey:
        """Watch a file."""
        key = super().register(fileobj, events, data)
        if _goes_first(data):
            self.first.register(fileobj, events, data)
        return key

    def modify(
        self, fileobj: "FileDescriptorLike", events: int, data: Callbacks = (None, None)
    ) -> selectors.SelectorKey:
        """Watch a file for other events, or for other callbacks."""
        key = super().modify(fileobj, events, data)
        self._forget(fileobj)
        if _goes_first(data):
            self.first.register(fileobj, events, data)
        return key

    def unregister(self, fileobj: "FileDescriptorLike") -> selectors.SelectorKey:
        """Watch a file no more."""
        self._forget(fileobj)
        return super().unregister(fileobj)

    def close(self) -> None:
        """Free what the system keeps for it."""
        self.first.close()
        super().close()

    def _forget(self, fileobj: "FileDescriptorLike") -> None:
        if self.first.get_map() and fileobj in self.first.get_map():
            self.first.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return the files that are ready, with their events; none after `timeout` seconds."""
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
        waited = timeout is None or timeout > 0
        return super().select(0) if waited and not ready else ready


def _goes_first(callbacks: Callbacks) -> bool:
    return any(handle is not None and goes_first(handle) for handle in callbacks)


class EventLoop(asyncio.SelectorEventLoop):
    """Looks up each host in a thread of its own. Concurrent lookups of a host share it; no exit waits for it."""

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        self._ready = ReadyQueue(lambda: self._process_events(selector.first.select(0)))  # type: ignore[attr-defined]  # asyncio's own
        self._lookups: dict[Asked, Future[list[Any]]] = {}

    async def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | int | bytes | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - its parent's name
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Return what `socket.getaddrinfo` returns, or raise what it raises."""
        asked = (host, port, family, type, proto, flags)
        if (lookup := self._lookups.get(asked)) is None:
            lookup = self._lookups[asked] = Future()
            lookup.set_running_or_notify_cancel()  # a cancelled caller must not cancel it for the others
            Thread(target=self._look_up, args=(asked, lookup), daemon=True).start()
        return await asyncio.wrap_future(lookup, loop=self)

    def _look_up(self, asked: Asked, lookup: Future[list[Any]]) -> None:
        try:
            try:
                addresses = socket.getaddrinfo(*asked)
            finally:
                del self._lookups[asked]
        except Exception as error:  # noqa: BLE001 - every error goes to the callers
            lookup.set_exception(error)
        else:
            lookup.set_result(addresses)
