"""Ends one run before its time: its waits end at once, requests in flight may finish, and it sends nothing more."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from adsyncd.errors import AdsyncdError


class Halt:
    """Tells one run to end. `reason`: the error that ends it, or None while the run may go on."""

    def __init__(self) -> None:
        self.reason: AdsyncdError | None = None
        self._waits = set[anyio.CancelScope]()
        self._queues = list[Callable[[AdsyncdError], None]]()

    def halt(self, reason: AdsyncdError) -> None:
        """End the run; the first reason counts."""
        if self.reason is not None:
            return
        self.reason = reason
        for scope in list(self._waits):
            scope.cancel()
        for end in self._queues:
            end(reason)

    def check(self) -> None:
        """Raise the reason if the run is to end."""
        if self.reason is not None:
            raise self.reason.with_traceback(None)

    def tell(self, end: Callable[[AdsyncdError], None]) -> None:
        """Have `end` called with the reason once the run is to end. Raises the reason if it is to end already."""
        self.check()
        self._queues.append(end)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """End a block, in which nothing is in flight, when the run is to end; raise the reason then."""
        self.check()
        with anyio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                yield
            finally:
                self._waits.discard(scope)
        if scope.cancelled_caught:
            self.check()
