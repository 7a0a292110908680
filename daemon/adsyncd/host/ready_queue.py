"""The callbacks that the event loop is about to call, in two rows: in turns one of each, so that few wait behind many.

asyncio calls all ready callbacks before it looks for new input. When thousands of runs go on, that takes a second, and
an answer of the control API needs several such cycles. What goes first waits for neither: its callbacks have every
second turn, and its sockets are looked at within a cycle, too.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar

_EVERY = 16  # callbacks between two looks at the sockets that go first; a look takes two microseconds

_GOES_FIRST = ContextVar("goes_first", default=False)


def go_first(*, first: bool = True) -> None:
    """Give the callbacks of this task, and of the tasks and sockets that it opens from now on, every second turn."""
    _GOES_FIRST.set(first)


def goes_first(handle: asyncio.Handle) -> bool:
    """Return whether a callback has every second turn."""
    return handle._context.get(_GOES_FIRST)  # type: ignore[attr-defined,no-any-return]  # noqa: SLF001 - Python 3.12 has a method for it


class ReadyQueue(deque[asyncio.Handle]):
    """What asyncio's loop expects of its deque `_ready`. `look` appends the callbacks of input that goes first."""

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__()
        self._first = deque[asyncio.Handle]()
        self._look = look
        self._until_look = _EVERY
        self._is_turn_of_first = True

    def __len__(self) -> int:
        """Return the number of callbacks in both rows."""
        return super().__len__() + len(self._first)

    def append(self, handle: asyncio.Handle) -> None:
        """Add a callback at the end of its row. Safe in any thread."""
        if goes_first(handle):
            self._first.append(handle)
        else:
            super().append(handle)

    def popleft(self) -> asyncio.Handle:
        """Remove and return the callback whose turn it is."""
        self._until_look -= 1
        if not self._until_look:
            self._until_look = _EVERY
            if not self._first:  # else those of an earlier look may be among them
                self._look()
        if self._first and (self._is_turn_of_first or not super().__len__()):
            self._is_turn_of_first = False
            return self._first.popleft()
        self._is_turn_of_first = True
        return super().popleft()

    def clear(self) -> None:
        """Remove all callbacks."""
        super().clear()
        self._first.clear()
