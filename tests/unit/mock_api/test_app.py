from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from pydantic import JsonValue

from mock_api.app import create_app

QUIET: dict[str, JsonValue] = {"list_503": 0, "list_hang": 0, "push_latency_s": 0}
ACCOUNTS: dict[str, JsonValue] = {
    "acme@example.com": {"password": "pw", "clients": ["acme"]},
    "other@example.com": {"password": "pw", "clients": ["other"]},
}


class Now:
    at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


class Caller:
    """A client of the app that is signed in and acts for `acme`."""

    def __init__(self, http: httpx.AsyncClient, now: Now) -> None:
        self.http = http
        self.now = now

    async def sign_in(self, email: str = "acme@example.com") -> dict[str, Any]:
        token: dict[str, Any] = (await self.http.post("/auth/token", auth=(email, "pw"))).raise_for_status().json()
        self.http.headers.update({"Authorization": f"Bearer {token['access_token']}", "X-Client-ID": "acme"})
        return token

    async def list(
        self, params: Mapping[str, int | str] | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return await self.http.get("/api/campaigns", params=params, headers=headers)

    async def push(self, campaign_id: str = "cmp-0001", key: str = "key") -> httpx.Response:
        headers = {"Idempotency-Key": key}
        return await self.http.post(
            f"/api/campaigns/{campaign_id}/sync", json={"campaign_id": campaign_id}, headers=headers
        )

    async def change(self, **patch: object) -> httpx.Response:
        return await self.http.post("/_settings", json=patch)

    async def ledger(self) -> dict[str, Any]:
        page: dict[str, Any] = (await self.http.get("/_ledger?client_id=acme")).json()["clients"]["acme"]
        return page


@asynccontextmanager
async def platform(**everyone: JsonValue) -> AsyncIterator[Caller]:
    now = Now()
    app = create_app({"accounts": ACCOUNTS, "everyone": QUIET | everyone}, now)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://platform") as http:
        caller = Caller(http, now)
        await caller.sign_in()
        yield caller


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with platform() as caller:
        yield caller


async def test_health_needs_no_token_and_the_error_endpoint_fails(caller: Caller) -> None:
    del caller.http.headers["Authorization"]
    assert (await caller.http.get("/health")).status_code == 200
    assert (await caller.http.get("/api/error")).status_code == 500


async def test_signing_in_gives_a_bearer_token_with_its_life(caller: Caller) -> None:
    token = await caller.sign_in()
    assert set(token) == {"access_token", "token_type", "expires_in", "issued_at"}
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 3600)
    assert token["issued_at"] == "2027-01-15T08:00:00+00:00"
    assert (await caller.ledger())["tokens_issued"] == 2


async def test_wrong_credentials_get_a_401_in_the_form_of_the_api(caller: Caller) -> None:
    answer = await caller.http.post("/auth/token", auth=("acme@example.com", "wrong"))
    assert answer.status_code == 401
    assert set(answer.json()) == {"error", "message"}


async def test_the_sign_ins_of_a_silent_account_are_never_answered_and_bring_no_token(caller: Caller) -> None:
    await caller.change(accounts={"acme@example.com": {"silent": True}})
    with anyio.move_on_after(0.1) as waited:
        await caller.sign_in()
    assert waited.cancelled_caught
    await caller.change(accounts={"acme@example.com": {"silent": False}})
    await caller.sign_in()
    assert (await caller.ledger())["tokens_issued"] == 2


async def test_a_request_without_a_valid_token_is_neither_answered_nor_counted(caller: Caller) -> None:
    caller.now.at += 3600
    assert (await caller.list()).status_code == 401
    del caller.http.headers["Authorization"]
    assert (await caller.list()).status_code == 401
    assert (await caller.ledger())["accepted"] == 0


async def test_the_token_of_one_account_opens_no_other_client_id(caller: Caller) -> None:
    await caller.sign_in("other@example.com")
    refusals = [await caller.list(), await caller.push()]
    assert [answer.status_code for answer in refusals] == [403, 403]
    assert set(refusals[0].json()) == {"error", "message"}
    del caller.http.headers["X-Client-ID"]
    assert (await caller.list()).status_code == 403
    assert (await caller.ledger())["accepted"] == 0


async def test_without_a_client_id_a_request_is_for_the_default_one(caller: Caller) -> None:
    await caller.change(accounts={"acme@example.com": {"clients": ["acme", "default"]}})
    del caller.http.headers["X-Client-ID"]
    assert (await caller.list()).status_code == 200
    assert (await caller.http.get("/_ledger")).json()["clients"]["default"]["accepted"] == 1


async def test_beyond_the_quota_requests_get_a_429_and_are_not_counted() -> None:
    async with platform(quota_requests=2) as caller:
        statuses = [
            (await answer).status_code for answer in (caller.list(), caller.push(), caller.list(), caller.push())
        ]
        assert statuses == [200, 200, 429, 429]
        assert (await caller.list()).json()["retry_after"] == 60
        caller.now.at += 60
        assert (await caller.list()).status_code == 200
        page = await caller.ledger()
        assert (page["accepted"], page["refused"], page["largest_window"]) == (3, 3, 2)


async def test_a_listing_and_a_push_count_as_often_as_they_cost() -> None:
    async with platform(quota_requests=5, list_cost=2, push_cost=3) as caller:
        answers = [await caller.list(), await caller.push(), await caller.list(), await caller.push()]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        page = await caller.ledger()
        assert (page["accepted"], page["refused"], page["largest_window"]) == (2, 2, 5)


async def test_a_request_is_counted_whatever_fault_it_meets_then() -> None:
    async with platform(quota_requests=1, list_503=1) as caller:
        assert [(await caller.list()).status_code for _ in range(2)] == [503, 429]
        assert (await caller.ledger())["accepted"] == 1


async def test_every_metered_answer_tells_the_quota_where_that_is_switched_on() -> None:
    async with platform(quota_requests=2, ratelimit_headers=True) as caller:
        answers = [await caller.list(), await caller.push("unknown"), await caller.push()]
        assert [answer.status_code for answer in answers] == [200, 404, 429]
        assert [answer.headers["RateLimit"] for answer in answers] == [f'"default";r={r};t=60' for r in (1, 0, 0)]
        assert answers[0].headers["RateLimit-Policy"] == '"default";q=2;w=60'
    async with platform() as caller:
        assert "RateLimit" not in (await caller.list()).headers


async def test_all_client_ids_share_the_quota_of_the_platform_and_the_ledger_tells_who_refused() -> None:
    async with platform(quota_requests=3) as caller:
        both = {"password": "pw", "clients": ["acme", "other"]}
        await caller.change(platform_quota_requests=4, accounts={"acme@example.com": both})
        answers = [await caller.list(headers={"X-Client-ID": client_id}) for client_id in ["acme"] * 4 + ["other"] * 2]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 200, 429]
        ledger = (await caller.http.get("/_ledger")).json()
        pages = [ledger["clients"][client_id] for client_id in ("acme", "other")]
        assert [(page["refused"], page["refused_by_platform"]) for page in pages] == [(1, 0), (1, 1)]
        shared = ledger["platform"]
        assert (shared["accepted"], shared["refused"], shared["largest_windows"]) == (4, 1, {"60": 4})
        await caller.http.post("/_ledger/reset")
        assert (await caller.http.get("/_ledger")).json()["platform"]["accepted"] == 0


async def test_new_settings_forget_what_is_spent_of_the_platforms_quota_only_if_they_change_it(caller: Caller) -> None:
    await caller.change(platform_quota_requests=1)
    await caller.list()
    await caller.change(everyone={"campaigns": 5})
    assert (await caller.list()).status_code == 429
    await caller.change(platform_quota_requests=2)
    assert (await caller.list()).status_code == 200
    await caller.change(platform_quota_requests=0)
    assert [(await caller.list()).status_code for _ in range(5)] == [200] * 5


async def test_a_listing_has_pages_of_the_size_that_is_asked_for_up_to_a_hundred() -> None:
    async with platform(campaigns=150) as caller:
        usual, asked, large = [
            (await caller.list(params=params)).json() for params in ({}, {"page": 2, "limit": 7}, {"limit": 1000})
        ]
        assert usual["pagination"] == {"page": 1, "limit": 10, "total": 150, "has_more": True}
        assert [campaign["id"] for campaign in asked["data"]] == [f"cmp-{number:04d}" for number in range(8, 15)]
        assert len(large["data"]) == large["pagination"]["limit"] == 100


async def test_a_platform_may_answer_pages_of_its_own_size() -> None:
    async with platform(page_size=3) as caller:
        page = (await caller.list(params={"page": 2})).json()
        assert [campaign["id"] for campaign in page["data"]] == ["cmp-0004", "cmp-0005", "cmp-0006"]


@pytest.mark.parametrize("params", [{"page": "0"}, {"limit": "-1"}, {"page": "x"}, {"limit": ""}])
async def test_a_listing_that_asks_for_nonsense_gets_a_400(caller: Caller, params: dict[str, int | str]) -> None:
    assert (await caller.list(params=params)).status_code == 400


async def test_a_listing_that_has_not_changed_answers_304() -> None:
    async with platform(etag=True) as caller:
        known = {"If-None-Match": (await caller.list()).headers["ETag"]}
        assert (await caller.list(headers=known)).status_code == 304
        await caller.change(everyone={"revisions": {"cmp-0001": 1}})
        assert (await caller.list(headers=known)).status_code == 200


async def test_campaigns_that_shift_move_by_one_with_each_page_that_is_asked_for() -> None:
    async with platform(shifting=True, campaigns=4) as caller:
        pages = [(await caller.list({"page": number, "limit": 2})).json()["data"] for number in (1, 2, 1)]
    ids = [[each["id"] for each in page] for page in pages]
    assert ids == [["cmp-0001", "cmp-0002"], ["cmp-0004", "cmp-0001"], ["cmp-0003", "cmp-0004"]]


async def test_a_push_answers_what_it_did(caller: Caller) -> None:
    answer = (await caller.push()).json()
    assert set(answer) == {"success", "campaign_id", "synced_at", "message"}
    assert (answer["success"], answer["campaign_id"]) == (True, "cmp-0001")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"campaign_id": "cmp-0002"}'])
async def test_a_push_whose_body_is_not_for_its_path_gets_a_400_and_has_no_effect(caller: Caller, content: str) -> None:
    assert (await caller.http.post("/api/campaigns/cmp-0001/sync", content=content)).status_code == 400
    assert (await caller.ledger())["effects_total"] == 0


async def test_pushes_that_a_retry_will_not_fix_are_refused_and_have_no_effect() -> None:
    async with platform(deleted=["cmp-0002"], rejected=["cmp-0003"]) as caller:
        answers = [await caller.push(id_, id_) for id_ in ("cmp-0101", "cmp-0002", "cmp-0003")]
        assert [answer.status_code for answer in answers] == [404, 404, 422]
        assert (await caller.ledger())["effects_total"] == 0


async def test_a_refusal_says_what_the_settings_say() -> None:
    async with platform(rejected=["cmp-0003"], rejection="the landing page is gone") as caller:
        answer = await caller.push("cmp-0003", "key")
        assert answer.status_code == 422
        assert "the landing page is gone" in answer.text


async def test_a_key_that_belongs_to_another_campaign_gets_a_422(caller: Caller) -> None:
    assert (await caller.push("cmp-0001", "key")).status_code == 200
    assert (await caller.push("cmp-0002", "key")).status_code == 422
    assert (await caller.ledger())["effects"] == {"cmp-0001": {"key": 1}}


async def test_a_key_repeated_while_the_first_push_is_in_flight_gets_the_same_answer_and_no_second_effect() -> None:
    async with platform(push_latency_s=0.1) as caller:
        answers: list[dict[str, Any]] = []

        async def push() -> None:
            answers.append((await caller.push()).json())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(push)
            tasks.start_soon(push)
        assert answers[0] == answers[1]
        page = await caller.ledger()
        assert (page["effects"], page["peak_concurrency"]) == ({"cmp-0001": {"key": 1}}, 2)


async def test_a_push_with_a_spoilt_answer_took_effect_and_its_key_gets_the_answer_later() -> None:
    async with platform(push_malformed=1) as caller:
        await caller.push()
        await caller.change(everyone={"push_malformed": 0})
        assert (await caller.push()).json()["success"] is True
        assert (await caller.ledger())["effects"] == {"cmp-0001": {"key": 1}}


async def test_a_push_that_answers_503_took_no_effect() -> None:
    async with platform(push_503=1) as caller:
        assert (await caller.push()).status_code == 503
        assert (await caller.ledger())["effects_total"] == 0


async def test_a_change_whose_body_is_slow_to_come_undoes_none_that_came_meanwhile(caller: Caller) -> None:
    async def slow_body() -> AsyncIterator[bytes]:
        yield b'{"accounts": '
        assert (await caller.change(accounts={"quick@example.com": {"password": "pw", "clients": ["b"]}})).is_success
        yield b'{"slow@example.com": {"password": "pw", "clients": ["a"]}}}'

    assert (await caller.http.post("/_settings", content=slow_body())).is_success
    for email in ("acme@example.com", "quick@example.com", "slow@example.com"):
        await caller.sign_in(email)


async def test_settings_change_while_it_runs_for_everyone_and_for_one_client_id(caller: Caller) -> None:
    await caller.change(everyone={"campaigns": 5}, clients={"other": {"fault": "503"}})
    assert (await caller.list()).json()["pagination"]["total"] == 5
    await caller.change(clients={"acme": {"fault": "503"}})
    assert (await caller.list()).status_code == 503
    await caller.change(clients={"acme": None})
    assert (await caller.list()).status_code == 200


async def test_tokens_are_revoked_and_passwords_changed_while_it_runs(caller: Caller) -> None:
    await caller.change(accounts={"acme@example.com": {"generation": 1, "password": "new"}})
    assert (await caller.list()).status_code == 401
    assert (await caller.http.post("/auth/token", auth=("acme@example.com", "pw"))).status_code == 401
    assert (await caller.http.post("/auth/token", auth=("acme@example.com", "new"))).status_code == 200


async def test_a_bad_patch_is_refused_and_changes_nothing(caller: Caller) -> None:
    answer = await caller.change(everyone={"campaigns": 5, "campains": 6})
    assert answer.status_code == 422
    assert "campains" in answer.json()["message"]
    assert (await caller.list()).json()["pagination"]["total"] == 100


async def test_resetting_the_ledger_forgets_what_happened_and_not_what_is_spent() -> None:
    async with platform(quota_requests=1) as caller:
        await caller.list()
        await caller.http.post("/_ledger/reset")
        assert (await caller.ledger())["accepted"] == 0
        assert (await caller.list()).status_code == 429


async def test_what_is_not_there_gets_a_404_in_the_form_of_the_api(caller: Caller) -> None:
    answer = await caller.http.get("/nowhere")
    assert answer.status_code == 404
    assert set(answer.json()) == {"error", "message"}
    assert (await caller.http.post("/api/campaigns")).status_code == 405
