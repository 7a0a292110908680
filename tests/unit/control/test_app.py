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
from structlog.testing import capture_logs

import adsyncd
from adsyncd.control import openapi
from adsyncd.control.endpoints import ENDPOINTS
from adsyncd.errors import Problem, StoreError
from adsyncd.model.status import Refusal
from adsyncd.rate.quota import Quota
from adsyncd.rate.wait import WaitReason
from support.control import UNCHANGED, Inside, an_inside, bury, tenant

SCARCE = Quota(5, timedelta(hours=1))
WRONG = Problem(Path("/etc/adsyncd/tenants.d/globex.toml"), 3, "quota", "is no table", "write quota = { ... }")


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    globex = tenant("globex", quota=SCARCE, run_deadline=timedelta(days=1))
    async with an_inside(tmp_path, tenant("acme"), globex) as begun:
        yield begun


@pytest.fixture
async def api(inside: Inside) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(inside.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://adsyncd") as client:
        yield client


async def ask(api: httpx.AsyncClient, path: str) -> Any:  # noqa: ANN401 - JSON
    answer = await api.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def tell(api: httpx.AsyncClient, path: str, order: object = None) -> httpx.Response:
    return await api.post(path, json=order) if order else await api.post(path)


async def used_up(api: httpx.AsyncClient) -> Mapping[str, Any]:
    """Wait until globex has spent its quota, and return how it stands."""
    with anyio.fail_after(20):
        while True:
            globex = await ask(api, "/v1/tenants/globex")
            if globex["run"] and globex["run"]["pushed"] == SCARCE.requests - 1 and globex["wait"]:
                return dict(globex)
            await anyio.sleep(0.01)


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem that an answer is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    return problem


# Questions


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
    triggered = (await tell(api, "/v1/tenants/acme/trigger")).json()
    await inside.idle()
    last = (await ask(api, "/v1/tenants/acme"))["last_run"]
    assert (last["outcome"], last["pushed"], last["fire_time"]) == ("succeeded", 12, triggered["fire_time"])
    assert await ask(api, "/v1/tenants/acme/runs") == await ask(api, "/v1/runs?limit=1") == [last]
    assert await ask(api, "/v1/tenants/globex/runs") == []


async def test_what_went_wrong_last_is_told_until_it_goes_well(inside: Inside, api: httpx.AsyncClient) -> None:
    for fault, error in (("html", True), ("none", False)):
        await inside.treat(fault=fault)
        await tell(api, "/v1/tenants/acme/trigger")
        await inside.idle()
        assert bool((await ask(api, "/v1/tenants/acme"))["error"]) is error


async def test_the_daemon_counts_its_tenants_by_state(inside: Inside, api: httpx.AsyncClient) -> None:
    inside.files.disabled = [tenant("initech", enabled=False)]
    inside.files.refused = [Refusal("hooli", (WRONG,), goes_on=False)]
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
    inside.files.refused = [Refusal("globex", (WRONG,), goes_on=True)]
    globex = await ask(api, "/v1/tenants/globex")
    assert globex["state"] == "idle"
    [problem] = globex["refused"]
    assert (problem["path"], problem["line"], problem["fix"]) == (str(WRONG.path), WRONG.line, WRONG.fix)


async def test_while_the_database_is_gone_it_answers_what_it_knows(
    inside: Inside, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object) -> None:
        raise StoreError("the disk is gone")

    for question in ("pauses", "dead_letter_counts", "runs", "pause"):
        monkeypatch.setattr(inside.store, question, gone)
    assert (await ask(api, "/v1/status"))["store"] == "the disk is gone"
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
    assert (await ask(api, "/v1/status"))["tenants"] == {"idle": 1, "unknown": 1}
    assert (await ask(api, "/v1/tenants/acme"))["state"] == "unknown"


async def test_a_file_whose_name_is_not_utf8_is_told_of(inside: Inside, api: httpx.AsyncClient) -> None:
    wrong = replace(WRONG, path=Path(os.fsdecode(b"/etc/adsyncd/tenants.d/caf\xe9.toml")))
    refusal = Refusal(None, (wrong,), goes_on=False)
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


# Commands


async def test_a_run_is_begun_by_command(inside: Inside, api: httpx.AsyncClient) -> None:
    answer = await tell(api, "/v1/tenants/acme/trigger")
    assert (answer.status_code, answer.json()["tenant"]) == (202, "acme")
    await inside.idle()
    [run] = await inside.store.runs("acme", 9)
    assert run.fire_time == datetime.fromisoformat(answer.json()["fire_time"])


async def test_no_second_run_is_begun_beside_one_that_goes_on(inside: Inside, api: httpx.AsyncClient) -> None:
    await tell(api, "/v1/tenants/globex/trigger")
    problem = refused(await tell(api, "/v1/tenants/globex/trigger"), 409)
    assert (problem["detail"], problem["fix"]) == (
        "a run of globex is already in progress",
        "see adsyncd status globex",
    )
    inside.supervisor.stop()
    await inside.idle()


async def test_a_paused_tenant_is_not_run_until_it_is_resumed(inside: Inside, api: httpx.AsyncClient) -> None:
    paused = (await tell(api, "/v1/tenants/acme/pause")).json()
    assert (paused["state"], paused["next_fire_time"]) == ("paused", None)
    assert (await tell(api, "/v1/tenants/acme/pause")).json()["paused_since"] == paused["paused_since"]
    assert list(await inside.store.pauses()) == ["acme"]
    problem = refused(await tell(api, "/v1/tenants/acme/trigger"), 409)
    assert (problem["detail"], problem["fix"]) == ("acme is paused", "resume it first: adsyncd resume acme")
    assert (await tell(api, "/v1/tenants/acme/resume")).json()["state"] == "idle"
    assert await inside.store.pauses() == {}
    assert (await tell(api, "/v1/tenants/acme/trigger")).status_code == 202
    await inside.idle()


async def test_a_run_that_goes_on_is_not_cut_off_by_a_pause(inside: Inside, api: httpx.AsyncClient) -> None:
    await inside.treat(push_latency_s=0.1)
    await tell(api, "/v1/tenants/acme/trigger")
    paused = (await tell(api, "/v1/tenants/acme/pause")).json()
    assert paused["state"] in {"running", "waiting"}
    assert paused["paused_since"]
    await inside.idle()
    ended = await ask(api, "/v1/tenants/acme")
    assert (ended["state"], ended["last_run"]["outcome"]) == ("paused", "succeeded")


@pytest.mark.parametrize("command", ["trigger", "pause", "resume"])
async def test_commands_to_tenants_that_are_not_served_are_refused(
    inside: Inside, api: httpx.AsyncClient, command: str
) -> None:
    inside.files.disabled = [tenant("initech", enabled=False)]
    assert refused(await tell(api, f"/v1/tenants/hooli/{command}"), 404)["detail"] == 'there is no tenant "hooli"'
    assert refused(await tell(api, f"/v1/tenants/initech/{command}"), 409)["detail"] == "initech is disabled"


async def test_nothing_new_is_begun_by_a_daemon_that_is_about_to_stop(inside: Inside, api: httpx.AsyncClient) -> None:
    inside.supervisor.stop()
    orders: Mapping[str, object] = {"/v1/tenants/acme/trigger": None, "/v1/reload": None}
    for path, order in {**orders, "/v1/dead-letters/replay": {"dead_letters": {"all": True}}}.items():
        refused(await tell(api, path, order), 503)
    refused(await api.get("/v1/ready"), 503)
    assert (await ask(api, "/v1/health")) == {"status": "ok"}
    assert (await ask(api, "/v1/status"))["stopping"] is True


async def test_a_reload_says_what_changed(inside: Inside, api: httpx.AsyncClient) -> None:
    inside.files.report = replace(UNCHANGED, added=("hooli",), changed=("acme",), unchanged=("globex",))
    report = (await tell(api, "/v1/reload")).json()
    assert (report["added"], report["changed"], report["unchanged"]) == (["hooli"], ["acme"], ["globex"])


async def test_a_reload_that_refuses_files_is_no_success_and_says_what_changed_nevertheless(
    inside: Inside, api: httpx.AsyncClient
) -> None:
    inside.files.report = replace(UNCHANGED, added=("hooli",), refused=(Refusal("globex", (WRONG,), goes_on=True),))
    problem = refused(await tell(api, "/v1/reload"), 409)
    assert problem["report"]["added"] == ["hooli"]
    [refusal] = problem["report"]["refused"]
    assert (refusal["tenant"], refusal["goes_on"]) == ("globex", True)
    assert refusal["problems"][0]["what"] == WRONG.what


async def replayed(api: httpx.AsyncClient, which: object, *, dry_run: bool = False) -> dict[str, tuple[str, Any]]:
    """Have dead letters replayed, and return by campaign what became of each."""
    answer = await tell(api, "/v1/dead-letters/replay", {"dead_letters": which, "dry_run": dry_run})
    assert answer.status_code == 200, answer.text
    return {one["campaign_id"]: (one["outcome"], one["error"]) for one in answer.json()}


async def test_dead_letters_are_replayed_in_the_daemon(inside: Inside, api: httpx.AsyncClient) -> None:
    await bury(inside.store, "acme", "cmp-0001", "cmp-0002", "cmp-0003")
    await inside.treat(rejected=["cmp-0002"])
    some = {"tenant": "acme", "campaign_ids": ["cmp-0001", "cmp-0002"]}
    assert await replayed(api, some, dry_run=True) == dict.fromkeys(some["campaign_ids"], ("pending", None))
    fates = await replayed(api, some)
    assert fates["cmp-0001"] == ("pushed", None)
    assert fates["cmp-0002"][0] == "failed"
    assert [letter.campaign_id for letter in await inside.store.dead_letters()] == ["cmp-0002", "cmp-0003"]
    assert set(await replayed(api, {"reason": "budget"}, dry_run=True)) == {"cmp-0003"}
    assert await replayed(api, {"tenant": "globex"}) == {}


async def test_a_replay_that_a_stop_no_longer_waits_for_says_so_and_leaves_the_rest(
    inside: Inside, api: httpx.AsyncClient
) -> None:
    await bury(inside.store, "acme", "cmp-0001", "cmp-0002")
    await inside.treat(push_latency_s=600)
    fates: dict[str, tuple[str, Any]] = {}

    async def replay() -> None:
        fates.update(await replayed(api, {"tenant": "acme"}))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(replay)
        with anyio.fail_after(20):
            while not inside.supervisor.worker("acme").busy:  # noqa: ASYNC110 - begun by the command
                await anyio.sleep(0.01)
        inside.commands.cut_short()
    assert {outcome for outcome, _ in fates.values()} == {"pending"}
    assert "cut short by the stop" in fates["cmp-0001"][1]
    assert len(await inside.store.dead_letters()) == 2


async def test_one_that_is_named_and_no_dead_letter_is_a_mistake(inside: Inside, api: httpx.AsyncClient) -> None:
    await bury(inside.store, "acme", "c1")
    order = {"dead_letters": {"tenant": "acme", "campaign_ids": ["c1", "c9"]}}
    assert (
        refused(await tell(api, "/v1/dead-letters/replay", order), 409)["detail"] == "no such dead letters of acme: c9"
    )
    assert len(await inside.store.dead_letters()) == 1


async def test_dead_letters_of_tenants_that_rest_or_are_gone_are_left(inside: Inside, api: httpx.AsyncClient) -> None:
    for name in ("acme", "hooli", "initech"):
        await bury(inside.store, name, f"of-{name}")
    inside.files.disabled = [tenant("initech", enabled=False)]
    await tell(api, "/v1/tenants/acme/pause")
    fates = await replayed(api, {"all": True})
    assert {outcome for outcome, _ in fates.values()} == {"pending"}
    assert fates["of-acme"][1].startswith("acme is paused")
    assert fates["of-hooli"][1].startswith('there is no tenant "hooli"')
    assert fates["of-initech"][1].startswith("initech is disabled")


async def test_commands_are_logged_and_questions_are_not(api: httpx.AsyncClient) -> None:
    with capture_logs() as log:
        await tell(api, "/v1/tenants/acme/pause")
        await ask(api, "/v1/tenants")
    assert log == [{"event": "command", "command": "pause", "tenant": "acme", "log_level": "info"}]


# What is not in order


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/tenants/", 404),
        ("GET", "/v2/health", 404),
        ("GET", "/v1/tenants/hooli", 404),
        ("POST", "/v1/health", 405),
        ("GET", "/v1/reload", 405),
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
    assert (await api.delete("/v1/reload")).headers["allow"] == "POST"


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

    monkeypatch.setattr(inside.store, "runs", mistaken)
    answer = await api.get("/v1/runs")
    assert refused(answer, 500)["detail"] == "a bug in adsyncd"
    assert "canary" not in answer.text


# What is told of it


async def test_the_document_is_served_and_names_each_endpoint(inside: Inside, api: httpx.AsyncClient) -> None:
    document = await ask(api, openapi.PATH)
    assert document == json.loads(json.dumps(openapi.document(ENDPOINTS)))
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    served = {(route.path, method) for route in inside.app.routes for method in route.methods}  # type: ignore[attr-defined]  # they are all of Starlette's Route
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
