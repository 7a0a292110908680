from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import TaskGroup

from adsyncd.errors import ConfigError
from adsyncd.simulation.network import Link, Message, Network, Wire, load_factory
from mock_api.answers import DROP

URL = "http://ads.test"


class Platform:
    """Answers after two seconds with what it was sent; to /drop it hangs up. Sees what arrives and is answered."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.said: list[int] = []
        self.delivered_bodies: list[bytes] = []

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's
        if scope["path"] == "/drop":
            scope["extensions"][DROP]()
            return
        await anyio.sleep(2)
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-query", scope["query_string"])]})
        await send({"type": "http.response.body", "body": body})

    def arrived(self, request: httpx.Request) -> None:
        self.seen.append(request.url.path)

    def delivered(self, answer: httpx.Response, owner: str) -> None:
        assert owner == "a life"
        self.delivered_bodies.append(answer.content)

    def answered(self, _: httpx.Request, status: int, body: bytes) -> None:
        assert body == b"hello"
        self.said.append(status)


def network(platform: Platform, tasks: TaskGroup, **link: float) -> Network:
    return Network({URL: platform}, {"acme": Link(0.5, 0.5, **link)}, 0, lambda _: "acme", platform, tasks)


def request(path: str = "/") -> httpx.Request:
    return httpx.Request("POST", URL + path, content=b"hello", headers={"x-client-id": "acme"})


async def test_a_request_takes_its_way_there_and_the_answer_its_way_back() -> None:
    async with anyio.create_task_group() as tasks:
        start = anyio.current_time()
        platform = Platform()
        answer = await network(platform, tasks).send(request("/?page=1"), "a life")
        assert anyio.current_time() - start == pytest.approx(3)
    assert platform.delivered_bodies == [b"hello"]
    assert (answer.status_code, await answer.aread(), answer.headers["x-query"]) == (200, b"hello", "page=1")


async def test_a_request_takes_effect_though_its_client_gave_up() -> None:
    platform = Platform()
    async with anyio.create_task_group() as tasks:
        with anyio.move_on_after(0.1):
            await network(platform, tasks).send(request(), "a life")
        assert not platform.seen
    assert (platform.seen, platform.said) == (["/"], [200])


async def test_a_request_that_is_lost_never_arrives_and_is_never_answered() -> None:
    platform = Platform()
    async with anyio.create_task_group() as tasks:
        with anyio.move_on_after(1000) as patience:
            await network(platform, tasks, lost=1.0).send(request(), "a life")
    assert patience.cancelled_caught
    assert not platform.seen


@pytest.mark.parametrize(
    ("path", "link", "error", "seen"),
    [("/", {"unreachable": 1.0}, httpx.ConnectError, []), ("/drop", {}, httpx.RemoteProtocolError, ["/drop"])],
)
async def test_a_connection_that_fails_or_breaks_is_httpxs_error(
    path: str, link: dict[str, float], error: type[Exception], seen: list[str]
) -> None:
    platform = Platform()
    async with anyio.create_task_group() as tasks:
        with pytest.raises(error):
            await network(platform, tasks, **link).send(request(path), "a life")
    assert platform.seen == seen


async def test_when_all_is_well_again_every_request_arrives() -> None:
    async with anyio.create_task_group() as tasks:
        net = network(Platform(), tasks, unreachable=1.0)
        net.heal()
        assert (await net.send(request(), "a life")).status_code == 200


async def test_nothing_leaves_a_life_that_is_over() -> None:
    platform = Platform()
    async with anyio.create_task_group() as tasks:
        wire = Wire(network(platform, tasks), "a life")
        wire.cut = True
        with pytest.raises(httpx.ConnectError):
            await wire.handle_async_request(request())
    assert not platform.seen


def test_a_platform_is_loaded_by_its_name() -> None:
    assert load_factory("collections:Counter") is __import__("collections").Counter
    with pytest.raises(ConfigError, match=r"no platform collections:Contour .*MODULE:FACTORY"):
        load_factory("collections:Contour")
