import asyncio
import socket
from collections.abc import Callable, Iterator

import anyio
import anyio.lowlevel
import pytest

from adsyncd.host.event_loop import run
from adsyncd.host.ready_queue import go_first

MANY = 1000  # callbacks that are ready at once
FEW = 100


class Crowd:
    """Callbacks that are all ready at the same time; `called` counts those that were called."""

    def __init__(self, first: Callable[[], None] = lambda: None) -> None:
        self.called = 0
        self.order = list[int]()
        self._first = first
        for number in range(MANY):
            asyncio.get_running_loop().call_soon(self._call, number)

    def _call(self, number: int) -> None:
        if not number:
            self._first()
        self.called += 1
        self.order.append(number)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets."""
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(0)  # as the event loop wants it
        yield one, other


@pytest.mark.parametrize("first", [True, False])
def test_what_goes_first_reads_its_input_while_many_callbacks_are_ready(
    ends: tuple[socket.socket, socket.socket], *, first: bool
) -> None:
    async def main() -> int:
        seen = list[int]()

        async def answer() -> None:
            go_first(first=first)
            await asyncio.get_running_loop().sock_recv(ends[0], 1)
            seen.append(crowd.called)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            await anyio.wait_all_tasks_blocked()
            crowd = Crowd(first=lambda: ends[1].sendall(b"?"))
        assert crowd.order == sorted(crowd.order)
        return seen[0]

    called = run(main)
    assert called < FEW if first else called == MANY


def test_what_goes_first_and_never_rests_has_every_second_turn() -> None:
    async def main() -> tuple[int, int]:
        turns = 0

        async def restless() -> None:
            nonlocal turns
            while crowd.called < MANY:
                turns += 1
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            crowd = Crowd()
            go_first()
            tasks.start_soon(restless)
        return turns, crowd.called

    turns, called = run(main)
    assert called == MANY
    assert MANY - FEW < turns < MANY + FEW


def test_tasks_of_what_goes_first_do_so_too_unless_they_wait_in_line_again() -> None:
    async def main() -> tuple[int, int]:
        seen = dict[bool, int]()

        async def task(*, first: bool) -> None:
            go_first(first=first)
            await anyio.lowlevel.checkpoint()
            seen[first] = crowd.called

        async def parent() -> None:
            go_first()
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(lambda: task(first=True))
            tasks.start_soon(lambda: task(first=False))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parent)
            crowd = Crowd()
        return seen[True], seen[False]

    prompt, patient = run(main)
    assert prompt < FEW
    assert patient == MANY


def test_a_socket_that_goes_first_is_read_and_written_and_closed_like_any_other() -> None:
    async def main() -> bytes:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(1 << 22))
            await writer.drain()
            writer.close()

        go_first()
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(bytes(1 << 22))
            found = await reader.read(-1)
            writer.close()
            await writer.wait_closed()
        return found

    assert run(main) == bytes(1 << 22)
