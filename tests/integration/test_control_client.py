"""The client of the control API: each way in which no daemon answers, and servers that are not adsyncd."""

import gc
import gzip
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from pydantic import TypeAdapter
from starlette.applications import Starlette

from adsyncd.cli import client
from adsyncd.cli.client import Refused, path_of, reaching
from adsyncd.control.server import listening
from adsyncd.errors import AdsyncdError, DaemonBusy, NoDaemon
from adsyncd.model.status import TenantStatus
from support.control import HEALTH, an_inside, health, served, tenant


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


async def test_each_way_to_find_no_daemon_is_told_apart(place: Path) -> None:
    with pytest.raises(NoDaemon, match="there is no such socket; start the daemon"):
        await health(place)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
    with pytest.raises(NoDaemon, match="it ended and left its socket behind; start it again"):
        await health(place)
    silent = place.with_name("silent.sock")
    with listening(silent, None), pytest.raises(DaemonBusy, match=r"not answered within 0\.1 s"):
        await health(silent, within_s=0.1)
    async with served(Starlette(), place):
        with pytest.raises(NoDaemon, match="is not adsyncd of this version: it answered with status 404"):
            await health(place)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
async def test_who_may_not_ask_is_told_who_may() -> None:
    with tempfile.TemporaryDirectory() as folder, listening(place := Path(folder, "control.sock"), None):
        await anyio.Path(folder).chmod(0o755)
        await anyio.Path(place).chmod(0o600)  # to root's group this test still belongs
        os.seteuid(65534)
        try:
            with pytest.raises(NoDaemon, match="permission denied; run this as its user or root"):
                await health(place)
        finally:
            os.seteuid(0)


FACE = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def impostor(place: Path, *says: bytes, for_ever: bool = False) -> AsyncIterator[None]:
    """A server that is not adsyncd and sends these parts to each client, the last one again and again if `for_ever`."""

    async def answer(visitor: anyio.abc.SocketStream) -> None:
        with suppress(anyio.BrokenResourceError):
            async with visitor:
                await visitor.receive()
                for part in says:
                    await visitor.send(part)
                while for_ever:
                    await visitor.send(says[-1])
                    await anyio.sleep(0.001)

    listener = await anyio.create_unix_listener(place)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        yield
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "says",
    [
        b"HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 299 X\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 099 X\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 99 X\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        FACE + b"Content-Type: text/html\r\n\r\n<html>nothing</html>",
        FACE + b"\r\n" + b"[" * 10**5,
        FACE + b'\r\n{"status": "well"}',
        FACE + b'\r\n{"status": "ok"',
        FACE + b"\r\n\xff\xfe",
        FACE + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"0" * 10**6),
    ],
)
async def test_something_else_that_answers_is_no_daemon(place: Path, says: bytes) -> None:
    async with impostor(place, says):
        with pytest.raises(NoDaemon):
            await health(place)


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", FACE + b"Content-Length: 99\r\n\r\n{}"])
async def test_a_daemon_that_closes_the_connection_before_its_answer_is_busy(place: Path, says: bytes) -> None:
    async with impostor(place, says):
        with pytest.raises(DaemonBusy, match="closed the connection without an answer; try again, and see its log"):
            await health(place)


async def test_only_a_question_is_asked_again(place: Path) -> None:
    asked = list[bytes]()

    async def answer(visitor: anyio.abc.SocketStream) -> None:
        async with visitor:
            asked.append((await visitor.receive()).partition(b" ")[0])
            if asked == [b"GET", b"GET", b"GET"]:
                await visitor.send(FACE + b'Content-Length: 15\r\n\r\n{"status":"ok"}')

    listener = await anyio.create_unix_listener(place)
    async with listener, anyio.create_task_group() as tasks, reaching(place) as daemon:
        tasks.start_soon(listener.serve, answer)
        await daemon.ask("GET", "/v1/health", HEALTH)
        with pytest.raises(DaemonBusy, match="it may have done it, or do it yet: see adsyncd status"):
            await daemon.ask("POST", "/v1/pause", HEALTH)
        tasks.cancel_scope.cancel()
    assert asked == [b"GET", b"GET", b"GET", b"POST"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # anyio leaves its socket to the garbage
async def test_a_daemon_with_more_connections_than_it_takes_is_busy(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stalled, ExitStack() as waiting:
        stalled.bind(str(place))
        stalled.listen(0)
        with suppress(BlockingIOError):
            while True:
                visitor = waiting.enter_context(socket.socket(socket.AF_UNIX))
                visitor.settimeout(0)
                visitor.connect(str(place))
        with pytest.raises(DaemonBusy, match=r"has not answered within 0\.3 s; try again, and see its log"):
            await health(place, within_s=0.3)
    gc.collect()


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ((FACE + b"\r\n", b" " * 65536), NoDaemon),  # an endless body
        ((FACE, b"X-More: " + b"x" * 65536 + b"\r\n"), NoDaemon),  # an endless head
        ((FACE + b"\r\n", b" "), DaemonBusy),  # one drop at a time
        ((b"HTTP/1.1 103 Early Hints\r\n\r\n",), DaemonBusy),
    ],
)
async def test_an_answer_without_an_end_is_not_waited_for(
    place: Path, monkeypatch: pytest.MonkeyPatch, says: tuple[bytes, ...], error: type[AdsyncdError]
) -> None:
    monkeypatch.setattr(client, "_LARGEST_ANSWER", 2**20)
    async with impostor(place, *says, for_ever=True):
        with pytest.raises(error):
            await health(place, within_s=0.5 if error is DaemonBusy else 10)


async def test_what_the_daemon_refuses_is_told_with_its_fix(tmp_path: Path, place: Path) -> None:
    async with an_inside(tmp_path, tenant("acme")) as inside, served(inside.app, place), reaching(place) as daemon:
        with pytest.raises(Refused, match='there is no tenant "hooli"; adsyncd status lists all of them'):
            await daemon.ask("GET", path_of("hooli"), HEALTH)
        with pytest.raises(Refused, match="tenant: String should match pattern"):
            await daemon.ask("GET", path_of("..%2f?"), HEALTH)


async def test_a_list_is_read_to_its_end(tmp_path: Path, place: Path) -> None:
    ids = [f"t{number:04}" for number in range(1005)]
    async with an_inside(tmp_path) as inside, served(inside.app, place), reaching(place) as daemon:
        inside.files.disabled = [tenant(name, enabled=False) for name in ids]
        found = await daemon.ask_all("/v1/tenants?limit=1000", TypeAdapter(list[TenantStatus]))
    assert [one.id for one in found] == ids


@pytest.mark.parametrize("following", [b"</v1/tenants?after=x>", b"<http://elsewhere/v1/tenants>", b"<//elsewhere/>"])
async def test_a_list_that_leads_in_circles_or_elsewhere_is_not_followed(
    place: Path, monkeypatch: pytest.MonkeyPatch, following: bytes
) -> None:
    monkeypatch.setattr(client, "_MOST_PAGES", 3)
    says = FACE + b"Connection: close\r\nContent-Length: 2\r\nLink: " + following + b'; rel="next"\r\n\r\n[]'
    async with impostor(place, says), reaching(place) as daemon:
        with pytest.raises(NoDaemon, match="with pages without an end"):
            await daemon.ask_all("/v1/tenants", TypeAdapter(list[TenantStatus]))
