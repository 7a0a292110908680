"""Connecting to a host with several addresses, over real sockets."""

import asyncio
import socket
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from adsyncd.host.shortage import shortage
from adsyncd.platforms.addresses import open_socket
from support.descriptors import exhausted
from support.raw_server import raw_server

GONE = ("127.0.0.1", 1)


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    if request.param:
        pytest.importorskip("uvloop", reason="pip install adsyncd[dev]")
    return "asyncio", {"use_uvloop": request.param}


def resolve(monkeypatch: pytest.MonkeyPatch, *places: tuple[str, int]) -> None:
    """Let every name have these addresses."""

    def found(_host: str, _port: int, **options: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - getaddrinfo's
        if options.get("flags"):
            raise socket.gaierror
        return [
            (socket.AF_INET6 if ":" in place[0] else socket.AF_INET, socket.SOCK_STREAM, 6, "", place)
            for place in places
        ]

    monkeypatch.setattr(socket, "getaddrinfo", found)

    async def looked_up(self: object, host: str, port: int, **options: Any) -> object:  # noqa: ANN401, ARG001
        return found(host, port, **options)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", looked_up)


def place_of(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


async def test_a_number_is_connected_to() -> None:
    async with raw_server() as server:
        with await open_socket(*place_of(server.url)) as connected:
            assert (connected.getpeername(), connected.gettimeout()) == (place_of(server.url), 0.0)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_address_that_refuses_does_not_keep_the_next_from_being_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server() as server:
        resolve(monkeypatch, ("::1", 1), GONE, place_of(server.url))
        with await open_socket("ads.invalid", 80) as connected:
            assert connected.getpeername() == place_of(server.url)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_address_that_is_silent_does_not_either(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        async with raw_server() as server:
            with socket.create_connection(full.getsockname()), socket.socket() as waiting:
                waiting.setblocking(False)  # noqa: FBT003 - a socket's
                waiting.connect_ex(full.getsockname())
                resolve(monkeypatch, full.getsockname(), place_of(server.url))
                with anyio.fail_after(30):
                    connected = await open_socket("ads.invalid", 80)
                with connected:
                    assert connected.getpeername() == place_of(server.url)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_all_errors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, GONE, ("127.0.0.2", 1))
    with pytest.raises(OSError, match=r"'127.0.0.1', 1.*; .*'127.0.0.2', 1") as failed:
        await open_socket("ads.invalid", 80)
    assert isinstance(failed.value.__cause__, ExceptionGroup)
    resolve(monkeypatch, GONE)
    with pytest.raises(ConnectionRefusedError):
        await open_socket("ads.invalid", 80)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("addresses", [1, 3])
async def test_a_lack_of_file_descriptors_is_told_as_that(monkeypatch: pytest.MonkeyPatch, addresses: int) -> None:
    resolve(monkeypatch, *[GONE] * addresses)
    with exhausted(), pytest.raises(OSError, match="Too many open files") as failed:
        await open_socket("ads.invalid", 80)
    assert "no file descriptor left" in (shortage(failed.value) or "")


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".invalid"])
async def test_a_name_that_is_none_is_an_error_like_another(host: str) -> None:
    with pytest.raises(OSError, match="is no name of a host"):
        await open_socket(host, 80)


async def test_a_cancelled_attempt_leaves_no_socket_behind() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()), anyio.move_on_after(0.05) as scope:
            (await open_socket(*full.getsockname())).close()
            (await open_socket(*full.getsockname())).close()
        assert scope.cancelled_caught or not scope.cancel_called
