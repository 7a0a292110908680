import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import anyio
import pytest

from adsyncd.host.event_loop import run

SILENT = "silent.test"
TENANTS = 50  # many more than the loop would have threads


class NameServers:
    """Know every host, but for the one whose name servers are silent."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.awake = threading.Event()

    def getaddrinfo(self, host: bytes, port: int, *_: int) -> list[tuple[object, ...]]:
        self.asked.append(host.decode())
        if host.decode() == SILENT:
            self.awake.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


@pytest.fixture
def name_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServers]:
    servers = NameServers()
    monkeypatch.setattr(socket, "getaddrinfo", servers.getaddrinfo)
    yield servers
    servers.awake.set()


async def look_up(host: str) -> str:
    (address,) = await anyio.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    return address[4][0]


def test_a_host_whose_name_servers_are_silent_keeps_nobody_from_another(name_servers: NameServers) -> None:
    async def main() -> str:
        async with anyio.create_task_group() as tasks:
            for _ in range(TENANTS):
                tasks.start_soon(look_up, SILENT)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(10):
                address = await look_up("ads.test")
            tasks.cancel_scope.cancel()
        return address

    assert run(main) == "192.0.2.1"
    assert not name_servers.awake.is_set()  # nor does it keep the program from ending


def test_all_who_ask_for_a_host_at_once_share_one_look_up_and_its_failure(name_servers: NameServers) -> None:
    failures = []

    async def tenant() -> None:
        try:
            await look_up(SILENT)
        except socket.gaierror as error:
            failures.append(error.errno)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(TENANTS):
                tasks.start_soon(tenant)
            await anyio.wait_all_tasks_blocked()
            name_servers.awake.set()

    run(main)
    assert failures == [socket.EAI_AGAIN] * TENANTS
    assert name_servers.asked == [SILENT]


def test_who_gives_up_takes_the_look_up_from_nobody_else(name_servers: NameServers) -> None:
    async def main() -> None:
        with anyio.move_on_after(0.01):
            await look_up(SILENT)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits)
            await anyio.wait_all_tasks_blocked()
            name_servers.awake.set()

    async def waits() -> None:
        with pytest.raises(socket.gaierror):
            await look_up(SILENT)

    run(main)
    assert name_servers.asked == [SILENT]


def test_each_look_up_asks_anew_once_the_last_one_is_over(name_servers: NameServers) -> None:
    async def main() -> None:
        assert await look_up("ads.test") == await look_up("ads.test")

    run(main)
    assert name_servers.asked == ["ads.test", "ads.test"]


RECEIVES = """
import socket, sys
import anyio
from anyio.abc import SocketStream
from adsyncd.host.event_loop import run

async def main():
    async with await SocketStream.from_socket(socket.socket(fileno=int(sys.argv[1]))) as peer:
        await peer.send(b"waits")
        answer = b"timed out"
        with anyio.move_on_after(1.5):
            answer = await peer.receive()
        await peer.send(answer)

run(main)
"""


def test_data_that_arrives_while_the_process_is_stopped_is_read_before_the_timeout_fires() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    command = [sys.executable, "-c", RECEIVES, str(theirs.fileno())]
    with ours, theirs, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as process:
        assert ours.recv(100) == b"waits"
        time.sleep(0.1)  # until the process waits for its event loop's next event
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        ours.sendall(b"an answer")
        time.sleep(1.6)  # longer than its timeout
        process.send_signal(signal.SIGCONT)
        assert ours.recv(100) == b"an answer"
