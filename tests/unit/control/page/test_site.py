"""The pages as a browser asks for them, without a browser."""

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy.exc import OperationalError
from starlette.types import ASGIApp
from structlog.testing import capture_logs

from adsyncd.control.access import Access
from adsyncd.control.app import application
from adsyncd.control.page.rendering import POLICY
from adsyncd.control.page.site import Site
from adsyncd.errors import StoreError
from adsyncd.model.verdict import Trouble
from adsyncd.store import sql
from support.canaries import forms
from support.control import Inside
from support.drawn import DrawnLists, Html, a_row, a_verdict, well_formed
from support.records import HandClock

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
TRACES = "/traces/{trace_id}"
HOSTILE = "<script>alert(1)</script>\"'&\N{RIGHT-TO-LEFT OVERRIDE}"


@pytest.fixture
def lists(inside: Inside) -> DrawnLists:
    return DrawnLists(inside.overview.daemon)


@pytest.fixture
async def browser(inside: Inside, lists: DrawnLists) -> AsyncIterator[httpx.AsyncClient]:
    app = application(
        inside.commands,
        inside.overview,
        Site(
            commands=inside.commands,
            lists=lists,
            records=inside.store,
            clock=HandClock(),
            host="sync-eu-1",
            tenants=lambda: inside.supervisor.tenants,
            trace_url=lambda: TRACES,
        ),
    )
    async with browsing(app) as client:
        yield client


def browsing(app: ASGIApp) -> httpx.AsyncClient:
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


async def a_run_of(inside: Inside, tenant: str = "acme") -> str:
    """Run a tenant, and return the path of the run's page."""
    inside.commands.trigger(tenant)
    await inside.idle()
    [run] = await inside.store.runs_of(tenant, limit=1)
    return f"/tenants/{tenant}/runs/{run.run_id}"


async def test_a_tenant_s_page_has_its_runs_and_settings(inside: Inside, browser: httpx.AsyncClient) -> None:
    path = await a_run_of(inside)
    page = await look(browser, "/tenants/acme")
    assert page.headings[0][1] == "acme is late: every second tick is skipped."
    assert path in page.links
    for words in (
        "have the platform allow 17 requests per 20s",
        "succeeded",
        "12/12",
        "every 300d",
    ):
        assert words in page.text
    assert (await look(browser, "/tenants/acme?outcome=failed")).text.count("12/12") == 0


async def test_a_run_s_page_says_what_was_not_pushed(inside: Inside, browser: httpx.AsyncClient) -> None:
    await inside.platform.post("/_settings", json={"clients": {"acme": {"rejected": ["cmp-0003"]}}})
    for _ in range(3):
        path = await a_run_of(inside)
    page = await look(browser, path)
    assert page.headings[0][1] == "11 of 12 campaigns were pushed, 1 was not."
    assert "cmp-0003" in page.text
    assert "dead letter" in page.text
    [run] = await inside.store.runs_of("acme", limit=1)
    assert f"/traces/{run.trace_id}" in page.links


@pytest.mark.parametrize("path", ["/quotas", "/failures", "/find", "/find?q=nothing", "/tenants/umbrella"])
async def test_every_view_is_well_formed(browser: httpx.AsyncClient, path: str) -> None:
    await look(browser, path)


@pytest.mark.parametrize("path", ["/", "/quotas", "/failures", "/find?q=x"])
async def test_every_view_stands_a_daemon_without_anything(
    browser: httpx.AsyncClient, lists: DrawnLists, path: str
) -> None:
    lists.rows, lists.found, lists.buckets, lists.platforms, lists.client_ids, lists.failures = [], [], [], [], [], []
    await look(browser, path)


@pytest.mark.parametrize(
    "path",
    [
        "/tenants/nobody", "/tenants/UPPER", "/tenants/acme/runs/none", "/tenants/acme?outcome=odd",
        "/tenants/acme?after=yesterday", "/tenants/acme?after=2026-11-25", "/tenants/umbrella/runs/acme-1",
    ],
)  # fmt: skip
async def test_what_does_not_exist_is_a_page_that_says_so(browser: httpx.AsyncClient, path: str) -> None:
    assert "404" in (await look(browser, path, 404)).text


@pytest.mark.parametrize("command", ["trigger", "pause", "resume"])
async def test_a_command_leads_back_to_the_tenant_and_says_what_it_did(
    inside: Inside, browser: httpx.AsyncClient, command: str
) -> None:
    with capture_logs() as logs:
        answer = await browser.post(f"/tenants/acme/{command}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/tenants/acme?done={command}")
    assert [(one["command"], one["outcome"]) for one in logs if one["event"] == "command"] == [(command, "done")]
    assert (await look(browser, answer.headers["location"])).tags
    await inside.idle()
    assert ((await inside.commands.tenant("acme")).paused_since is not None) == (command == "pause")


async def test_a_refused_command_shows_why_on_the_tenant_s_page(inside: Inside, browser: httpx.AsyncClient) -> None:
    await inside.commands.pause("acme")
    answer = await browser.post("/tenants/acme/trigger")
    page = well_formed(answer.text)
    assert answer.status_code == 409
    assert "acme is paused" in page.text
    assert "data-still" in answer.text
    with capture_logs() as logs:
        assert (await browser.post("/tenants/nobody/pause")).status_code == 404
    assert [one["outcome"] for one in logs if one["event"] == "command"] == ["refused"]


@pytest.mark.parametrize("command", ["trigger", "pause", "resume"])
async def test_a_link_is_no_command(browser: httpx.AsyncClient, command: str) -> None:
    assert (await browser.get(f"/tenants/acme/{command}")).status_code == 405


async def test_a_socket_that_only_reads_offers_no_buttons(inside: Inside, lists: DrawnLists) -> None:
    site = Site(inside.commands, lists, inside.store, HandClock(), "sync-eu-1")
    async with browsing(Access(application(inside.commands, inside.overview, site), reads_only=True)) as reader:
        assert "button" not in (await look(reader, "/tenants/acme")).tags
        assert (await reader.post("/tenants/acme/pause")).status_code == 405


async def test_of_two_files_of_a_tenant_the_one_that_counts_is_named(
    inside: Inside, lists: DrawnLists, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("low", "high", "none")]
    for folder in folders:
        folder.mkdir()
    for folder in folders[:2]:
        (folder / "acme.toml").touch()
    site = Site(inside.commands, lists, inside.store, HandClock(), "sync-eu-1", folders=lambda: folders)
    async with browsing(Access(application(inside.commands, inside.overview, site))) as browser:
        text = (await browser.get("/tenants/acme")).text
    assert f"{tmp_path}/high/acme.toml" in text
    assert f"{tmp_path}/low" not in text


async def test_one_hit_is_shown_at_once_and_several_as_a_list(inside: Inside, browser: httpx.AsyncClient) -> None:
    path = await a_run_of(inside)
    run_id = path.rpartition("/")[2]
    for asked, place in (
        ("acme", "/tenants/acme"),
        (run_id, path),
        ("cmp-0003", "/tenants/acme"),
    ):
        answer = await browser.get("/find", params={"q": f" {asked} "})
        assert (answer.status_code, answer.headers.get("location")) == (303, place), asked
    page = await look(browser, "/find?q=o")
    assert "/tenants/soylent" in page.links
    assert "Nothing was found." in (await look(browser, "/find?q=<script>")).text


async def test_without_the_database_pages_say_so(
    inside: Inside, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    for name in ("pauses", "run", "runs_of", "find_runs"):
        monkeypatch.setattr(type(inside.store), name, fail)
    full = sqlite3.OperationalError("full")
    full.sqlite_errorname = "SQLITE_FULL"
    inside.store.health.failed(OperationalError("BEGIN", None, full))
    said = f"The database can't be used: {sql.name(inside.store._engine.url)}: the disk is full; free space there"
    for path in ("/", "/tenants/acme", "/quotas"):
        assert said in (await look(browser, path)).text
    assert "the disk is full" in (await look(browser, "/tenants/acme/runs/x", 503)).text
    assert "the disk is full" in (await look(browser, "/find?q=zzz", 503)).text


async def test_no_page_shows_a_secret_or_a_payload(inside: Inside, browser: httpx.AsyncClient) -> None:
    await inside.platform.post("/_settings", json={"clients": {"acme": {"rejected": ["cmp-0003"]}}})
    for _ in range(3):
        path = await a_run_of(inside)
    [letter] = await inside.store.dead_letters("acme", None, None)
    secrets = [*forms("pw-acme"), *forms("acme@example.com"), letter.payload.encode(), letter.idempotency_key.encode()]
    for shown in ("/", "/tenants/acme", path, "/quotas", "/failures", "/find?q=a", "/tenants/nobody"):
        content = (await browser.get(shown)).content
        assert not [secret for secret in secrets if secret in content], shown
