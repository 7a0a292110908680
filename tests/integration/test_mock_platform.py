"""The mock platform as the demo starts it: it ends with its block, and says what happened."""

from pathlib import Path

import anyio
import httpx
import pytest

from adsyncd.demo.platform import mock_platform
from adsyncd.demo.scene import Scene, email
from adsyncd.errors import AdsyncdError

SCENE = Scene(surprises={"list_503": 0, "list_hang": 0, "push_503": 0, "push_latency_s": 0, "quota_requests": 3})


async def test_its_ledger_tells_what_was_accepted_refused_and_pushed() -> None:
    async with (
        mock_platform(SCENE.platform({"acme": {"password": "pw"}})) as platform,
        httpx.AsyncClient(base_url=platform.base_url, trust_env=False) as http,
    ):
        answer = await http.post("/auth/token", auth=(email("acme"), "pw"))
        http.headers.update({"authorization": f"Bearer {answer.json()['access_token']}", "x-client-id": "acme"})
        first, second = (await http.get("/api/campaigns")).json()["data"][:2]
        for campaign in (first, second, second):
            path = f"/api/campaigns/{campaign['id']}/sync"
            await http.post(path, json={"campaign_id": campaign["id"]}, headers={"idempotency-key": campaign["id"]})
        ledger = await platform.ledger("acme")
    assert (ledger.accepted, ledger.refused) == (3, 1)
    assert ledger.pushes == {first["id"]: 1, second["id"]: 1}


async def test_with_the_block_it_ends_and_its_passwords_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with mock_platform(SCENE.platform({"acme": {"password": "pw"}})) as platform:
        assert [path async for path in anyio.Path(tmp_path).iterdir()]
    assert not [path async for path in anyio.Path(tmp_path).iterdir()]
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get(f"{platform.base_url}/health")


async def test_a_start_that_fails_is_told_in_its_own_words() -> None:
    with pytest.raises(AdsyncdError, match=r"did not start: [\s\S]*no_such_setting"):
        async with mock_platform({"no_such_setting": 1}):
            pytest.fail("it started")
