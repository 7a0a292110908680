"""axe finds nothing wrong on any page, light or dark, wide or narrow; all works by keyboard alone."""

import re
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, expect

from support.chromium import Watched, watched_page
from support.watched_world import LATE, REFUSED, REFUSING, WatchedWorld

WIDE, NARROW = 1400, 390
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PAGES = {
    "tenants": "/",
    "filtered": "/?show=late",
    "tenant": f"/tenants/{LATE}",
    "quotas": "/quotas",
    "failures": "/failures",
    "find": f"/find?q={REFUSED[0]}",
    "nothing found": "/find?q=zzz",
    "no such page": "/nothing",
}


async def path_of(name: str, world: WatchedWorld) -> str:
    if name != "run":
        return PAGES[name]
    [run, *_] = await world.ask(f"/v1/tenants/{REFUSING}/runs")
    return f"/tenants/{REFUSING}/runs/{run['run_id']}"


@pytest.mark.parametrize("name", [*PAGES, "run"])
async def test_axe_finds_nothing_and_nothing_is_cut_off(chromium: Browser, world: WatchedWorld, name: str) -> None:
    async with watched_page(chromium, world.address) as visit:
        await visit.page.goto(await path_of(name, world))
        for width in (WIDE, NARROW):
            await visit.page.set_viewport_size({"width": width, "height": 900})
            overflow = await visit.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert overflow <= 0, f"at {width} px the page scrolls sideways"
            for scheme in SCHEMES:
                await visit.page.emulate_media(color_scheme=scheme)
                assert await visit.axe() == [], (width, scheme)
        if name != "no such page":  # Chromium reports the status 404 as an error
            visit.check()


async def focused(page: Page) -> str:
    """Return the text, the label or the name of the element that has the focus."""
    name: str = await page.evaluate(
        "(e => (e.ariaLabel || e.innerText || e.name || e.tagName).trim())(document.activeElement)"
    )
    return name


async def tab_to(page: Page, *names: str, most: int = 80) -> None:
    """Press Tab until an element of such a name has the focus."""
    for _ in range(most):
        if await focused(page) in names:
            return
        await page.keyboard.press("Tab")
    pytest.fail(f"Tab does not lead to {names}")


async def test_by_keyboard_alone_a_tenant_is_found_and_paused(visit: Watched, world: WatchedWorld) -> None:
    page = visit.page
    await page.goto("/")
    await page.keyboard.press("Tab")
    assert await focused(page) == "To the content"
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("#main$"))
    await tab_to(page, LATE)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text(LATE)
    await tab_to(page, "Pause")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert (await world.ask(f"/v1/tenants/{LATE}"))["paused_since"]
    await tab_to(page, "Resume")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert not (await world.ask(f"/v1/tenants/{LATE}"))["paused_since"]
