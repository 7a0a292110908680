"""Pages of other origins, and other names for this machine, can read and change nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from playwright.async_api import Browser, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from support.chromium import watched_page
from support.watched_world import WELL, WatchedWorld
from support.web import serving

TENANT = WELL[0]


@asynccontextmanager
async def elsewhere(body: str) -> AsyncIterator[str]:
    """Serve a page with this body, and yield its address."""

    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse(f"<!doctype html><title>elsewhere</title><body>{body}</body>")

    async with serving(Starlette(routes=[Route("/", page)])) as address:
        yield address


async def paused(world: WatchedWorld) -> bool:
    return bool((await world.ask(f"/v1/tenants/{TENANT}"))["paused_since"])


@pytest.mark.parametrize("path", [f"/v1/tenants/{TENANT}/pause", f"/tenants/{TENANT}/pause"])
async def test_a_form_of_another_origin_is_refused_and_pauses_nothing(
    chromium: Browser, world: WatchedWorld, path: str
) -> None:
    form = f'<form method="post" action="{world.address}{path}"><button>Win a prize</button></form>'
    async with elsewhere(form) as address, watched_page(chromium, address) as visit:
        await visit.page.goto("/")
        async with visit.page.expect_response(f"{world.address}{path}") as answer:
            await visit.page.get_by_role("button").click()
        assert (await answer.value).status == 403
        assert not await paused(world)


async def test_a_fetch_of_another_origin_is_refused_and_pauses_nothing(chromium: Browser, world: WatchedWorld) -> None:
    path = f"/v1/tenants/{TENANT}/pause"
    ask = f"fetch('{world.address}{path}', {{method: 'POST', mode: 'no-cors'}}).then(() => 'answered', () => 'nothing')"
    async with elsewhere("") as address, watched_page(chromium, address) as visit:
        await visit.page.goto("/")
        async with visit.page.expect_event("requestfailed") as failed:
            assert await visit.page.evaluate(ask) == "nothing"
        assert (await failed.value).failure == "net::ERR_BLOCKED_BY_RESPONSE.NotSameOrigin"  # there was an answer
        assert not await paused(world)


@pytest.mark.parametrize("path", ["/", "/v1/tenants"])
async def test_a_page_of_another_origin_can_neither_read_nor_frame_it(
    chromium: Browser, world: WatchedWorld, path: str
) -> None:
    async with (
        elsewhere(f'<iframe src="{world.address}/"></iframe>') as address,
        watched_page(chromium, address) as visit,
    ):
        await visit.page.goto("/")
        read = f"fetch('{world.address}{path}').then(answer => answer.text(), () => 'nothing')"
        assert await visit.page.evaluate(read) == "nothing"
        frame = visit.page.frame_locator("iframe")
        await expect(frame.locator("main")).to_have_count(0)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example"]
)
@pytest.mark.parametrize("path", ["/", "/v1/tenants", "/nothing"])
async def test_a_foreign_host_is_misdirected(world: WatchedWorld, host: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=world.address, trust_env=False) as client:
        assert (await client.get(path, headers={"Host": host})).status_code == 421


async def test_curl_and_the_command_line_pause_and_resume_as_before(world: WatchedWorld) -> None:
    curl = ("curl", "--silent", "--fail", "--unix-socket", str(world.program.folder / "control.sock"))
    async with world.program.opened(*curl, "-X", "POST", f"http://localhost/v1/tenants/{TENANT}/pause") as process:
        assert await process.wait() == 0
    assert await paused(world)
    assert (await world.program.run("resume", TENANT)).returncode == 0
    assert not await paused(world)
