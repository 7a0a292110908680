"""What strangers wrote is text: in names of campaigns, in reasons that a platform gives, and in addresses."""

from urllib.parse import quote

import pytest
from playwright.async_api import expect

from support.chromium import Watched
from support.watched_world import HOSTILE, NAMES, SCRIPT, WatchedWorld

FOUND = f"/find?q={quote(SCRIPT)}"


async def test_a_run_shows_names_and_reasons_as_they_were_written(visit: Watched, world: WatchedWorld) -> None:
    page = visit.page
    [run, *_] = [run for run in await world.ask(f"/v1/tenants/{HOSTILE}/runs") if run["outcome"]]
    await page.goto(f"/tenants/{HOSTILE}/runs/{run['run_id']}")
    rows = page.locator("h2:has-text('Not pushed') ~ * tbody tr")
    await expect(rows).to_have_count(len(NAMES))
    for campaign_id, name in NAMES.items():
        row = rows.filter(has_text=campaign_id)
        await expect(row).to_contain_text(name[:50].replace("\N{RIGHT-TO-LEFT OVERRIDE}", "\\u202e"))
        await expect(row).to_contain_text(f"not {SCRIPT}")
        assert await row.locator("script, img, b").count() == 0
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, "a long name widens the page"


@pytest.mark.parametrize("path", ["/", f"/tenants/{HOSTILE}", "/quotas", "/failures", FOUND])
async def test_no_page_runs_what_a_stranger_wrote(visit: Watched, path: str) -> None:
    await visit.page.goto(path)
    assert SCRIPT in await visit.page.inner_text("body") or path not in {"/failures", FOUND}
    assert await visit.page.locator("script:not([src])").count() == 0


async def test_a_search_for_markup_finds_nothing_and_shows_it(visit: Watched) -> None:
    await visit.page.goto("/")
    await visit.page.get_by_role("search").get_by_label("Find").fill(f'"{SCRIPT}')
    await visit.page.keyboard.press("Enter")
    await expect(visit.page.locator("main")).to_contain_text(SCRIPT)


async def test_the_api_s_answers_are_no_pages_to_a_browser(visit: Watched) -> None:
    answer = await visit.page.goto("/v1/dead-letters")
    assert answer
    assert answer.headers["content-type"] == "application/json"
    assert SCRIPT in await visit.page.inner_text("body")
