"""The control socket on a real file system: who may come in, whose it is, and who is at its other end."""

import asyncio
import grp
import os
import socket
import stat
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from adsyncd.control import connection, server, wire
from adsyncd.control.peer import Peer, peer_of
from adsyncd.control.server import listening, serve
from adsyncd.errors import ConfigError, DaemonBusy
from adsyncd.host import event_loop
from adsyncd.tasks import beside
from support.control import an_inside, health, served, tenant

# A visit by another process.
VISIT = """
import socket, sys
visitor = socket.socket(socket.AF_UNIX)
visitor.connect(sys.argv[1])
visitor.sendall(b"GET / HTTP/1.1\\r\\nHost: adsyncd\\r\\n\\r\\n")
assert visitor.recv(99).startswith(b"HTTP/1.1 200")
"""

GET = b"GET %s HTTP/1.1\r\nHost: adsyncd\r\n\r\n"


async def healthy(_: Request) -> Response:
    return Response(b'{"status": "ok"}')


HEALTHY = Route("/v1/health", healthy)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


# Whose it is


def test_its_owner_and_group_may_connect_while_it_listens_and_nobody_else(place: Path) -> None:
    umask = os.umask(0o077)  # as the command has it
    try:
        with listening(place, grp.getgrgid(os.getgid()).gr_name):
            found = place.stat()
    finally:
        os.umask(umask)
    assert not place.exists()
    assert stat.S_ISSOCK(found.st_mode)
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, os.getgid())


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give it to any group")
def test_it_is_given_to_the_group_of_the_settings(place: Path) -> None:
    other = next(group for group in grp.getgrall() if group.gr_gid != os.getgid())
    with listening(place, other.gr_name):
        assert place.stat().st_gid == other.gr_gid


def test_what_a_dead_daemon_left_is_replaced(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
        dead.listen()
    with listening(place, None), socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(place))


def test_a_daemon_that_lives_is_left_alone(place: Path) -> None:
    with listening(place, None):
        with (
            pytest.raises(ConfigError, match=r"another adsyncd listens at .*; stop it, or configure another"),
            listening(place, None),
        ):
            pass
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect(str(place))


def test_what_somebody_else_put_in_its_place_is_left(place: Path) -> None:
    with listening(place, None):
        place.unlink()
        place.write_text("")
    assert place.exists()


def test_each_reason_for_which_it_can_t_be_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, group, words in (
        (tmp_path / "no" / "control.sock", None, f"there is no directory {tmp_path}/no; create it"),
        (tmp_path / "file", None, "exists and is not a socket; remove it"),
        (tmp_path / ("x" * 200), None, "AF_UNIX path too long; put the socket"),
        (tmp_path / "control.sock", "no-such", 'control.group: there is no group "no-such"; create it'),
    ):
        with pytest.raises(ConfigError) as raised, listening(place, group):
            pass
        assert words in str(raised.value)
    assert (tmp_path / "file").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# Who is at the other end


async def test_the_kernel_says_who_commands(tmp_path: Path, place: Path) -> None:
    async with an_inside(tmp_path, tenant("acme")) as inside, served(inside.app, place) as client:
        with capture_logs() as log:
            (await client.post("/v1/tenants/acme/pause")).raise_for_status()
            (await client.get("/v1/tenants")).raise_for_status()  # a question is not logged
    me = {"peer_pid": os.getpid(), "peer_uid": os.getuid(), "peer_gid": os.getgid()}
    command = {"event": "command", "command": "pause", "tenant": "acme", "outcome": "done"}
    assert log == [{**command, "log_level": "info", **me}]


async def test_each_connection_has_its_own_peer(place: Path) -> None:
    seen: list[Peer | None] = []

    async def note(request: Request) -> Response:
        seen.append(peer_of(request))
        return Response()

    async with served(Starlette(routes=[Route("/", note)]), place) as client:
        await client.get("/")
        await anyio.run_process([sys.executable, "-c", VISIT, str(place)])
        await client.get("/")
    first, second, third = seen
    assert first == third == Peer(os.getpid(), os.getuid(), os.getgid())
    assert second
    assert second.pid != os.getpid()


# Who keeps others out


def visit(place: Path, sends: bytes = b"") -> socket.socket:
    visitor = socket.socket(socket.AF_UNIX)
    visitor.connect(str(place))
    visitor.sendall(sends)
    return visitor


async def end_of(visitor: socket.socket) -> bytes:
    """Return what the daemon says to a visitor until it hangs up."""
    said = b""
    visitor.settimeout(0)
    with anyio.fail_after(10), suppress(ConnectionResetError):
        while True:
            await anyio.wait_readable(visitor)
            if not (more := visitor.recv(65536)):
                break
            said += more
    return said


@pytest.mark.parametrize(
    "sends",
    [
        b"",
        b"GET / HT",
        GET % b"/big",
        2 * (GET % b"/big"),
        b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
    ],
)
async def test_visitors_who_say_nothing_or_half_of_it_or_do_not_listen_keep_nobody_out(
    place: Path, sends: bytes
) -> None:
    async def slow(request: Request) -> Response:
        await request.body()
        return Response()

    big = Route("/big", lambda _: Response(b"x" * 2**22))
    async with served(Starlette(routes=[HEALTHY, big, Route("/slow", slow, methods=["POST"])]), place):
        with ExitStack() as visitors:
            for _ in range(70):
                visitors.enter_context(visit(place, sends))
                await anyio.lowlevel.checkpoint()  # so that none of them waits in the kernel's queue
            # One whose request is there as soon as the daemon takes it in, and one who connects first.
            with visit(place, GET % b"/v1/health") as quick:
                await anyio.wait_readable(quick)
                assert quick.recv(99).startswith(b"HTTP/1.1 200")
            assert await health(place) == wire.Health()


async def test_a_head_that_does_not_come_ends_the_connection(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_WITHIN_S", 0.1)
    async with served(Starlette(), place):
        with visit(place, b"GET / HTTP/1.1\r\n") as silent:
            assert await end_of(silent) == b""
        with visit(place, GET % b"/") as half:
            await anyio.wait_readable(half)
            half.sendall(b"GET / HT")
            assert (await end_of(half)).startswith(b"HTTP/1.1 404")


async def test_an_answer_may_be_read_slowly(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_WITHIN_S", 0.05)
    big = Route("/big", lambda _: Response(b"x" * 2**22))
    async with served(Starlette(routes=[big]), place):
        with visit(place, GET % b"/big") as slow:
            await anyio.sleep(0.2)  # longer than a head may take
            assert len(await end_of(slow)) > 2**22


class Work:
    """Requests that go on until they are told to end."""

    def __init__(self, answer: bytes = b"done") -> None:
        self.begun, self.go_on, self.ended = anyio.Semaphore(0), anyio.Event(), anyio.Semaphore(0)
        self._answer = answer
        self.app = Starlette(routes=[Route("/", self._work), HEALTHY])

    async def _work(self, _: Request) -> Response:
        self.begun.release()
        await self.go_on.wait()
        self.ended.release()
        return Response(self._answer)


async def test_where_it_is_at_work_on_as_many_as_it_can_it_is_busy_and_cuts_none_of_them_off(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_AT_ONCE", 2)
    monkeypatch.setattr(connection, "HEAD_WITHIN_S", 0.1)
    work = Work()
    async with served(work.app, place):
        with ExitStack() as visitors:
            workers = [visitors.enter_context(visit(place, GET % b"/")) for _ in range(2)]
            for _ in workers:
                await work.begun.acquire()
            with pytest.raises(DaemonBusy, match="is busy with too many requests; try again"):
                await health(place)
            await anyio.sleep(0.2)  # longer than a head may take
            work.go_on.set()
            for worker in workers:
                assert (await end_of(worker)).endswith(b"done")


async def test_work_counts_until_it_is_done_though_its_client_has_gone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_AT_ONCE", 2)
    work = Work()
    async with served(work.app, place):
        for _ in range(2):
            with visit(place, GET % b"/"):
                await work.begun.acquire()
        with pytest.raises(DaemonBusy, match="is busy with too many requests; try again"):
            await health(place)
        work.go_on.set()
        for _ in range(2):
            await work.ended.acquire()
        assert await health(place) == wire.Health()


async def test_who_does_not_read_its_answer_counts_no_more_once_that_is_ready(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_AT_ONCE", 2)
    work = Work(b"x" * 2**22)
    async with served(work.app, place):
        with ExitStack() as visitors:
            for _ in range(2):
                visitors.enter_context(visit(place, 2 * (GET % b"/")))
                await work.begun.acquire()
            for _ in range(2):
                assert (await end_of(visitors.enter_context(visit(place, GET % b"/")))).startswith(b"HTTP/1.1 503")
            work.go_on.set()
            assert await health(place) == wire.Health()


async def test_of_those_who_ask_in_the_same_instant_each_is_answered(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_AT_ONCE", 25)
    async with served(Starlette(routes=[HEALTHY]), place):
        with ExitStack() as visitors:
            together = [visitors.enter_context(visit(place, GET % b"/v1/health")) for _ in range(40)]
            for visitor in together:
                await anyio.wait_readable(visitor)
                assert visitor.recv(99).startswith(b"HTTP/1.1 200")


async def test_of_those_who_say_nothing_no_more_stay_than_it_can_have_open(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_AT_ONCE", 10)

    async def left(visitors: list[socket.socket], least: int) -> list[socket.socket]:
        with anyio.fail_after(10):
            while len(ended := [visitor for visitor in visitors if is_over(visitor)]) < least:  # noqa: ASYNC110 - no event
                await anyio.sleep(0.01)
        return [visitor for visitor in visitors if visitor not in ended]

    async with served(Starlette(routes=[HEALTHY]), place):
        with ExitStack() as stack:
            visitors = [stack.enter_context(visit(place)) for _ in range(50)]
            assert len(await left(visitors, 30)) == 20  # twice as many, where none has had time to ask
            await anyio.sleep(connection.HEAD_ON_ITS_WAY_S)
            visitors.append(stack.enter_context(visit(place)))
            assert await left(visitors, 41) == visitors[-10:]


def is_over(visitor: socket.socket) -> bool:
    visitor.settimeout(0)
    try:
        return visitor.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


# Who asks


async def test_who_connects_before_the_daemon_serves_is_answered_when_it_does(tmp_path: Path, place: Path) -> None:
    answers: list[wire.Health] = []

    async def early() -> None:
        answers.append(await health(place))

    async with an_inside(tmp_path, tenant("acme")) as inside:
        with listening(place, None) as listener:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(early)
                await anyio.wait_all_tasks_blocked()
                assert answers == []
                async with beside(serve, inside.app, listener):
                    with anyio.fail_after(10):
                        while not answers:  # noqa: ASYNC110 - as short as can be
                            await anyio.sleep(0.01)
    assert answers == [wire.Health()]


async def test_an_answer_in_progress_is_given_before_the_end(place: Path) -> None:
    work = Work()

    async def end_after_the_stop_began() -> None:
        with suppress(ConnectionRefusedError):
            while True:
                with socket.socket(socket.AF_UNIX) as late:
                    late.connect(str(place))
                await anyio.sleep(0.01)
        await anyio.sleep(0.3)  # uvicorn takes 0.1 s before it begins to wait for answers
        work.go_on.set()

    async with anyio.create_task_group() as tasks:
        async with served(work.app, place):
            visitor = visit(place, GET % b"/")
            await work.begun.acquire()
            tasks.start_soon(end_after_the_stop_began)
        with visitor:
            assert (await end_of(visitor)).endswith(b"done")


def test_an_answer_waits_behind_few_of_a_thousand_callbacks_that_are_ready(place: Path) -> None:
    called, called_before_answer = 0, list[int]()

    def call() -> None:
        nonlocal called
        called += 1

    async def count(_: Request) -> Response:
        called_before_answer.append(called)
        return Response()

    async def main() -> None:
        with listening(place, None) as listener, socket.socket(socket.AF_UNIX) as visitor:
            async with beside(serve, Starlette(routes=[Route("/", count)]), listener):
                await anyio.wait_all_tasks_blocked()
                visitor.connect(str(place))
                visitor.sendall(GET % b"/")
                for _ in range(1000):
                    asyncio.get_running_loop().call_soon(call)
                while not called_before_answer:
                    await anyio.lowlevel.checkpoint()

    event_loop.run(main)
    assert called_before_answer[0] < 300
