"""A stranger, who knows nothing but the address, finds the answers in two clicks at most."""

import re

from playwright.async_api import Locator, expect

from support.chromium import Watched
from support.watched_world import LATE, REASON, REFUSED, REFUSING, WELL, WatchedWorld

QUOTA = re.compile(r"4 requests (per|/) ?1\s?s")


async def click(visit: Watched, name: str) -> None:
    """Follow the first link of the content that is named so."""
    await visit.page.locator("main").get_by_role("link", name=name, exact=True).first.click()
    await expect(visit.page.get_by_role("heading", level=1)).to_contain_text(name)


def table(visit: Watched, heading: str) -> Locator:
    """Return the table below a heading."""
    return visit.page.locator(f"h2:has-text('{heading}') ~ * table").first


async def test_the_first_page_says_who_needs_attention_and_why(visit: Watched) -> None:
    await visit.page.goto("/")
    await expect(visit.page.get_by_role("heading", level=1)).to_contain_text("3 of 15 tenants need attention")
    text = await visit.text()
    assert {LATE, REFUSING, *WELL} <= {*re.findall(r"\w+", text)}


async def test_one_click_leads_to_the_quota_that_makes_a_tenant_late_and_to_a_fix(visit: Watched) -> None:
    await visit.page.goto("/")
    await click(visit, LATE)
    text = await visit.text()
    assert f"{LATE} is late" in text
    assert QUOTA.search(text), text
    assert re.search(r'every = "\d+\w+"|requests per', text), text


async def test_two_clicks_lead_to_the_campaigns_that_were_refused_after_later_runs_have_ended(
    visit: Watched, world: WatchedWorld
) -> None:
    ended = [run for run in await world.ask(f"/v1/tenants/{REFUSING}/runs") if run["outcome"]]
    assert len(ended) > 1
    await visit.page.goto("/")
    await click(visit, REFUSING)
    oldest = table(visit, "Runs").locator("tbody tr").last
    await oldest.get_by_role("link").first.click()
    await expect(visit.page.get_by_role("heading", level=1)).to_have_text("9 of 12 campaigns were pushed, 3 were not.")
    rows = table(visit, "Not pushed").locator("tbody tr")
    await expect(rows).to_have_count(3)
    for campaign_id in REFUSED:
        await expect(rows.filter(has_text=campaign_id)).to_contain_text(REASON)


async def test_quotas_have_the_tenant_that_is_nearest_to_its_limit_first(visit: Watched) -> None:
    await visit.page.goto("/")
    await visit.page.get_by_role("navigation", name="Views").get_by_role("link", name="Quotas").click()
    first = table(visit, "Client ids").locator("tbody tr").first
    await expect(first.get_by_role("link").first).to_have_text(LATE)


async def test_failures_are_counted_by_reason_across_tenants(visit: Watched) -> None:
    await visit.page.goto("/")
    await visit.page.get_by_role("navigation", name="Views").get_by_role("link", name="Failures").click()
    row = table(visit, "Reasons").locator("tbody tr").filter(has_text=REASON)
    await expect(row).to_contain_text("3")
    await expect(row.get_by_role("link", name=REFUSING)).to_be_visible()


async def test_the_search_finds_tenants_campaigns_runs_and_traces(visit: Watched, world: WatchedWorld) -> None:
    [run, *_] = await world.ask(f"/v1/tenants/{REFUSING}/runs")
    for text in (REFUSING, REFUSED[0], run["run_id"], run["trace_id"]):
        await visit.page.goto("/")
        await visit.page.get_by_role("search").get_by_label("Find").fill(text)
        await visit.page.keyboard.press("Enter")
        await visit.page.wait_for_url(lambda url: not url.endswith("/"))
        await expect(visit.page.locator("main")).to_contain_text(REFUSING)


async def test_nothing_needs_a_script(visit_without_script: Watched) -> None:
    page = visit_without_script.page
    await page.goto("/")
    await page.locator("main").get_by_role("link", name=LATE, exact=True).first.click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(f"{LATE} is late")
    for view, heading in (("Quotas", "Client ids"), ("Failures", "Reasons")):
        await page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
        await expect(table(visit_without_script, heading).locator("tbody tr").first).to_be_visible()
