"""Commands, as clients of the control API send them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest

from adsyncd.control import commands
from adsyncd.errors import StoreError
from adsyncd.model.run import Outcome
from adsyncd.model.status import RefusedFile, State
from adsyncd.rate.wait import WaitReason
from adsyncd.store import health
from support.control import UNCHANGED, WRONG, Inside, ask, refused, tell, tenant
from support.records import bury, run


async def test_no_second_run_is_begun_beside_one_that_goes_on(inside: Inside, api: httpx.AsyncClient) -> None:
    await tell(api, "/v1/tenants/globex/trigger")
    problem = refused(await tell(api, "/v1/tenants/globex/trigger"), 409)
    assert problem["detail"] == "a run of globex is already in progress"
    assert problem["fix"] == "see adsyncd status globex"
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


async def test_a_database_that_does_not_answer_holds_up_no_question_and_no_command(
    inside: Inside, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, record = anyio.Event(), inside.store.pause

    async def stalled(*_: object, **__: object) -> None:
        await answers.wait()

    async def late(tenant_id: str, since: datetime) -> None:
        await answers.wait()
        await record(tenant_id, since)

    monkeypatch.setattr(health, "_ANSWERS_S", 0.05)
    monkeypatch.setattr(commands, "_RECORDS_S", 0.05)
    monkeypatch.setattr(inside.store, "pause", late)
    for question in ("dead_letter_counts", "runs"):
        monkeypatch.setattr(inside.store, question, stalled)
    acme = await ask(api, "/v1/tenants/acme")
    assert (acme["state"], acme["dead_letters"]) == ("idle", None)
    assert acme["unread"] == "the database is busy: it has not answered within 1 s; ask again"
    assert [one["id"] for one in await ask(api, "/v1/tenants")] == ["acme", "globex"]
    told = refused(await tell(api, "/v1/tenants/acme/pause"), 503)["detail"]
    assert told.startswith("the database has not recorded it within 0.05 s; it takes effect as soon as it has")
    assert (await ask(api, "/v1/tenants/acme"))["state"] == "idle"
    answers.set()
    with anyio.fail_after(10):
        while inside.supervisor.worker("acme").state is not State.PAUSED:  # noqa: ASYNC110 - once it is recorded
            await anyio.sleep(0.01)


async def test_it_is_not_ready_while_no_run_can_begin(inside: Inside, api: httpx.AsyncClient) -> None:
    for _ in range(3):
        inside.supervisor._services.begins.failed(StoreError("it refused a statement"))
    assert refused(await api.get("/v1/ready"), 503)["detail"] == "no run could begin lately: it refused a statement"
    await tell(api, "/v1/tenants/acme/trigger")
    await inside.idle()
    assert await ask(api, "/v1/ready") == {"status": "ok"}


@pytest.mark.parametrize("command", ["trigger", "pause", "resume"])
async def test_commands_to_tenants_that_are_not_served_are_refused(
    inside: Inside, api: httpx.AsyncClient, command: str
) -> None:
    inside.files.disabled = [tenant("initech", enabled=False)]
    assert refused(await tell(api, f"/v1/tenants/hooli/{command}"), 404)["detail"] == 'there is no tenant "hooli"'
    assert refused(await tell(api, f"/v1/tenants/initech/{command}"), 409)["detail"] == "initech is disabled"


async def test_nothing_new_is_begun_by_a_daemon_that_is_about_to_stop(inside: Inside, api: httpx.AsyncClient) -> None:
    inside.supervisor.stop()
    for path in ("/v1/tenants/acme/trigger", "/v1/reload"):
        refused(await tell(api, path), 503)
    refused(await tell(api, "/v1/dead-letters/replay", {"dead_letters": {"all": True}}), 503)
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
    inside.files.report = replace(UNCHANGED, added=("hooli",), refused=(RefusedFile("globex", (WRONG,), goes_on=True),))
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
    problem = refused(await tell(api, "/v1/dead-letters/replay", order), 409)
    assert problem["detail"] == "no such dead letters of acme: c9"
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


async def test_a_late_tenant_is_judged_by_its_latest_runs_and_its_plan(inside: Inside, api: httpx.AsyncClient) -> None:
    assert (await ask(api, "/v1/tenants/acme"))["verdict"] is None
    for number in range(4):
        this = run(number=2 * number)
        took = timedelta(minutes=22)
        await inside.store.begin(this)
        await inside.store.finish(
            replace(
                this,
                ended_at=this.started_at + took,
                outcome=Outcome.SUCCEEDED,
                listed=60,
                pushed=60,
                requests=66,
                skipped_ticks=1,
                waits={WaitReason.QUOTA: 1300.0},
            )
        )
    verdict = (await ask(api, "/v1/tenants/acme"))["verdict"]
    assert (verdict["trouble"], verdict["severity"]) == ("late", "warning")
    assert verdict["sentence"] == "acme is late: every second tick is skipped."
    assert "and a run takes 22m. Of that, 21m 40s (98 %) waits for the quota" in verdict["causes"][0]
    assert verdict["fixes"]
    [planned] = [one for one in (await ask(api, "/v1/plan"))["tenants"] if one["tenant"] == "acme"]
    assert not planned["fixes"] or verdict["fixes"] == planned["fixes"]


async def test_a_paused_tenant_and_refused_files_have_their_verdicts_in_the_list_too(
    inside: Inside, api: httpx.AsyncClient
) -> None:
    await tell(api, "/v1/tenants/acme/pause")
    inside.files.refused = [
        RefusedFile("globex", (WRONG,), goes_on=True),
        RefusedFile("hooli", (WRONG,), goes_on=False),
    ]
    listed = {one["id"]: one["verdict"] for one in await ask(api, "/v1/tenants")}
    assert {name: verdict["trouble"] for name, verdict in listed.items() if verdict} == {
        "acme": "paused",
        "globex": "files refused",
        "hooli": "files refused",
    }
    for name, verdict in listed.items():
        own = (await ask(api, f"/v1/tenants/{name}"))["verdict"]
        assert (own and own["trouble"]) == (verdict and verdict["trouble"])
    assert [listed[name]["severity"] for name in ("acme", "globex", "hooli")] == ["note", "warning", "critical"]
    await tell(api, "/v1/tenants/acme/resume")
    assert (await ask(api, "/v1/tenants/acme"))["verdict"] is None
