"""Questions to the control API, and requests that are not in order."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from sqlalchemy.exc import OperationalError
from starlette.routing import Route
from structlog.testing import capture_logs

import adsyncd
from adsyncd.control import openapi
from adsyncd.control.app import application
from adsyncd.control.endpoints import ENDPOINTS
from adsyncd.errors import StoreError
from adsyncd.model.run import Outcome
from adsyncd.model.status import RefusedFile
from adsyncd.rate.wait import WaitReason
from adsyncd.store import sql
from support.control import SCARCE, UNCHANGED, WRONG, Inside, ask, refused, tell, tenant
from support.records import bury, run


async def used_up(api: httpx.AsyncClient) -> Mapping[str, Any]:
    """Wait until globex has spent its quota, and return how it stands."""
    with anyio.fail_after(20):
        while True:
            globex = await ask(api, "/v1/tenants/globex")
            if globex["run"] and globex["run"]["pushed"] == SCARCE.requests - 1 and globex["wait"]:
                return dict(globex)
            await anyio.sleep(0.01)


async def test_it_is_healthy_and_ready(api: httpx.AsyncClient) -> None:
    assert await ask(api, "/v1/health") == {"status": "ok"}
    assert await ask(api, "/v1/ready") == {"status": "ok"}


async def test_an_idle_tenant_says_when_it_runs_next(api: httpx.AsyncClient) -> None:
    idle = await ask(api, "/v1/tenants/acme")
    assert (idle["state"], idle["client_id"], idle["platform"]) == ("idle", "acme", "mixo")
    assert (idle["permits"], idle["permits_free"], idle["dead_letters"]) == (1000, 1000, 0)
    assert datetime.fromisoformat(idle["next_fire_time"]).tzinfo
    assert [idle[key] for key in ("wait", "run", "last_run", "paused_since", "error")] == [None] * 5


async def test_a_tenant_that_waits_says_for_what_until_when_and_when_its_run_will_be_done(
    inside: Inside, api: httpx.AsyncClient
) -> None:
    await tell(api, "/v1/tenants/globex/trigger")
    waiting = await used_up(api)
    now = datetime.fromisoformat(waiting["run"]["since"])
    assert (waiting["state"], waiting["wait"]["reason"]) == ("waiting", WaitReason.QUOTA)
    assert timedelta(minutes=59) < datetime.fromisoformat(waiting["wait"]["until"]) - now < timedelta(minutes=61)
    run = waiting["run"]
    assert (run["announced"], run["requests"], waiting["permits_free"]) == (12, 5, 0)
    # 14 requests in all: five went, and of the nine that are left the last four go in two hours.
    assert timedelta(hours=2) < datetime.fromisoformat(run["done_at"]) - now < timedelta(hours=2, minutes=1)
    inside.supervisor.stop()
    await inside.idle()


async def test_a_run_that_ended_is_the_last_one(inside: Inside, api: httpx.AsyncClient) -> None:
    answer = await tell(api, "/v1/tenants/acme/trigger")
    triggered = answer.json()
    assert (answer.status_code, triggered["tenant"]) == (202, "acme")
    await inside.idle()
    last = (await ask(api, "/v1/tenants/acme"))["last_run"]
    assert (last["outcome"], last["pushed"], last["fire_time"]) == ("succeeded", 12, triggered["fire_time"])
    assert await ask(api, "/v1/tenants/acme/runs") == await ask(api, "/v1/runs?limit=1") == [last]
    assert await ask(api, "/v1/tenants/globex/runs") == []


async def test_a_run_has_the_campaigns_that_it_did_not_push_and_how_many_more_there_are(
    inside: Inside, api: httpx.AsyncClient
) -> None:
    await bury(inside.store, "acme", "c1", "c2", "c3")
    [recorded] = await inside.store.runs("acme", 1)
    path = f"/v1/tenants/acme/runs/{recorded.run_id}"
    answer = await ask(api, path)
    assert answer["run"] == (await ask(api, "/v1/tenants/acme/runs"))[0]
    assert [one["campaign_id"] for one in answer["unpushed"]] == ["c3", "c2", "c1"]
    first = {**answer["unpushed"][0], "since": None}
    assert first == {
        "campaign_id": "c3",
        "state": "dead_lettered",
        "reason": "422: over budget",
        "attempts": 5,
        "since": None,
        "name": "",
    }
    assert answer["more"] == 0
    cut = await ask(api, f"{path}?limit=2")
    assert ([one["campaign_id"] for one in cut["unpushed"]], cut["more"]) == (["c3", "c2"], 1)


@pytest.mark.parametrize("path", [f"acme/runs/{run('acme', 7).run_id}", f"globex/runs/{run('acme').run_id}"])
async def test_a_run_that_there_is_not_or_of_another_tenant_is_not_found(
    inside: Inside, api: httpx.AsyncClient, path: str
) -> None:
    await bury(inside.store, "acme", "c1")
    answer = await api.get(f"/v1/tenants/{path}")
    tenant_id, run_id = path.split("/runs/")
    assert (answer.status_code, answer.json()["detail"]) == (404, f"{tenant_id} has no run {run_id}")
    assert f"/v1/tenants/{tenant_id}/runs" in answer.json()["fix"]


async def test_runs_of_a_tenant_are_paged_and_filtered(inside: Inside, api: httpx.AsyncClient) -> None:
    for number in range(5):
        began = run("acme", number)
        await inside.store.begin(began)
        outcome = Outcome.FAILED if number % 2 else Outcome.SUCCEEDED
        await inside.store.finish(replace(began, ended_at=began.started_at, outcome=outcome))
    path: str | None = "/v1/tenants/acme/runs?limit=2"
    pages = []
    while path:
        answer = await api.get(path)
        pages.append([one["run_id"] for one in answer.raise_for_status().json()])
        path = answer.links["next"]["url"] if "next" in answer.links else None
    ids = [run("acme", number).run_id for number in range(5)]
    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    since = f"{run('acme', 2).fire_time:%Y-%m-%dT%H:%M:%SZ}"
    for query, found in (("outcome=failed", [3, 1]), (f"since={since}", [4, 3, 2]), (f"before={since}", [1, 0])):
        runs = await ask(api, f"/v1/tenants/acme/runs?{query}")
        assert [one["run_id"] for one in runs] == [ids[number] for number in found]
    following = (await api.get("/v1/tenants/acme/runs?limit=1&outcome=failed")).links["next"]["url"]
    assert [one["run_id"] for one in (await api.get(following)).json()] == [ids[1]]


@pytest.mark.parametrize(
    "query", ["since=yesterday", "before=2026-11-25T12:00:00", "before=0001-01-01T00:00:00%2B14:00", "outcome=open"]
)
async def test_a_time_without_a_zone_and_an_unknown_outcome_are_refused(api: httpx.AsyncClient, query: str) -> None:
    assert (await api.get(f"/v1/tenants/acme/runs?{query}")).status_code == 422


async def test_what_went_wrong_last_is_told_until_it_goes_well(inside: Inside, api: httpx.AsyncClient) -> None:
    for fault, error in (("html", True), ("none", False)):
        await inside.treat(fault=fault)
        await tell(api, "/v1/tenants/acme/trigger")
        await inside.idle()
        assert bool((await ask(api, "/v1/tenants/acme"))["error"]) is error


async def test_the_daemon_counts_its_tenants_by_state(inside: Inside, api: httpx.AsyncClient) -> None:
    inside.files.disabled = [tenant("initech", enabled=False)]
    inside.files.refused = [RefusedFile("hooli", (WRONG,), goes_on=False)]
    await tell(api, "/v1/tenants/acme/pause")
    status = await ask(api, "/v1/status")
    assert status["tenants"] == {"idle": 1, "paused": 1, "disabled": 1, "refused": 1}
    assert (status["version"], status["runs"], status["stopping"]) == (adsyncd.__version__, 0, False)
    assert (status["vault"], status["store"]) == (None, None)
    assert [problem["what"] for problem in status["refused"]] == [WRONG.what]
    states = {one["id"]: one["state"] for one in await ask(api, "/v1/tenants")}
    assert states == {"acme": "paused", "globex": "idle", "hooli": "refused", "initech": "disabled"}


async def test_hosts_that_are_left_alone_are_told_with_the_reason(inside: Inside, api: httpx.AsyncClient) -> None:
    assert (await ask(api, "/v1/status"))["breakers"] == []
    breaker = inside.supervisor._services.connector._breaker("http://ads.invalid")
    breaker._last = "no answer"
    for second in range(0, 24, 2):
        breaker._circuit.failed(("acme", "globex")[second % 4 // 2], second, probe=False)
    [told] = (await ask(api, "/v1/status"))["breakers"]
    assert told.startswith("ads.invalid: nothing but failures since ")


async def test_a_tenant_whose_file_is_wrong_goes_on_and_says_so(inside: Inside, api: httpx.AsyncClient) -> None:
    inside.files.refused = [RefusedFile("globex", (WRONG,), goes_on=True)]
    globex = await ask(api, "/v1/tenants/globex")
    assert globex["state"] == "idle"
    [problem] = globex["refused"]
    assert (problem["path"], problem["line"], problem["fix"]) == (str(WRONG.path), WRONG.line, WRONG.fix)


async def test_a_bad_profile_is_told_once_and_with_each_of_its_tenants(inside: Inside, api: httpx.AsyncClient) -> None:
    tenants = [RefusedFile(f"t{number}", (), goes_on=False, platform="own") for number in range(3)]
    inside.files.refused = [RefusedFile(None, (WRONG,), goes_on=False, platform="own"), *tenants]
    status = await ask(api, "/v1/status")
    assert (status["tenants"]["refused"], [problem["what"] for problem in status["refused"]]) == (3, [WRONG.what])
    for number in range(3):
        tenant = await ask(api, f"/v1/tenants/t{number}")
        assert (tenant["state"], [problem["what"] for problem in tenant["refused"]]) == ("refused", [WRONG.what])


async def test_while_the_database_is_gone_it_answers_what_it_knows(
    inside: Inside, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object) -> None:
        raise StoreError("the disk is gone")

    for question in ("pauses", "dead_letter_counts", "runs_after", "pause"):
        monkeypatch.setattr(inside.store, question, gone)
    inside.store.health.failed(OperationalError("BEGIN", None, Exception("the disk is gone")))
    place = sql.name(inside.store._engine.url)
    assert (await ask(api, "/v1/status"))["store"] == f"{place}: the disk is gone"
    assert refused(await api.get("/v1/ready"), 503)["detail"] == f"{place}: the disk is gone"
    assert await ask(api, "/v1/health") == {"status": "ok"}
    assert (await ask(api, "/v1/tenants/acme"))["dead_letters"] is None
    assert refused(await api.get("/v1/runs"), 503)["detail"] == "the disk is gone"
    assert refused(await api.post("/v1/tenants/acme/pause"), 503)["detail"] == "the disk is gone"
    assert (await ask(api, "/v1/tenants/acme"))["state"] == "idle"


async def test_a_tenant_that_cant_be_shown_says_so_in_its_row_and_hides_no_other(
    inside: Inside, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside.supervisor.worker("acme"), "session", None)
    with capture_logs() as logged:
        for _ in range(2):
            shown = {one["id"]: one for one in await ask(api, "/v1/tenants")}
            assert (shown["acme"]["state"], shown["globex"]["state"]) == ("unknown", "idle")
    assert "can't be shown" in shown["acme"]["error"]
    assert [(one["event"], one["tenant"]) for one in logged] == [("tenant status failed", "acme")]
    inside.overview._glance = None  # a look at all tenants is used for a second
    assert (await ask(api, "/v1/status"))["tenants"] == {"idle": 1, "unknown": 1}
    assert (await ask(api, "/v1/tenants/acme"))["state"] == "unknown"


async def test_a_file_whose_name_is_not_utf8_is_told_of(inside: Inside, api: httpx.AsyncClient) -> None:
    wrong = replace(WRONG, path=Path(os.fsdecode(b"/etc/adsyncd/tenants.d/caf\xe9.toml")))
    refusal = RefusedFile(None, (wrong,), goes_on=False)
    inside.files.refused = [refusal]
    assert [one["path"] for one in (await ask(api, "/v1/status"))["refused"]] == ["/etc/adsyncd/tenants.d/caf?.toml"]
    inside.files.report = replace(UNCHANGED, refused=(refusal,))
    told = refused(await tell(api, "/v1/reload"), 409)
    assert told["report"]["refused"][0]["problems"][0]["path"] == "/etc/adsyncd/tenants.d/caf?.toml"


async def test_dead_letters_are_found_by_tenant_and_reason(inside: Inside, api: httpx.AsyncClient) -> None:
    await bury(inside.store, "acme", "c1", "c2")
    await bury(inside.store, "globex", "c3", reason="too long a name")
    found = [letter["campaign_id"] for letter in await ask(api, "/v1/dead-letters")]
    assert found == ["c1", "c2", "c3"]
    assert [one["payload"]["id"] for one in await ask(api, "/v1/dead-letters?tenant=acme&limit=1")] == ["c1"]
    assert [one["tenant"] for one in await ask(api, "/v1/dead-letters?reason=NAME")] == ["globex"]
    assert (await ask(api, "/v1/tenants/acme"))["dead_letters"] == 2


async def test_the_plan_is_of_those_that_are_served(api: httpx.AsyncClient) -> None:
    found = await ask(api, "/v1/plan")
    assert [one["tenant"] for one in found["tenants"]] == ["acme", "globex"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/health", 404),
        ("GET", "/v1/tenants/", 404),
        ("GET", "/v1/tenants/hooli", 404),
        ("POST", "/v1/health", 405),
        ("GET", "/v1/pause", 405),
        ("GET", "/v1/tenants/NO!", 422),
        ("GET", "/v1/runs?limit=0", 422),
        ("GET", "/v1/runs?limit=1&limit=2", 422),
        ("GET", "/v1/health?verbose=1", 422),
        ("POST", "/v1/dead-letters/replay", 415),
    ],
)
async def test_what_is_not_asked_for_in_order_is_a_problem_with_a_fix(
    api: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    problem = refused(await api.request(method, path), status)
    assert problem["title"]
    assert problem["detail"]
    assert problem["fix"]


async def test_an_unknown_parameter_is_named(api: httpx.AsyncClient) -> None:
    assert refused(await api.get("/v1/runs?limt=1"), 422)["detail"] == "limt: unknown key"


async def test_a_wrong_method_is_told_the_right_one(api: httpx.AsyncClient) -> None:
    assert (await api.delete("/v1/pause")).headers["allow"] == "POST"
    both = (await api.delete("/v1/reload")).headers["allow"]
    assert sorted(both.split(", ")) == ["GET", "HEAD", "POST"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"dead_letters": {}}',
        b'{"dead_letters": {"all": false}}',
        b'{"dead_letters": {"all": true}, "dry": true}',
        b'{"dead_letters": {"all": true}, "dry_run": 1}',
        b'{"dead_letters": {"campaign_ids": ["c1"]}}',
        b'{"dead_letters": {"tenant": "acme", "campaign_ids": []}}',
        b'{"dead_letters": {"reason": "\\u0000"}}',
        b"[" * 100_000,
    ],
)
async def test_an_order_that_is_malformed_does_nothing(inside: Inside, api: httpx.AsyncClient, body: bytes) -> None:
    await bury(inside.store, "acme", "c1")
    answer = await api.post("/v1/dead-letters/replay", content=body, headers={"content-type": "application/json"})
    refused(answer, 422)
    assert len(await inside.store.dead_letters()) == 1


async def test_a_body_that_is_too_large_is_not_read_to_its_end(api: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b" " * 65536

    headers = {"content-type": "application/json"}
    refused(await api.post("/v1/dead-letters/replay", content=endless(), headers=headers), 413)
    assert sent < 10 * 65536


async def test_a_mistake_of_ours_says_nothing_of_it(
    inside: Inside, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mistaken(*_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(inside.store, "runs_after", mistaken)
    answer = await api.get("/v1/runs")
    assert refused(answer, 500)["detail"] == "a bug in adsyncd"
    assert "canary" not in answer.text


async def test_the_document_is_served_and_names_each_endpoint(inside: Inside, api: httpx.AsyncClient) -> None:
    document = await ask(api, openapi.PATH)
    assert document == json.loads(json.dumps(openapi.document(ENDPOINTS)))
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    routes = [route for route in application(inside.commands, inside.overview).routes if isinstance(route, Route)]
    served = {(route.path, method) for route in routes for method in route.methods or ()}
    assert described == {(path, method) for path, method in served if method != "HEAD"}


async def test_no_secret_is_in_any_answer(inside: Inside, api: httpx.AsyncClient) -> None:
    await bury(inside.store, "acme", "c1")
    await tell(api, "/v1/tenants/acme/trigger")
    await inside.idle()
    answers = [await api.request(endpoint.method, endpoint.path.replace("{tenant}", "acme")) for endpoint in ENDPOINTS]
    await inside.idle()
    for answer in answers:
        assert "pw-acme" not in answer.text
        assert "mock-token" not in answer.text
    assert any("acme" in answer.text for answer in answers)
