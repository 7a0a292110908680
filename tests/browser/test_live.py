"""A page follows what happens by itself, and its buttons do what they say."""

from playwright.async_api import Browser, Page, expect

from support.chromium import Watched, watched_page
from support.watched_world import LATE, REFUSING, WELL, WatchedWorld

TENANT = WELL[0]
SOON_MS = 15_000  # the page asks every five seconds; the machine may be busy


async def test_a_change_appears_without_a_navigation_and_focus_and_scroll_stay(
    visit: Watched, world: WatchedWorld
) -> None:
    page = visit.page
    await page.set_viewport_size({"width": 1000, "height": 300})
    await page.goto("/")
    link = page.locator("main").get_by_role("link", name=WELL[-1], exact=True).first
    await link.focus()
    await page.evaluate("scrollTo(0, 120); document.documentElement.dataset.mine = 'kept'")
    where, visited = await page.evaluate("scrollY"), len(visit.navigations)
    assert where > 0
    assert (await world.program.run("pause", TENANT)).returncode == 0
    row = page.locator("main tbody tr").filter(has_text=TENANT)
    await expect(row).to_contain_text("paused", timeout=SOON_MS)
    assert len(visit.navigations) == visited
    assert await page.evaluate("document.documentElement.dataset.mine") == "kept"
    assert await page.evaluate("document.activeElement.innerText") == WELL[-1]
    assert await page.evaluate("scrollY") == where
    assert (await world.program.run("resume", TENANT)).returncode == 0


async def test_a_page_that_has_not_changed_is_not_sent_again(visit: Watched, world: WatchedWorld) -> None:
    *_, run = await world.ask(f"/v1/tenants/{TENANT}/runs")
    await visit.page.goto(f"/tenants/{TENANT}/runs/{run['run_id']}")
    async with visit.page.expect_response(lambda answer: answer.status == 304, timeout=2 * SOON_MS):
        pass


async def test_pause_resume_and_run_now_work_and_show_what_came_of_them(visit: Watched, world: WatchedWorld) -> None:
    page = visit.page
    await page.goto(f"/tenants/{TENANT}")
    await press(page, "Pause")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("paused")
    assert (await world.ask(f"/v1/tenants/{TENANT}"))["paused_since"]
    await press(page, "Resume")
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()
    before = len(await world.ask(f"/v1/tenants/{TENANT}/runs"))
    await press(page, "Run now")
    await expect(page.locator("main")).to_contain_text("A run starts.")
    await expect(page.locator("#runs ~ * tbody tr")).to_have_count(before + 1, timeout=SOON_MS)


async def test_what_is_refused_says_why(visit_without_script: Watched, world: WatchedWorld) -> None:
    page, tenant = visit_without_script.page, WELL[1]
    await page.goto(f"/tenants/{tenant}")
    await world.platform.change(clients={tenant: {"push_latency_s": 30}})
    assert (await world.program.run("trigger", tenant)).returncode == 0
    await press(page, "Run now")  # the page does not know of it yet
    await expect(page.get_by_role("alert")).to_contain_text(f"a run of {tenant} is already in progress")
    await world.platform.change(clients={tenant: {"push_latency_s": 0}})
    visit_without_script.wrong.clear()  # Chromium reports the status 409 as an error


async def test_without_a_script_the_buttons_work_as_well(visit_without_script: Watched, world: WatchedWorld) -> None:
    page = visit_without_script.page
    await page.goto(f"/tenants/{REFUSING}")
    await press(page, "Pause")
    await expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert (await world.ask(f"/v1/tenants/{REFUSING}"))["paused_since"]
    await press(page, "Resume")
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()


async def test_the_socket_that_only_reads_shows_all_and_offers_no_button(
    chromium: Browser, world: WatchedWorld
) -> None:
    async with watched_page(chromium, world.reading) as visit:
        await visit.page.goto("/")
        await visit.page.locator("main").get_by_role("link", name=LATE, exact=True).first.click()
        await expect(visit.page.get_by_role("heading", level=1)).to_contain_text(f"{LATE} is late")
        assert await visit.page.get_by_role("button").all_inner_texts() == []
        assert (
            await visit.page.evaluate(f"fetch('/v1/tenants/{LATE}/pause', {{method: 'POST'}}).then(r => r.status)")
            == 405
        )
    assert not (await world.ask(f"/v1/tenants/{LATE}"))["paused_since"]


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()
