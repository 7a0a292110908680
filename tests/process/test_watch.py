"""`adsyncd status --watch` on a real terminal, with a real daemon of many tenants."""

import os
import re
import signal
import termios
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from anyio.abc import Process

from support.program import Program
from support.terminals import open_terminal, reading, resize

TENANTS = 60
DOWN, HOME, END = b"\x1b[B", b"\x1b[H", b"\x1b[F"
ROWS = re.compile(rb"\n(tenant-\d\d) ")


@dataclass
class Screen:
    """A terminal with a watch in it. `before`: its modes at first; `drawn`: what it drew since the last key."""

    process: Process
    ours: int
    theirs: int
    before: list[Any]
    drawn: bytes = b""

    def press(self, keys: bytes) -> None:
        self.drawn = b""
        os.write(self.ours, keys)

    async def shows(self, pattern: bytes) -> bytes:
        """Return once a drawing has this, with all that it has above its last lines."""
        with anyio.move_on_after(20):
            while not (found := re.search(pattern, self.drawn, re.DOTALL)):
                await anyio.wait_readable(self.ours)
                self.drawn += os.read(self.ours, 65536)
            return self.drawn[: found.start()].rpartition(b"adsyncd ")[2]
        raise AssertionError(self.drawn.decode())

    async def ends(self) -> int:
        """Return its exit code."""
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._drain)
                code = await self.process.wait()
                tasks.cancel_scope.cancel()
        assert b"Traceback" not in self.drawn
        return code

    async def _drain(self) -> None:
        async for more in reading(self.ours):
            self.drawn += more

    @property
    def modes(self) -> list[Any]:
        return termios.tcgetattr(self.theirs)


@asynccontextmanager
async def watching(program: Program, *options: str) -> AsyncIterator[Screen]:
    ours, theirs = open_terminal(30, 120)
    before = termios.tcgetattr(theirs)
    command = program._command("status", "--watch", *options)
    try:
        async with program.opened(*command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
            yield Screen(process, ours, theirs, before)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.fixture
def many(program: Program) -> Program:
    program.environ["TERM"] = "xterm-256color"
    for number in range(TENANTS):
        program.tenant(f"tenant-{number:02}", enabled=False, credentials={"env": "ACME"})
    program.tenant("tenant-07", client_id="acme", credentials={"env": "ACME"})
    return program


async def test_a_watch_scrolls_filters_and_leaves_the_terminal_as_it_was(many: Program) -> None:
    async with many.daemon() as daemon:
        await daemon.logs("run ended")
        assert (await many.run("pause", "tenant-07")).returncode == 0
        async with watching(many) as screen:
            first = await screen.shows(rb"1 to \d+ of 60")
            assert len(ROWS.findall(first)) in range(10, 29)
            assert screen.modes != screen.before

            screen.press(END)
            last = await screen.shows(rb"to 60 of 60.*q quit")
            assert ROWS.findall(last)[-1] == b"tenant-59"
            screen.press(HOME + DOWN)
            await screen.shows(rb"2 to \d+ of 60")
            resize(screen.theirs, 12, 100)
            screen.press(b"")
            screen.process.send_signal(signal.SIGWINCH)
            await screen.shows(rb"2 to \d of 60")

            screen.press(b"/nant-4\r")
            found = ROWS.findall(await screen.shows(rb"\d of 10; only: an id or client id with \"nant-4\""))
            assert found[0] == b"tenant-40"
            screen.press(b"/" + b"\x7f" * 6 + b"\r")
            await screen.shows(rb"1 to \d of 60")
            screen.press(b"p")
            assert ROWS.findall(await screen.shows(rb"1 to 1 of 1; only: paused")) == [b"tenant-07"]

            screen.press(b"q")
            assert await screen.ends() == 0
            assert screen.modes == screen.before
            assert b"\x1b[?1049l" in screen.drawn  # the screen from before

        for number in (signal.SIGTERM, signal.SIGINT):
            async with watching(many, "--match", "tenant-1*") as screen:
                await screen.shows(rb"of 10; only: an id that matches")
                screen.process.send_signal(number)
                assert await screen.ends() == 0
                assert screen.modes == screen.before
                assert b"\x1b[?1049l" in screen.drawn


async def test_a_watch_goes_on_with_its_keys_while_the_daemon_restarts(many: Program) -> None:
    async with AsyncExitStack() as stack:
        async with many.daemon() as daemon:
            await daemon.logs("run ended")
            assert (await many.run("pause", "tenant-07")).returncode == 0
            screen = await stack.enter_async_context(watching(many))
            one = await stack.enter_async_context(watching(many, "tenant-07"))
            await screen.shows(rb"1 to \d+ of 60")
            await one.shows(b"tenant-07 is paused")
            one.press(END + b"/p\r")  # these are for a table
            await one.shows(b"tenant-07 is paused.*q quit")
        for each in (screen, one):
            await each.shows(b"no daemon answers.*q quit")
        one.press(b"q")
        assert await one.ends() == 0
        assert one.modes == one.before
        screen.press(b"p")
        async with many.daemon():
            assert ROWS.findall(await screen.shows(rb"1 to 1 of 1; only: paused")) == [b"tenant-07"]
            screen.press(b"q")
            assert await screen.ends() == 0
            assert screen.modes == screen.before
