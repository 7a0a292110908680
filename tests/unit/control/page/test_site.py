"""The pages as a browser asks for them, without a browser."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from starlette.applications import Starlette

from adsyncd.control.app import application
from adsyncd.control.page.rendering import POLICY
from adsyncd.control.page.site import Site
from adsyncd.model.verdict import Trouble
from support.control import Inside
from support.drawn import DrawnLists, Html, a_row, a_verdict, well_formed
from support.records import HandClock

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
HOSTILE = "<script>alert(1)</script>\"'&\N{RIGHT-TO-LEFT OVERRIDE}"


@pytest.fixture
def lists() -> DrawnLists:
    return DrawnLists()


@pytest.fixture
async def browser(inside: Inside, lists: DrawnLists) -> AsyncIterator[httpx.AsyncClient]:
    app = application(inside.commands, Site(inside.commands, lists, HandClock(), "sync-eu-1"))
    async with browsing(app) as client:
        yield client


def browsing(app: Starlette) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=BROWSER)


async def look(browser: httpx.AsyncClient, path: str, status: int = 200) -> Html:
    answer = await browser.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-security-policy"] == POLICY
    assert "None" not in answer.text
    return well_formed(answer.text)


async def test_the_first_page_says_how_all_tenants_are(browser: httpx.AsyncClient) -> None:
    page = await look(browser, "/")
    assert page.headings[0] == (1, "15 of 8 tenants need attention.")
    assert "sync-eu-1" in page.text
    for words in ("waits for quota", "late: every second tick is skipped", "fix the secret adsyncd/soylent in Vault"):
        assert words in page.text


async def test_a_list_that_does_not_exist_is_a_page_that_says_so(browser: httpx.AsyncClient) -> None:
    assert "404" in (await look(browser, "/?show=everything", 404)).text


async def test_strangers_words_are_text(browser: httpx.AsyncClient, lists: DrawnLists) -> None:
    row = a_row("acme", verdict=a_verdict("acme", Trouble.FAILING, HOSTILE))
    lists.rows, lists.found = [row], [replace(lists.found[0], reason=HOSTILE, fix=HOSTILE)]
    page = await look(browser, "/")
    assert page.text.count("<script>alert(1)</script>") == 3
    assert page.tags.count("script") == 1


async def test_a_path_without_a_page_is_an_error_for_browsers_and_a_problem_for_programs(
    browser: httpx.AsyncClient,
) -> None:
    assert "404" in (await look(browser, "/nothing", 404)).text
    answer = await browser.get("/nothing", headers={"accept": "*/*"})
    assert answer.headers["content-type"] == "application/problem+json"
    answer = await browser.get("/v1/nothing")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_page_that_has_not_changed_is_not_sent_again(browser: httpx.AsyncClient) -> None:
    first = await browser.get("/")
    again = await browser.get("/", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_5000_tenants_are_a_page_of_100_and_small(browser: httpx.AsyncClient, lists: DrawnLists) -> None:
    reason = "late: every second tick is skipped, it waits for its quota " + "x" * 100
    lists.rows = [a_row(f"tenant-{one:04}", verdict=a_verdict("t", Trouble.LATE, reason)) for one in range(5000)]
    answer = await browser.get("/")
    page = well_formed(answer.text)
    assert page.tags.count("tr") == 101
    assert len(answer.content) < 200_000
    assert "1 to 100 of 5,000" in page.text
    assert "/?after=100" in page.links


async def test_assets_and_the_icon_are_served(browser: httpx.AsyncClient) -> None:
    for path in [link for link in (await look(browser, "/")).links if link.startswith("/assets/")] + ["/favicon.ico"]:
        answer = await browser.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await browser.get("/assets/rendering.py")).status_code == 404
