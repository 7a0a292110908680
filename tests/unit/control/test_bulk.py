"""Commands to many tenants: which are meant, what becomes of each, and the one line in the log."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from adsyncd.clock import SystemClock
from adsyncd.control import bulk
from adsyncd.errors import StoreError
from adsyncd.model.run import Outcome
from adsyncd.model.status import RefusedFile
from adsyncd.tasks import beside
from support.control import WRONG, Inside, an_inside, ask, refused, tell, tenant

ALL = {"tenants": {"all": True}}


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    """A daemon with four tenants in service, a disabled one, and one whose files were never valid."""
    shops = [tenant(f"shop-{number}") for number in (1, 2)]
    async with an_inside(tmp_path, tenant("acme"), tenant("globex"), *shops) as begun:
        begun.files.disabled = [tenant("initech", enabled=False)]
        begun.files.refused = [RefusedFile("hooli", (WRONG,), goes_on=False)]
        yield begun


async def outcomes(api: httpx.AsyncClient, command: str, order: object) -> dict[str, str]:
    """Give a command, and return the outcome of each tenant, with the reason of a refusal."""
    answer = await tell(api, f"/v1/{command}", order)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return {one["tenant"]: ": ".join(filter(None, (one["outcome"], one["error"]))) for one in found}


def selection(**conditions: object) -> dict[str, object]:
    return {"tenants": {"selection": conditions}}


async def test_each_tenant_has_an_outcome_of_its_own(inside: Inside, api: httpx.AsyncClient) -> None:
    await tell(api, "/v1/tenants/globex/pause")
    paused = await outcomes(api, "pause", ALL)
    assert paused == {
        "acme": "done",
        "globex": "unchanged",
        "hooli": "refused: its files were never valid",
        "initech": "refused: it is disabled",
        "shop-1": "done",
        "shop-2": "done",
    }
    assert list(paused) == sorted(paused)
    assert sorted(await inside.store.pauses()) == ["acme", "globex", "shop-1", "shop-2"]


async def test_named_tenants_are_told_once_and_an_unknown_one_keeps_no_other_back(
    inside: Inside, api: httpx.AsyncClient
) -> None:
    order = {"tenants": {"ids": ["shop-2", "shop-3", "acme", "shop-2"]}}
    told = await outcomes(api, "pause", order)
    assert list(told.items()) == [("shop-2", "done"), ("shop-3", "refused: there is no such tenant"), ("acme", "done")]
    assert sorted(await inside.store.pauses()) == ["acme", "shop-2"]


async def test_the_daemon_selects_by_what_is_so_now(api: httpx.AsyncClient) -> None:
    assert (await ask(api, "/v1/status"))["counts"]["paused"] == 0  # from here on a look is kept for a second
    assert await outcomes(api, "pause", selection(match="shop-*")) == {"shop-1": "done", "shop-2": "done"}
    assert (await ask(api, "/v1/status"))["counts"]["paused"] == 2
    assert await outcomes(api, "resume", selection(state=["paused"])) == {"shop-1": "done", "shop-2": "done"}
    assert await outcomes(api, "resume", selection(state=["paused"])) == {}
    assert await outcomes(api, "resume", selection(q="shop-2", platform="mixo")) == {"shop-2": "unchanged"}


async def test_a_dry_run_says_each_outcome_and_changes_nothing(inside: Inside, api: httpx.AsyncClient) -> None:
    await tell(api, "/v1/tenants/globex/pause")
    await inside.treat(push_latency_s=60)
    await tell(api, "/v1/tenants/acme/trigger")
    before = await inside.store.pauses()
    dry = {**ALL, "dry_run": True}
    planned = {command: await outcomes(api, command, dry) for command in ("pause", "resume", "trigger")}
    assert {command: [found["acme"], found["globex"], found["shop-1"]] for command, found in planned.items()} == {
        "pause": ["done", "unchanged", "done"],
        "resume": ["unchanged", "done", "unchanged"],
        "trigger": ["refused: a run of acme is already in progress", "refused: globex is paused", "done"],
    }
    assert await inside.store.pauses() == before
    assert [one for one, worker in inside.supervisor.workers.items() if worker.running] == ["acme"]


async def test_triggered_tenants_run_but_for_those_that_refuse(inside: Inside, api: httpx.AsyncClient) -> None:
    await tell(api, "/v1/tenants/globex/pause")
    told = await outcomes(api, "trigger", ALL)
    assert [name for name, outcome in told.items() if outcome == "done"] == ["acme", "shop-1", "shop-2"]
    assert told["globex"] == "refused: globex is paused"
    await inside.idle()
    assert {run.tenant for run in await inside.store.runs(None, 10)} == {"acme", "shop-1", "shop-2"}


@pytest.mark.parametrize(("resumable", "ends"), [(False, Outcome.ABANDONED), (True, None)])
async def test_runs_in_progress_are_cancelled_for_good_or_to_be_resumed(
    inside: Inside, api: httpx.AsyncClient, resumable: bool, ends: Outcome | None
) -> None:
    await inside.treat(push_latency_s=0.2)
    begun = await outcomes(api, "trigger", {"tenants": {"ids": ["acme", "shop-1"]}})
    assert set(begun.values()) == {"done"}
    with anyio.fail_after(20):
        while not all(inside.supervisor.worker(name).going for name in begun):  # noqa: ASYNC110 - begun by the command
            await anyio.sleep(0.01)
    dry = {**ALL, "resumable": resumable, "dry_run": True}
    expected = {**dict.fromkeys(begun, "done"), "globex": "unchanged", "shop-2": "unchanged"}
    planned = await outcomes(api, "cancel", dry)
    assert {name: planned[name] for name in expected} == expected
    with capture_logs() as log:
        assert await outcomes(api, "cancel", {**dry, "dry_run": False}) == planned
    assert next(one for one in log if one["event"] == "command").get("resumable", False) is resumable
    await inside.idle()
    assert {run.tenant: run.outcome for run in await inside.store.runs(None, 10)} == dict.fromkeys(begun, ends)


@pytest.mark.parametrize(
    ("conditions", "detail"),
    [
        ({}, "a selection without a condition selects nothing"),
        ({"state": ["all"]}, "a selection without a condition selects nothing"),
        ({"match": "shp-*"}, 'no tenant has an id that matches "shp-*"'),
        ({"platform": "maxo", "q": "ac"}, 'no tenant has the platform "maxo" and an id or client id with "ac"'),
    ],
)
async def test_a_selection_that_can_mean_no_tenant_is_a_mistake(
    api: httpx.AsyncClient, conditions: dict[str, object], detail: str
) -> None:
    assert refused(await tell(api, "/v1/pause", selection(**conditions)), 409)["detail"] == detail


@pytest.mark.parametrize("tenants", [None, {}, {"ids": []}, {"all": False}, {"all": True, "ids": ["acme"]}])
async def test_no_missing_argument_means_all(inside: Inside, api: httpx.AsyncClient, tenants: object) -> None:
    refused(await tell(api, "/v1/pause", {"tenants": tenants}), 422)
    refused(await tell(api, "/v1/pause", {"dry_run": False}), 422)
    assert await inside.store.pauses() == {}


async def test_a_daemon_that_stops_starts_none_of_them(inside: Inside, api: httpx.AsyncClient) -> None:
    inside.supervisor.stop()
    refused(await tell(api, "/v1/trigger", ALL), 503)


async def test_a_database_in_trouble_is_not_tried_for_each_tenant(
    inside: Inside, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = list[str]()

    async def fails(tenant_id: str, _since: object) -> None:
        tried.append(tenant_id)
        raise StoreError("the disk is full")

    monkeypatch.setattr(inside.store, "pause", fails)
    monkeypatch.setattr(bulk, "_AT_ONCE", 1)
    told = await outcomes(api, "pause", ALL)
    assert tried == ["acme"]
    assert {told[name] for name in ("acme", "globex", "shop-1", "shop-2")} == {"refused: the disk is full"}


async def test_a_command_to_many_tenants_is_one_line_in_the_log(api: httpx.AsyncClient) -> None:
    with capture_logs() as log:
        await outcomes(api, "pause", ALL)
        await outcomes(api, "resume", {**selection(state=["paused"], match="shop-*"), "dry_run": True})
        await outcomes(api, "trigger", {"tenants": {"ids": ["acme", *(f"gone-{number}" for number in range(22))]}})
        await tell(api, "/v1/pause", selection(match="shp-*"))
    lines = [
        {key: value for key, value in one.items() if key != "log_level"} for one in log if one["event"] == "command"
    ]
    said = [(one["command"], one["outcome"], one["tenants"]) for one in lines]
    twenty = ", ".join(["acme", *(f"gone-{number}" for number in range(19))])
    assert said == [
        ("pause", "done", "all"),
        ("resume", "done", {"state": ["paused"], "match": "shop-*"}),
        ("trigger", "refused", f"{twenty} and 3 more"),
        ("pause", "refused", {"match": "shp-*"}),
    ]
    assert [one.get("dry_run") for one in lines] == [None, True, None, None]
    assert [one.get(key) for one in lines[:1] for key in ("done", "unchanged", "refused")] == [4, 0, 2]
    assert "done" not in lines[3]


async def test_two_thousand_tenants_are_paused_within_seconds_while_others_have_turns(tmp_path: Path) -> None:
    clock, turns = SystemClock(), 0

    async def others() -> None:
        nonlocal turns
        while True:
            await anyio.sleep(0.001)
            turns += 1

    async with an_inside(tmp_path, *(tenant(f"t{number:04}") for number in range(2000))) as inside:
        transport = httpx.ASGITransport(inside.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://adsyncd") as api, beside(others):
            began = clock.monotonic()
            told = await outcomes(api, "pause", ALL)
            took_s = clock.monotonic() - began
        assert (len(told), set(told.values())) == (2000, {"done"})
        assert len(await inside.store.pauses()) == 2000
    assert took_s < 10  # less than 1 s on an idle machine
    assert turns > 20  # over a hundred on an idle machine
