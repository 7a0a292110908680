"""How many runs begin at the same time: the database and the CPU set the pace of a first start, no clock.

    tick ──► in line ──► its turn: take the lease, record that the run begins ──► begun: the next one's turn
                                                                                     │
                     go on: list and push ◄── once nobody is in line, one after the other (before: few of them)

A thousand ticks at the same instant would otherwise all begin at once, and nothing else would have the event loop. The
requests of those that have begun would hold up the others: a beginning costs a few of them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import anyio

from adsyncd.errors import Stopping

AT_ONCE = 16  # runs that begin; their writes share commits
_MEANWHILE = 64  # beginnings for each run that goes on while others are in line


class Turns:
    """Gives turns to at most `at_once` runs at a time, first come, first served, until it is stopped."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = at_once
        self._line = OrderedDict[Turn, anyio.Event]()  # whose first is found at once, however many have left
        self._held = OrderedDict[Turn, anyio.Event]()  # runs that have begun, and let those in line begin first
        self._given = 0  # turns to runs in line
        self._releasing = False
        self._last = 0  # number that was given out
        self._stopped = False

    def turn(self) -> "Turn":
        """Return the turn of one run, which has to be taken."""
        return Turn(self)

    def stop(self) -> None:
        """Give no turn any more, and turn the runs in line away at once."""
        self._stopped = True
        for event in (*self._line.values(), *self._held.values()):
            event.set()

    async def _take(self, turn: "Turn") -> None:
        self._check()
        if self._free and not self._line:
            self._free -= 1
            return
        self._last += 1
        turn.number = self._last
        event = self._line[turn] = anyio.Event()
        try:
            await event.wait()
            self._check()
        except BaseException:
            if self._line.pop(turn, None) is None:  # its turn had come
                self._next()
            raise

    def _next(self) -> None:
        """Give a turn that is free to the first in line."""
        if self._line:
            self._line.popitem(last=False)[1].set()
            self._given += 1
            if self._given % _MEANWHILE == 0:
                self._let_one_go_on()
        else:
            self._free += 1
        if not self._line:
            self._let_all_go_on()

    async def _hold(self, turn: "Turn") -> None:
        if self._stopped or not (self._line or self._held):
            return
        event = self._held[turn] = anyio.Event()
        try:
            await event.wait()
        finally:
            self._held.pop(turn, None)

    def _let_one_go_on(self) -> None:
        if self._held:
            self._held.popitem(last=False)[1].set()

    def _let_all_go_on(self) -> None:
        """Let a run go on in each cycle of the event loop, while nobody is in line: all at once would block it."""
        if not self._releasing and self._held:
            self._releasing = True
            asyncio.get_running_loop().call_soon(self._release)

    def _release(self) -> None:
        self._releasing = False
        if not self._line:
            self._let_one_go_on()
            self._let_all_go_on()

    def _check(self) -> None:
        if self._stopped:
            raise Stopping("stopping: no run begins any more")

    def _ahead(self, turn: "Turn") -> int | None:
        if turn not in self._line:
            return None
        return turn.number - next(iter(self._line)).number


class Turn:
    """The turn of one run. `number`: its place in line."""

    __slots__ = ("_turns", "_was_given", "number")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._was_given = False
        self.number = 0

    async def take(self) -> None:
        """Wait for the turn, at the end of the line. Raises Stopping."""
        await self._turns._take(self)  # noqa: SLF001 - of the same module
        self._was_given = True

    def end(self) -> None:
        """Give the turn back, if it was given: the run has begun, or does not begin now."""
        if self._was_given:
            self._was_given = False
            self._turns._next()  # noqa: SLF001 - of the same module

    async def step_aside(self, wait: Callable[[float], Awaitable[None]], wait_s: float) -> None:
        """Wait without the turn, since something else holds the run up, and take it again."""
        self.end()
        await wait(wait_s)
        await self.take()

    async def go_on(self) -> None:
        """Let the runs in line begin first; then those that have begun before this one go on, and this one."""
        await self._turns._hold(self)  # noqa: SLF001 - of the same module

    @property
    def ahead(self) -> int | None:
        """How many runs begin before this one, at most: some may have left the line. None if it is not in line."""
        return self._turns._ahead(self)  # noqa: SLF001 - of the same module
