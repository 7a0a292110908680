"""What pages ask about all tenants, of a real supervisor and store; and what they get while the database fails."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from adsyncd.control.overview import Mark
from adsyncd.control.statuses import Member
from adsyncd.errors import CommandRefused, NoSuchTenant, StoreError
from adsyncd.model.alert import Alert, AlertName
from adsyncd.model.half_hour import HALF_HOUR
from adsyncd.model.selection import EVERYTHING, Selection, Show
from adsyncd.model.status import RefusedFile
from adsyncd.tasks import beside
from support.control import WRONG, Inside, an_inside, ask, refused, tell, tenant
from support.records import NOON


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    async with an_inside(tmp_path, *(tenant(name) for name in ("acme", "globex", "initech"))) as begun:
        yield begun


async def ran(inside: Inside, api: httpx.AsyncClient, *names: str) -> None:
    """Run tenants, and have the overview look."""
    for name in names:
        await tell(api, f"/v1/tenants/{name}/trigger")
    await inside.idle()
    await inside.overview.refresh()


async def listed(inside: Inside, show: Show = Show.ALL, *, worst: bool = True) -> list[str]:
    page = await inside.overview.tenants(Selection(frozenset({show})), worst=worst, limit=100, after=None)
    return [row.status.id for row in page.rows]


async def test_a_row_has_the_status_the_last_day_and_the_load(inside: Inside, api: httpx.AsyncClient) -> None:
    await ran(inside, api, "acme")
    row = await inside.overview.tenant("acme")
    assert row.status.last_run is not None
    assert max(row.day) is Mark.SUCCEEDED
    assert row.load is not None
    assert row.load.needed is not None
    assert 0 < row.load.needed < row.load.used < 1
    globex = await inside.overview.tenant("globex")
    assert set(globex.day) == {Mark.NOTHING}
    with pytest.raises(NoSuchTenant):
        await inside.overview.tenant("hooli")


async def test_the_strip_shows_the_runs_of_all_tenants(inside: Inside, api: httpx.AsyncClient) -> None:
    await ran(inside, api, "acme", "globex")
    found = inside.overview.history(datetime.min.replace(tzinfo=NOON.tzinfo), HALF_HOUR)
    assert len(found) == 48
    assert sum(one.runs_succeeded for one in found) == 2
    assert sum(one.pushed for one in found) == 24
    as_json = await ask(api, "/v1/history?bucket=1d")
    assert sum(one["requests"] for one in as_json) == 28
    assert await ask(api, "/v1/history?since=2999-01-01T00:00:00Z") == []
    for wrong in ("bucket=1s", "since=0.5", "since=2026-11-25T12:00:00"):
        refused(await api.get(f"/v1/history?{wrong}"), 422)


async def test_a_list_says_who_needs_attention_first_and_why(inside: Inside, api: httpx.AsyncClient) -> None:
    inside.files.refused = [RefusedFile("hooli", (WRONG,), goes_on=False)]
    await tell(api, "/v1/tenants/globex/pause")
    page = await inside.overview.tenants(EVERYTHING, worst=True, limit=2, after=None)
    assert (page.rows[0].status.id, page.total, page.counts[Show.PAUSED]) == ("hooli", 4, 1)
    following = await inside.overview.tenants(EVERYTHING, worst=True, limit=2, after=page.next)
    assert len({row.status.id for row in (*page.rows, *following.rows)}) == 4
    assert following.next is None
    [cause, *_] = inside.overview.causes()
    assert (cause.trouble, cause.tenants, cause.fix) == (Show.REFUSED, ["hooli"], WRONG.fix)


async def test_the_api_lists_the_same(inside: Inside, api: httpx.AsyncClient) -> None:
    inside.files.refused = [RefusedFile("hooli", (WRONG,), goes_on=False)]
    worst = await api.get("/v1/tenants?sort=worst&limit=1")
    assert [one["id"] for one in worst.json()] == ["hooli"]
    rest = await ask(api, worst.links["next"]["url"].replace("limit=1", "limit=100"))
    assert [one["id"] for one in rest] == ["acme", "globex", "initech"]
    assert [one["id"] for one in await ask(api, "/v1/tenants?state=refused")] == ["hooli"]
    assert [one["id"] for one in await ask(api, "/v1/tenants?q=GLO&platform=mixo")] == ["globex"]
    refused(await api.get("/v1/tenants?state=happy"), 422)


async def test_a_command_during_a_look_makes_the_next_question_look_again(
    inside: Inside, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    glance = inside.overview._statuses.glance

    async def interrupted() -> list[Member]:
        found = await glance()
        await tell(api, "/v1/tenants/acme/pause")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(inside.overview._statuses, "glance", interrupted)
        assert await listed(inside, Show.PAUSED) == []
    assert await listed(inside, Show.PAUSED) == ["acme"]


async def test_what_a_reload_refuses_shows_at_once(inside: Inside, api: httpx.AsyncClient) -> None:
    assert await listed(inside, Show.REFUSED) == []
    inside.files.refused = [RefusedFile("hooli", (WRONG,), goes_on=False)]
    inside.files.report = replace(inside.files.report, refused=tuple(inside.files.refused))
    refused(await api.post("/v1/reload"), 409)
    assert await listed(inside, Show.REFUSED) == ["hooli"]


async def test_a_look_at_all_tenants_is_used_for_a_second(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await listed(inside) == ["acme", "globex", "initech"]
    await inside.supervisor.worker("acme").pause()
    assert await listed(inside, Show.PAUSED) == []
    clock = inside.overview._clock
    later = clock.monotonic() + 1
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    assert await listed(inside, Show.PAUSED) == ["acme"]


async def test_quotas_are_paged_the_one_nearest_to_its_limit_first(inside: Inside, api: httpx.AsyncClient) -> None:
    await ran(inside, api, "globex")
    first = await inside.overview.quotas(1, None)
    [row] = first.rows
    assert (row.tenant, row.quota, row.schedule) == ("globex", "1000 requests per 1m", "every 300d")
    assert (first.total, first.over, first.close, row.free <= 1000) == (3, 0, 0, True)
    seen, following = [row.tenant], "/v1/quotas?limit=1"
    answer = await api.get(following)
    while following := answer.links.get("next", {}).get("url", ""):
        answer = await api.get(following)
        seen += [one["tenant"] for one in answer.json()["tenants"]]
    assert seen == ["globex", "acme", "initech"]
    assert answer.json()["platforms"][0]["platform"] == "mixo"
    with pytest.raises(CommandRefused):
        await inside.overview.quotas(1, "x")


async def test_alerts_that_fire_are_listed_with_their_severity(inside: Inside, api: httpx.AsyncClient) -> None:
    inside.alerts.firing = [
        Alert("globex", AlertName.LATE, NOON, "late"),
        Alert("acme", AlertName.RUNS_FAILING, NOON, "failing"),
        Alert("acme", AlertName.LATE, NOON, "late"),
    ]
    answer = await api.get("/v1/alerts?limit=2")
    assert [(one["tenant"], one["name"], one["severity"]) for one in answer.json()] == [
        ("acme", "late", "warning"),
        ("acme", "runs_failing", "critical"),
    ]
    assert [one["tenant"] for one in await ask(api, answer.links["next"]["url"])] == ["globex"]


async def test_while_the_database_fails_the_last_knowledge_stays_and_the_failure_is_logged_once(
    inside: Inside, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ran(inside, api, "acme")
    before = (await inside.overview.tenant("acme")).day

    async def gone(_start: datetime) -> None:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(inside.store, "half_hour", gone)
    with pytest.raises(StoreError):
        await inside.overview.refresh()
    assert max((await inside.overview.tenant("acme")).day) is max(before)
    monkeypatch.setattr("adsyncd.control.attention._REFRESH_S", 0.001)
    with capture_logs() as logged, anyio.move_on_after(0.1):
        await inside.overview.run()
    assert [one["log_level"] for one in logged][:2] == ["warning", "debug"]


async def test_a_bug_of_ours_does_not_stop_the_daemon(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    async def mistaken(_start: datetime) -> Any:  # noqa: ANN401 - it returns nothing
        nonlocal tries
        tries += 1
        raise RuntimeError("canary")

    monkeypatch.setattr(inside.store, "half_hour", mistaken)
    monkeypatch.setattr("adsyncd.control.attention._REFRESH_S", 0.001)
    with capture_logs(), anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inside.overview.run)
            while tries < 3:  # noqa: ASYNC110 - until it has tried again
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()


async def test_each_day_is_read_anew_so_that_tenants_that_are_gone_are_forgotten(
    inside: Inside, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ran(inside, api, "acme")
    old = inside.overview._day
    await inside.overview.refresh()
    assert inside.overview._day is old
    now = inside.overview._clock.now()
    monkeypatch.setattr(inside.overview._clock, "now", lambda: now + timedelta(days=1))
    await inside.overview.refresh()
    assert inside.overview._day is not old


async def test_permits_that_can_not_be_read_stop_nothing_and_are_logged_once(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EVERY_S", "_REFRESH_S"):
        monkeypatch.setattr(f"adsyncd.control.attention.{name}", 0.001)
    worker = inside.supervisor.worker("globex")
    with capture_logs() as logged, anyio.fail_after(10):
        async with beside(inside.overview.run):
            with monkeypatch.context() as broken:
                broken.setattr(worker, "gate", None)
                while len(logged) < 3:  # noqa: ASYNC110 - until it has tried again
                    await anyio.sleep(0.001)
            while not inside.overview.free_permits("acme"):  # noqa: ASYNC110 - until it has looked again
                await anyio.sleep(0.001)
    assert [one["log_level"] for one in logged][:3] == ["error", "debug", "debug"]
    assert {share for _, share in inside.overview.free_permits("globex")} == {1.0}
