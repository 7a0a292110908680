"""The control socket and the page's socket side by side, as browsers, proxies and attackers reach them."""

import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adsyncd.control import server, wire
from adsyncd.control.access import Access
from adsyncd.control.app import application
from adsyncd.control.server import listening
from adsyncd.errors import ConfigError
from support.control import Inside, an_inside, health, refused, served, tenant
from support.web import serving

HOSTS = ("ads.example.com",)


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    async with an_inside(tmp_path, tenant("acme")) as begun:
        yield begun


@pytest.fixture
async def operators(inside: Inside, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = Access(application(inside.commands, inside.overview), lambda: HOSTS)
    async with served(app, tmp_path / "control.sock") as client:
        yield client


@pytest.fixture
async def colleagues(inside: Inside, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = Access(application(inside.commands, inside.overview), lambda: HOSTS, reads_only=True)
    async with served(app, tmp_path / "page.sock") as client:
        yield client


@asynccontextmanager
async def proxied(place: Path, name: str) -> AsyncIterator[str]:
    """Serve what is behind a socket at a port, as a reverse proxy that is called `name` and passes Host on."""
    transport = httpx.AsyncHTTPTransport(uds=str(place))
    async with httpx.AsyncClient(transport=transport, base_url="http://adsyncd") as behind:

        async def forward(request: Request) -> Response:
            headers = {**request.headers, "host": name, "x-forwarded-host": "localhost"}
            answer = await behind.request(request.method, request.url.path, headers=headers)
            return Response(answer.content, answer.status_code, answer.headers)

        async with serving(Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])])) as address:
            yield address


def is_paused(inside: Inside) -> bool:
    return inside.supervisor.worker("acme").status(None).paused_since is not None


async def said(place: Path, request: str) -> str:
    """Send raw bytes, and return the whole answer."""
    async with await anyio.connect_unix(place) as stream:
        await stream.send(request.encode("latin-1"))
        answer = b""
        with anyio.fail_after(10):
            async for chunk in stream:
                answer += chunk
    return answer.decode()


def raw(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> str:
    return "\r\n".join([f"{method} {target} HTTP/{version}", *fields, "Connection: close", "", ""])


@pytest.mark.usefixtures("operators")
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (raw("/v1/health", "Host: localhost"), 200),
        (raw("/v1/health", "Host: adsyncd"), 200),
        (raw("/v1/health", "Host: [::1]:8090"), 200),
        (raw("/v1/health", "Host: ADS.example.com.:443"), 200),
        (raw("/v1/health", "host: evil.example"), 421),
        (raw("/v1/health", "Host: evil.example", "X-Forwarded-Host: localhost"), 421),
        (raw("/v1/health", "Host:"), 421),
        (raw("/v1/health", "Host: " + "x" * 9999), 421),
        (raw("/v1/health", "Host: user@localhost"), 400),
        (raw("/v1/health", "Host: local\xa0host"), 400),
        (raw("/v1/health"), 400),
        (raw("/v1/health", version="1.0"), 400),
        (raw("/v1/health", "Host: localhost", version="1.0"), 200),
        (raw("/v1/health", "Host: localhost", "Host: localhost"), 400),
        (raw("/v1/health", "Host: localhost", "Host: evil.example"), 400),
        (raw("/v1/health", "Host: localhost\r\n  evil.example"), 400),
        (raw("/v1/health", "Host : localhost"), 400),
        (raw("http://evil.example/v1/health", "Host: localhost"), 421),
        (raw("http://localhost/v1/health", "Host: evil.example"), 200),
        (raw("evil.example:80", "Host: localhost", method="CONNECT"), 400),
        (raw("*", "Host: localhost", method="OPTIONS"), 400),
        (raw("/no/such/page", "Host: evil.example"), 421),
    ],
)
async def test_a_request_is_answered_under_our_names_alone(tmp_path: Path, request_: str, status: int) -> None:
    answer = await said(tmp_path / "control.sock", request_)
    assert answer.startswith(f"HTTP/1.1 {status} "), answer
    assert ('"status":"ok"' in answer) == (status == 200)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999", "Host": "localhost:8090"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:8090", "Host": "localhost:8090"},
    ],
)
async def test_a_foreign_page_pauses_nobody(
    inside: Inside, operators: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    refused(await operators.post("/v1/tenants/acme/pause", headers=headers), 403)
    form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    refused(await operators.post("/v1/tenants/acme/pause", headers=form, content=b"a=b" * 9999), 403)
    assert not is_paused(inside)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost"},  # curl --unix-socket S http://localhost/...
        {"Host": "localhost:8090", "Origin": "http://localhost:8090", "Sec-Fetch-Site": "same-origin"},
        {"Host": "ads.example.com", "Origin": "https://ads.example.com", "Sec-Fetch-Site": "same-origin"},
        {"Host": "localhost:8090", "Sec-Fetch-Site": "none"},
    ],
)
async def test_the_command_line_curl_and_the_page_itself_may(
    inside: Inside, operators: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await operators.post("/v1/tenants/acme/pause", headers=headers)).status_code == 200
    assert is_paused(inside)


async def test_colleagues_read_everything_and_command_nothing(inside: Inside, colleagues: httpx.AsyncClient) -> None:
    for path in ("/v1/health", "/v1/tenants", "/v1/tenants/acme", "/v1/openapi.json"):
        assert (await colleagues.get(path)).status_code == 200
        assert (await colleagues.head(path)).status_code == 200
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        for path in ("/v1/tenants/acme/pause", "/v1/reload", "/no/such"):
            answer = await colleagues.request(method, path, headers={"X-HTTP-Method-Override": "GET"})
            refused(answer, 405)
            assert answer.headers["allow"] == "GET, HEAD"
    refused(await colleagues.get("/v1/tenants", headers={"Host": "evil.example"}), 421)
    assert not is_paused(inside)


async def test_a_crowd_of_colleagues_keeps_no_operator_out(
    inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_AT_ONCE", 2)
    begun, go_on = anyio.Semaphore(0), anyio.Event()
    behind = application(inside.commands, inside.overview)

    async def slow(*args: object) -> None:
        begun.release()
        await go_on.wait()
        await behind(*args)  # type: ignore[arg-type]  # as it came

    async with (
        served(Access(behind), tmp_path / "control.sock"),
        served(Access(slow, reads_only=True), tmp_path / "page.sock") as colleagues,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(2):
            tasks.start_soon(colleagues.get, "/v1/tenants")
            await begun.acquire()
        assert (await colleagues.get("/v1/tenants")).status_code == 503
        with ExitStack() as idle:
            for _ in range(10):
                idle.enter_context(socket.socket(socket.AF_UNIX)).connect(str(tmp_path / "page.sock"))
            assert await health(tmp_path / "control.sock") == wire.Health()
        go_on.set()


def test_its_file_is_for_its_group_and_errors_name_its_keys(tmp_path: Path) -> None:
    place = tmp_path / "page.sock"
    with listening(place, None, "page"):
        assert stat.S_IMODE(place.stat().st_mode) == 0o660
        with pytest.raises(ConfigError, match=r"page\.socket: another adsyncd .* configure another page\.socket"):
            listening(place, None, "page").__enter__()
    assert not place.exists()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
    with listening(place, None, "page"):
        assert place.stat().st_uid == os.getuid()
    place.write_text("")
    for path, group, words in (
        (place, None, "page.socket: .* exists and is not a socket"),
        (tmp_path / "no" / "page.sock", None, "page.socket: there is no directory"),
        (tmp_path / ("x" * 200), None, "page.socket: can't listen at"),
        (tmp_path / "other.sock", "no-such", 'page.group: there is no group "no-such"'),
    ):
        with pytest.raises(ConfigError, match=words):
            listening(path, group, "page").__enter__()


async def test_a_proxy_that_passes_the_host_on_serves_the_page_under_its_name(
    inside: Inside, operators: httpx.AsyncClient, tmp_path: Path
) -> None:
    async with proxied(tmp_path / "control.sock", "ads.example.com") as address, httpx.AsyncClient() as browser:
        assert (await browser.get(f"{address}/v1/health")).json() == {"status": "ok"}
        headers = {"Origin": "https://ads.example.com", "Sec-Fetch-Site": "same-origin"}
        pause = f"{address}/v1/tenants/acme/pause"
        refused(await browser.post(pause, headers=headers | {"Origin": "https://evil.example"}), 403)
        assert not is_paused(inside)
        assert (await browser.post(pause, headers=headers)).status_code == 200
    assert is_paused(inside)
    async with proxied(tmp_path / "control.sock", "other.example.com") as address, httpx.AsyncClient() as browser:
        assert "page.hosts" in refused(await browser.get(f"{address}/v1/health"), 421)["fix"]
    assert (await operators.get("/v1/health")).status_code == 200
