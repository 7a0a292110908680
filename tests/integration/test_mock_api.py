import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
import trustme

from support.platform import HEALTHY, Platform, accounts, running_platform


@asynccontextmanager
async def signed_in(platform: Platform, client_id: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=platform.base_url, trust_env=False, timeout=5) as http:
        token = await http.post("/auth/token", auth=(f"{client_id}@example.com", f"pw-{client_id}"))
        http.headers["Authorization"] = f"Bearer {token.raise_for_status().json()['access_token']}"
        http.headers["X-Client-ID"] = client_id
        yield http


@asynccontextmanager
async def one_client(**settings: object) -> AsyncIterator[tuple[Platform, httpx.AsyncClient]]:
    async with (
        running_platform({"accounts": accounts("acme"), "everyone": {**HEALTHY, **settings}}) as platform,
        signed_in(platform, "acme") as http,
    ):
        yield platform, http


async def push(http: httpx.AsyncClient) -> httpx.Response:
    return await http.post(
        "/api/campaigns/cmp-0001/sync", json={"campaign_id": "cmp-0001"}, headers={"Idempotency-Key": "key"}
    )


async def test_a_whole_sync_goes_through_a_real_process_and_its_ledger_shows_it() -> None:
    async with one_client(campaigns=12) as (platform, http):
        found = [
            campaign["id"]
            for page in (1, 2)
            for campaign in (await http.get("/api/campaigns", params={"page": page})).json()["data"]
        ]
        for id_ in found:
            answer = await http.post(f"/api/campaigns/{id_}/sync", json={"campaign_id": id_})
            assert answer.json()["success"]
        page = await platform.ledger("acme")
        assert (page["accepted"], page["refused"], page["tokens_issued"]) == (14, 0, 1)
        assert page["effects"] == {id_: {"": 1} for id_ in found}
        await platform.reset_ledger()
        assert (await platform.ledger("acme"))["accepted"] == 0


async def test_one_process_serves_a_healthy_client_id_beside_a_sick_one() -> None:
    settings = {"accounts": accounts("well", "sick"), "everyone": HEALTHY, "clients": {"sick": {"fault": "html"}}}
    async with (
        running_platform(settings) as platform,
        signed_in(platform, "well") as well,
        signed_in(platform, "sick") as sick,
    ):
        assert (await well.get("/api/campaigns")).json()["pagination"]["total"] == 100
        assert (await sick.get("/api/campaigns")).headers["Content-Type"].startswith("text/html")


async def test_a_hanging_push_took_effect_and_is_not_answered_until_the_client_leaves() -> None:
    async with one_client(push_hang=1) as (platform, http):
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/api/campaigns/cmp-0001/sync", json={"campaign_id": "cmp-0001"}, timeout=0.3)
        page = await platform.ledger("acme")
        assert (page["accepted"], page["effects_total"]) == (1, 1)


async def test_a_dropped_push_took_effect_and_its_connection_is_closed_without_an_answer() -> None:
    async with one_client(push_drop=1) as (platform, http):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await push(http)
        await platform.change(everyone={"push_drop": 0})
        assert (await push(http)).json()["success"]
        assert (await platform.ledger("acme"))["effects"] == {"cmp-0001": {"key": 1}}


async def test_the_huge_body_is_a_hundred_megabytes_and_a_client_may_leave_it() -> None:
    async with one_client(fault="huge") as (platform, http):
        async with http.stream("GET", "/api/campaigns") as answer:
            assert sum([len(chunk) async for chunk in answer.aiter_raw()]) > 100_000_000
        async with http.stream("GET", "/api/campaigns") as answer:
            assert answer.status_code == 200
        await platform.change(everyone={"fault": "none"})
        assert (await http.get("/api/campaigns")).status_code == 200


async def test_a_redirect_leads_to_another_host() -> None:
    async with one_client(fault="redirect") as (_, http):
        answer = await http.get("/api/campaigns")
        assert (answer.status_code, answer.headers["Location"]) == (307, "http://redirected.invalid")


async def test_it_serves_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    options = "--certfile", str(tmp_path / "cert.pem"), "--keyfile", str(tmp_path / "key.pem")
    async with running_platform(None, *options) as platform, httpx.AsyncClient(verify=context) as http:
        assert platform.base_url.startswith("https://127.0.0.1:")
        assert (await http.get(f"{platform.base_url}/health")).status_code == 200


async def test_wrong_settings_end_it_with_the_reason() -> None:
    command = [sys.executable, "-m", "mock_api", "--list-hang", "2"]
    ended = await anyio.run_process(command, check=False, stderr=subprocess.PIPE)
    assert ended.returncode == 2
    assert b"everyone.list_hang" in ended.stderr
    assert b"Traceback" not in ended.stderr
