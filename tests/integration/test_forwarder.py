"""A browser's way to the daemon's socket: a TCP port of this machine, for one user."""

import os
import signal
import socket
import subprocess
import sys
import webbrowser
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adsyncd.cli import forwarder, page
from adsyncd.cli.forwarder import forwarding
from adsyncd.control.access import Access
from adsyncd.errors import AdsyncdError
from adsyncd.host.tcp_peer import peer_uid
from support.control import refused, served

BIG = os.urandom(2**22)
ME = {os.getuid()}

# A request by another user of the machine.
ASK = """
import encodings.idna, os, socket, sys
os.setuid(int(sys.argv[1]))
with socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as browser:
    browser.sendall(b"GET / HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n\\r\\n")
    print(browser.recv(99).split(b"\\r\\n")[0].decode())
"""


async def echo(request: Request) -> Response:
    return Response(await request.body() or BIG)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Path]:
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])
    async with served(Access(app), tmp_path / "control.sock"):
        yield tmp_path / "control.sock"


def port_of(address: str) -> int:
    return httpx.URL(address).port or 0


async def test_a_browser_gets_what_the_socket_answers_byte_by_byte(place: Path) -> None:
    async with forwarding(place, ME) as address, httpx.AsyncClient(base_url=address) as browser:
        assert (await browser.get("/")).content == BIG
        sent = BIG[: 2**17]
        assert (await browser.post("/", content=sent)).content == sent
        half = await browser.get("/", headers={"Connection": "close"})
        assert half.content == BIG
        refused(await browser.get("/", headers={"Host": f"evil.example:{port_of(address)}"}), 421)
        refused(await browser.post("/", headers={"Origin": "http://127.0.0.1:3000"}), 403)
        own = {"Origin": address.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
        assert (await browser.post("/", headers=own, content=b"x")).content == b"x"


async def test_it_listens_on_this_machine_s_own_address_alone(place: Path) -> None:
    async with forwarding(place, ME) as address:
        assert address == f"http://127.0.0.1:{port_of(address)}/"
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", port_of(address)))
    with socket.socket() as late, pytest.raises(ConnectionRefusedError):
        late.connect(("127.0.0.1", port_of(address)))


async def test_a_port_that_is_taken_is_named(place: Path) -> None:
    async with forwarding(place, ME) as address:
        port = port_of(address)
        with pytest.raises(AdsyncdError, match=f"can't listen at 127.0.0.1:{port}: .*; name another --port"):
            async with forwarding(place, ME, port):
                pass


async def test_the_kernel_knows_the_user_at_the_other_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as theirs:
        ours, _ = listener.accept()
        with ours:
            assert peer_uid(ours.getsockname(), ours.getpeername()) == os.getuid()
            assert peer_uid(ours.getsockname(), theirs.getpeername()) is None
    with socket.socket(socket.AF_INET6) as theirs, socket.create_server(("127.0.0.1", 0)) as listener:
        theirs.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
        ours, _ = listener.accept()
        with ours:
            assert peer_uid(ours.getsockname(), ours.getpeername()) == os.getuid()


async def test_another_user_is_refused_before_the_daemon_hears_of_it(place: Path) -> None:
    async with forwarding(place, {os.getuid() + 1}) as address, httpx.AsyncClient() as browser:
        answer = await browser.get(address)
        assert answer.status_code == 403
        assert answer.text == "this page is served to the user who started it alone"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become others")
async def test_of_two_users_the_one_who_started_it_gets_the_page(place: Path) -> None:
    async with forwarding(place, {4711}) as address:
        for uid, line in ((4711, "HTTP/1.1 200 OK"), (4712, "HTTP/1.1 403 Forbidden"), (0, "HTTP/1.1 403 Forbidden")):
            command = [sys.executable, "-c", ASK, str(uid), str(port_of(address))]
            done = await anyio.run_process(command, stderr=subprocess.STDOUT, check=False)
            assert done.stdout.decode().strip() == line


async def test_without_a_daemon_it_says_so_and_goes_on(place: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.sock"
    async with forwarding(place, ME) as address, httpx.AsyncClient() as browser:
        await anyio.Path(place).rename(moved)
        answer = await browser.get(address)
        assert (answer.status_code, answer.text) == (
            502,
            f"no daemon answers at {place}: No such file or directory",
        )
        await anyio.Path(moved).rename(place)
        assert (await browser.get(address)).content == BIG


async def test_a_browser_that_breaks_off_or_stalls_costs_the_others_nothing(place: Path) -> None:
    async with forwarding(place, ME) as address, httpx.AsyncClient() as browser:
        with ExitStack() as idle:
            for number in range(20):
                other = idle.enter_context(socket.create_connection(("127.0.0.1", port_of(address))))
                other.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")  # and nobody reads the answer
                if number % 2:
                    other.close()
            assert (await browser.get(address)).content == BIG
        assert (await browser.get(address)).content == BIG


async def test_more_connections_than_the_daemon_serves_are_turned_away(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarder, "MOST", 2)
    async with forwarding(place, ME) as address, httpx.AsyncClient() as browser:
        with ExitStack() as others:
            for _ in range(2):
                other = others.enter_context(socket.create_connection(("127.0.0.1", port_of(address))))
                other.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await anyio.wait_readable(other)
            assert (await browser.get(address, headers={"Connection": "close"})).status_code == 503
        with anyio.fail_after(10):
            while (await browser.get(address, headers={"Connection": "close"})).status_code == 503:  # noqa: ASYNC110 - it has no event
                await anyio.sleep(0.01)


async def test_a_browser_is_opened_at_the_address_and_ctrl_c_ends_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[httpx.Response] = []

    def open_browser(address: str) -> bool:
        seen.append(httpx.get(address))
        os.kill(os.getpid(), signal.SIGINT)
        return True

    monkeypatch.setattr(webbrowser, "open", open_browser)
    with anyio.fail_after(20):
        await page._serve(place, 0, browses=True)
    assert seen[0].content == BIG
    address, note, remote = capsys.readouterr().out.splitlines()
    assert address == str(seen[0].url)
    assert note == f"served to your user until Ctrl-C, from {place}"
    assert remote.startswith(f"from another machine: ssh -L 8090:{place} ")
