from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
import pytest
from pydantic import JsonValue

from mock_api.app import create_app
from mock_api.campaigns import campaign
from mock_api.description import orbit

ORBIT: dict[str, Any] = orbit()
NOW = 1_800_000_000.0
QUIET: dict[str, JsonValue] = {"list_503": 0, "list_hang": 0, "quota_requests": 1000}
FORM = {"grant_type": "refresh_token", "client_id": "id", "client_secret": "s/1&2", "refresh_token": "1//0x"}
SECRETS = {"client_id": "id", "client_secret": "s/1&2", "refresh_token": "1//0x", "app_key": "app"}


class Caller:
    """A client of the second API that is signed in as `acme`."""

    def __init__(self, http: httpx.AsyncClient, at: list[float]) -> None:
        self.http = http
        self.at = at

    async def sign_in(self, **form: str) -> httpx.Response:
        answer = await self.http.post("/orbit/oauth/token", data=FORM | form)
        if answer.is_success:
            self.http.headers.update({"X-Orbit-Token": answer.json()["access_token"], "X-Orbit-App": "app"})
        return answer

    async def list(self, cursor: str = "", account: str = "acme", **params: str | int) -> Any:  # noqa: ANN401 - JSON
        asked: dict[str, str | int] = {
            "view": "full",
            "page_size": 3,
            **({"cursor": cursor} if cursor else {}),
            **params,
        }
        return (await self.http.get(f"/orbit/v2/accounts/{account}/campaigns", params=asked)).json()

    async def change(self, **patch: object) -> None:
        (await self.http.post("/_settings", json=patch)).raise_for_status()

    async def book(self) -> dict[str, Any]:
        page: dict[str, Any] = (await self.http.get("/_ledger?client_id=acme")).json()["clients"]["acme"]
        return page


@asynccontextmanager
async def platform(about: dict[str, Any] = ORBIT, **everyone: JsonValue) -> AsyncIterator[Caller]:
    at = [NOW]
    accounts: dict[str, JsonValue] = {
        "acme@example.com": {"password": "pw", "clients": ["acme"], "secrets": {**SECRETS}},
        "other@example.com": {"password": "pw", "clients": ["other"], "secrets": {"refresh_token": "2"}},
    }
    document: JsonValue = {"accounts": accounts, "apis": {"orbit": about}, "everyone": QUIET | everyone}
    app = create_app(document, lambda: at[0])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://platform") as http:
        caller = Caller(http, at)
        if about["sign_in"] == ORBIT["sign_in"]:
            await caller.sign_in()
        yield caller


def described(**tables: Any) -> dict[str, Any]:  # noqa: ANN401 - of a profile
    """Return the second API with other tables; None leaves one out."""
    return {name: table for name, table in (ORBIT | tables).items() if table is not None}


def ids(page: Any) -> list[str]:  # noqa: ANN401 - JSON
    return [record["campaign"]["id"] for record in page["data"]["list"]]


async def test_the_cursor_of_a_page_leads_to_the_next_one_and_the_last_page_has_none() -> None:
    async with platform(campaigns=7) as caller:
        pages: list[Any] = []
        cursor = ""
        while cursor or not pages:
            pages.append(await caller.list(cursor))
            cursor = pages[-1]["data"].get("page", {}).get("next", "")
        assert [ids(page) for page in pages] == [
            ["cmp-0001", "cmp-0002", "cmp-0003"],
            ["cmp-0004", "cmp-0005", "cmp-0006"],
            ["cmp-0007"],
        ]
        assert [page["code"] for page in pages] == [0, 0, 0]
        book = await caller.book()
        assert (book["accepted"], book["tokens_issued"], book["effects_total"]) == (3, 1, 0)


async def test_records_have_a_campaigns_values_where_and_as_the_description_says() -> None:
    async with platform(campaigns=1) as caller:
        [record] = (await caller.list())["data"]["list"]
    own: dict[str, Any] = campaign(0, "acme", 1, 0)
    assert record["campaign"] == {
        "id": "cmp-0001",
        "name": own["name"],
        "state": own["status"],
        "budget_micros": round(own["budget"] * 1e6),
        "created_ms": datetime.fromisoformat(own["created_at"]).timestamp() * 1000,
    }
    assert record["metrics"] == {name: own[name] for name in ("impressions", "clicks", "conversions")}
    assert record["account"]["currency"] in {"EUR", "JPY", "USD"}


async def test_odd_values_are_listed_as_they_are() -> None:
    odd: JsonValue = [["cmp-0001", {"budget": "a lot", "created_at": 17, "id": None}]]
    async with platform(campaigns=1, odd=odd) as caller:
        record = (await caller.list())["data"]["list"][0]["campaign"]
    assert (record["budget_micros"], record["created_ms"], record["id"]) == ("a lot", 17, None)


@pytest.mark.parametrize("form", [{"refresh_token": "2"}, {"grant_type": "password"}, {"client_secret": ""}])
async def test_a_sign_in_needs_all_secrets_of_one_account(form: dict[str, str]) -> None:
    async with platform() as caller:
        assert (await caller.sign_in(**form)).status_code == 401


@pytest.mark.parametrize("headers", [{"X-Orbit-Token": "wrong"}, {"X-Orbit-App": "wrong"}, {"X-Orbit-Token": ""}])
async def test_a_wrong_token_and_a_wrong_key_are_refused_by_the_code_of_the_api(headers: dict[str, str]) -> None:
    async with platform() as caller:
        caller.http.headers.update(headers)
        assert (await caller.list())["code"] == 4010
        assert (await caller.book())["accepted"] == 0


async def test_a_token_expires_is_revoked_and_opens_neither_another_account_nor_another_api() -> None:
    async with platform() as caller:
        assert (await caller.list(account="other"))["code"] == 4000
        own_api = {"Authorization": f"Bearer {caller.http.headers['X-Orbit-Token']}", "X-Client-ID": "acme"}
        assert (await caller.http.get("/api/campaigns", headers=own_api)).status_code == 401
        await caller.change(accounts={"acme@example.com": {"generation": 1}})
        assert (await caller.list())["code"] == 4010
        await caller.sign_in()
        assert (await caller.list())["code"] == 0
        caller.at[0] += 3600
        assert (await caller.list())["code"] == 4010


async def test_beyond_the_quota_it_says_so_under_the_status_200() -> None:
    async with platform(quota_requests=1) as caller:
        assert (await caller.list())["code"] == 0
        refused = await caller.list()
        assert (refused["code"], refused["retry_after"]) == (4290, 60)
        book = await caller.book()
        assert (book["accepted"], book["refused"]) == (1, 1)


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [({"fault": "unauthorized"}, 4010), ({"fault": "error-code"}, 5000), ({"list_error_code": 1}, 5000)],
)
async def test_faults_are_told_by_codes_and_counted(behaviour: dict[str, Any], code: int) -> None:
    async with platform(**behaviour) as caller:
        assert (await caller.list())["code"] == code
        assert (await caller.book())["accepted"] == 1


async def test_an_api_without_a_code_for_later_has_an_unexpected_one() -> None:
    async with platform(described(answers=[]), fault="error-code") as caller:
        assert (await caller.list())["code"] not in {0, None}


async def test_an_api_without_codes_has_the_usual_statuses() -> None:
    async with platform(described(answers=[], expect=None), quota_requests=3) as caller:
        url, params = "/orbit/v2/accounts/acme/campaigns", {"view": "full"}
        refused = [await caller.http.get(url, params=params | more) for more in ({}, {"page_size": "x"}, {}, {})]
        assert [answer.status_code for answer in refused] == [200, 400, 200, 429]
        assert "code" not in refused[0].json()
        del caller.http.headers["X-Orbit-Token"]
        assert (await caller.http.get(url, params=params)).status_code == 401


async def test_a_cursor_of_another_account_and_an_expired_one_are_refused() -> None:
    async with platform(cursor_lifetime_s=30) as caller:
        cursor = (await caller.list())["data"]["page"]["next"]
        assert (await caller.list(cursor))["code"] == 0
        caller.at[0] += 30
        assert (await caller.list(cursor))["code"] == 4000
        assert (await caller.list("nonsense"))["code"] == 4000


async def test_faults_of_cursors() -> None:
    async with platform(campaigns=7) as caller:
        cursor = (await caller.list())["data"]["page"]["next"]
        await caller.change(everyone={"fault": "expired-cursor"})
        assert (await caller.list())["code"] == 0
        assert (await caller.list(cursor))["code"] == 4000
        await caller.change(everyone={"fault": "repeating"})
        pages = [await caller.list(), await caller.list(cursor)]
        assert ids(pages[0]) == ids(pages[1])
        assert [page["data"]["page"]["next"] for page in pages] == [cursor, cursor]
        await caller.change(everyone={"fault": "endless"})
        pages.append(await caller.list((await caller.list(cursor))["data"]["page"]["next"]))
        assert ids(pages[-1]) == ["cmp-0007", "cmp-0008", "cmp-0009"]
        assert pages[-1]["data"]["page"]["next"] not in {cursor, ""}
        await caller.change(everyone={"fault": "token-in-cursor"})
        assert caller.http.headers["X-Orbit-Token"] in (await caller.list())["data"]["page"]["next"]
        await caller.change(everyone={"fault": "no-records"})
        assert (await caller.list())["data"].keys() == {"page"}


def paged(**paging: Any) -> dict[str, Any]:  # noqa: ANN401 - of a profile
    return described(list=ORBIT["list"] | {"paging": paging})


async def test_links_lead_on_from_page_to_page_and_faults_lead_them_astray() -> None:
    async with platform(paged(kind="link", size="page_size", next="next"), campaigns=5) as caller:
        link = (await caller.list())["next"]
        assert link.startswith("http://platform/orbit/v2/accounts/acme/campaigns?")
        page = (await caller.http.get(link)).json()
        assert (ids(page), "next" in page) == (["cmp-0004", "cmp-0005"], False)
        links = []
        for fault in ("link-elsewhere", "link-userinfo", "link-account"):
            await caller.change(everyone={"fault": fault, "redirect_to": "http://elsewhere"})
            links.append(httpx.URL((await caller.list())["next"]))
        assert [(one.host, one.username, one.path.split("/")[4]) for one in links] == [
            ("elsewhere", "", "acme"),
            ("platform", "someone", "acme"),
            ("platform", "", "acme-2"),
        ]


async def test_numbers_and_offsets_end_with_what_the_description_says() -> None:
    number = paged(kind="number", param="page", size="page_size", has_more="data.more", total="data.total")
    async with platform(number, campaigns=5) as caller:
        pages = [await caller.list(page=page) for page in (1, 2, 3)]
        assert [(ids(page)[:1], page["data"]["more"], page["data"]["total"]) for page in pages] == [
            (["cmp-0001"], True, 5),
            (["cmp-0004"], False, 5),
            ([], False, 5),
        ]
    offset = paged(kind="offset", param="skip", size="page_size")
    async with platform(offset, campaigns=5) as caller:
        assert [len(ids(await caller.list(skip=skip))) for skip in (0, 3, 5)] == [3, 2, 0]


async def test_records_may_be_left_out_of_an_empty_page() -> None:
    async with platform(described(list=ORBIT["list"] | {"absent": "empty"}), campaigns=0) as caller:
        assert await caller.list() == {"code": 0}


async def test_a_request_may_have_all_in_its_body_and_a_token_for_ever() -> None:
    about = described(
        sign_in={"static": "refresh_token"},
        token={},
        list={
            "method": "POST",
            "path": "/search",
            "json": {"advertiser": "{account}", "kind": "all"},
            "records": "",
            "paging": {"kind": "offset", "in": "body", "param": "skip", "size": "take"},
        },
        expect=None,
    )
    async with platform(about, campaigns=3) as caller:
        token = f"Bearer {SECRETS['refresh_token']}"
        caller.http.headers.update({"Authorization": token, "X-Orbit-App": "app"})
        body = {"advertiser": "acme", "kind": "all", "skip": 1, "take": 5}
        page = (await caller.http.post("/orbit/search", json=body)).json()
        assert [record["campaign"]["id"] for record in page] == ["cmp-0002", "cmp-0003"]
        wrong = await caller.http.post("/orbit/search", json=body | {"kind": "some"})
        assert wrong.status_code == 404


@pytest.mark.parametrize(
    ("sign_in", "sent"),
    [
        ({"basic": ["email", "password"]}, {"auth": ("acme@example.com", "pw")}),
        ({"json": {"key": "{secret.app_key}", "minutes": 60}}, {"json": {"key": "app", "minutes": 60}}),
        ({"headers": {"X-Key": "{secret.app_key}"}}, {"headers": {"x-key": "app"}}),
    ],
)
async def test_ways_to_sign_in(sign_in: dict[str, Any], sent: dict[str, Any]) -> None:
    tokens = {"url": "https://accounts.example.com/token", "token": "data.token", "expires_at": "data.until"}
    async with platform(described(sign_in=tokens | sign_in)) as caller:
        answer = await caller.http.post("/orbit/token", **sent)
        assert answer.json()["data"]["until"] == "2027-01-15T09:00:00+00:00"
        caller.http.headers.update({"X-Orbit-Token": answer.json()["data"]["token"], "X-Orbit-App": "app"})
        assert (await caller.list())["code"] == 0
        assert (await caller.http.post("/orbit/token")).status_code in {400, 401}


async def test_an_api_comes_and_goes_with_the_settings() -> None:
    async with platform() as caller:
        await caller.change(apis={"orbit": None, "comet": ORBIT})
        assert (await caller.http.get("/orbit/v2/accounts/acme/campaigns")).status_code == 404
        assert (await caller.http.post("/comet/oauth/token", data=FORM)).status_code == 200


async def test_a_listing_counts_as_often_as_the_description_says() -> None:
    async with platform({**ORBIT, "list": {**ORBIT["list"], "cost": 3}}, list_cost=1) as caller:
        await caller.list()
        book = await caller.book()
        assert (book["accepted"], book["largest_window"]) == (1, 3)
