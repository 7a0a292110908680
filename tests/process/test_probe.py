"""`adsyncd probe` as a process, against the mock platform."""

import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from mock_api.description import ORBIT, orbit
from support.platform import HEALTHY, Platform, running_platform
from support.program import Program

COLUMNS = ["id", "name", "status", "budget", "impressions", "clicks", "conversions", "created_at"]


def stored(program: Program, table: str) -> int:
    with closing(sqlite3.connect(program.folder / "adsyncd.db")) as database:
        [[count]] = database.execute(f"SELECT count(*) FROM {table}")
        return int(count)


async def test_it_lists_one_page_for_one_permit_and_stores_no_campaign(program: Program, platform: Platform) -> None:
    program.tenant("acme")
    shown = await program.ask("probe", "acme")
    assert (shown["failed"], shown["error"], shown["answer"]["status"]) == (None, None, 200)
    assert [(step["name"], step["ok"]) for step in shown["steps"]] == [
        ("credentials", True),
        ("sign-in", True),
        ("listing", True),
        ("reading", True),
    ]
    assert 0 < sum(step["seconds"] for step in shown["steps"]) < 60
    assert shown["request"]["url"] == f"{platform.base_url}/api/campaigns?page=1&limit=10"
    assert (shown["records"], shown["records_path"], shown["next"], shown["total"]) == (10, "data", "page=2", 12)
    assert [one["column"] for one in shown["columns"]] == COLUMNS
    assert all(one["records"] == 10 and one["read_as"] for one in shown["columns"])
    assert stored(program, "campaigns") == stored(program, "runs") == 0
    assert stored(program, "permits") == 1
    ledger = await platform.ledger("acme")
    assert (ledger["accepted"], ledger["effects_total"]) == (1, 0)


async def test_a_used_up_quota_is_said_with_its_end_at_once_also_of_a_disabled_tenant(program: Program) -> None:
    program.tenant("acme", quota={"requests": 1, "per": "1h"}, enabled=False)
    assert (await program.ask("probe", "acme"))["failed"] is None
    with anyio.fail_after(30):
        shown = await program.ask("probe", "acme", "--wait", "5s", code=1)
    assert re.search(r"the quota of acme is used up until [0-9-]{10} [0-9:]{8}[+-]\d\d:\d\d, for", shown["detail"])
    assert "adsyncd probe acme --wait 3" in shown["detail"]


async def test_no_secret_is_shown(program: Program) -> None:
    program.tenant("acme")
    done = await program.run("probe", "acme")
    assert done.returncode == 0
    assert b"  authorization: Bearer ***\n" in done.stdout
    for secret in program.environ.values():
        assert secret.encode() not in done.stdout + done.stderr


async def test_it_fails_at_the_credentials_if_they_are_missing(program: Program) -> None:
    program.tenant("acme")
    del program.environ["ACME_PASSWORD"]
    shown = await program.ask("probe", "acme", code=6)
    assert (shown["failed"], shown["request"], shown["answer"]) == ("credentials", None, None)
    assert "ACME_PASSWORD" in shown["error"]


async def test_it_fails_at_the_sign_in_if_the_platform_refuses_it(program: Program) -> None:
    program.tenant("acme")
    program.environ["ACME_PASSWORD"] = "not the password"
    shown = await program.ask("probe", "acme", code=7)
    assert (shown["failed"], shown["request"]) == ("sign-in", None)


@pytest.mark.parametrize(("fault", "status"), [("503", 503), ("unauthorized", 401)])
async def test_it_fails_at_the_listing_after_one_request(
    program: Program, platform: Platform, fault: str, status: int
) -> None:
    await platform.treat(fault=fault)
    program.tenant("acme")
    shown = await program.ask("probe", "acme", code=8)
    assert (shown["failed"], shown["answer"]["status"], shown["columns"]) == ("listing", status, None)
    assert shown["request"]["method"] == "GET"
    assert stored(program, "permits") == 1


async def test_it_runs_beside_the_daemon(program: Program) -> None:
    program.tenant("acme")
    async with program.daemon() as daemon:
        await daemon.logs("run ended")
        assert (await program.ask("probe", "acme"))["failed"] is None


async def test_what_cannot_be_read_is_said_on_standard_error(program: Program, platform: Platform) -> None:
    await platform.treat(fault="malformed")
    program.tenant("acme")
    done = await program.run("probe", "acme")
    assert done.returncode == 9
    assert done.stderr.startswith(b"error: reading: ")
    assert b"answer: 200, " in done.stdout
    assert json.loads((await program.run("probe", "acme", "--json")).stdout)["failed"] == "reading"


SECRETS = {
    "app_key": "canary-app-key-1",
    "client_id": "canary-client-id-2",
    "client_secret": "canary-client-secret-3",
    "refresh_token": "canary-refresh-token-4",
}


@dataclass(frozen=True, slots=True)
class Orbit:
    """Another platform, and an installation with one tenant of it."""

    platform: Platform
    program: Program

    async def probe(self, code: int = 0) -> Any:  # noqa: ANN401 - JSON
        return await self.program.ask("probe", "acme", code=code)


@pytest.fixture
async def orbiting(tmp_path: Path) -> AsyncIterator[Orbit]:
    account = {"password": "unused", "clients": ["4711"], "secrets": SECRETS}
    everyone = {**HEALTHY, "campaigns": 12, "push_hang": 0}
    settings = {"accounts": {"ops@example.com": account}, "apis": {"orbit": orbit()}, "everyone": everyone}
    async with running_platform(settings) as platform:
        program = Program(tmp_path, {f"ACME_{name.upper()}": value for name, value in SECRETS.items()})
        table = {"profile": str(ORBIT), "base_url": f"{platform.base_url}/orbit"}
        program.settings(platforms={"orbit": table})
        program.tenant("acme", client_id="4711", platform="orbit", credentials={"env": "ACME"})
        yield Orbit(platform, program)


async def test_another_platform_is_shown_with_its_own_token_header(orbiting: Orbit) -> None:
    shown = await orbiting.probe()
    headers = shown["request"]["headers"]
    assert (headers["x-orbit-token"], headers["x-orbit-app"]) == ("***", "***")
    assert (shown["records"], shown["records_path"]) == (10, "data.list")
    assert shown["next"].startswith("cursor=")
    assert {one["column"]: one["path"] for one in shown["columns"]}["budget"] == "campaign.budget_micros"
    done = await orbiting.program.run("probe", "acme")
    for secret in SECRETS.values():
        assert secret.encode() not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("fault", "code", "step", "why"),
    [
        ("error-code", 8, "listing", "the platform answered 200"),
        ("no-records", 9, "reading", "data.list leads to nothing; data has page"),
        ("token-in-cursor", 9, "reading", "repeats a secret"),
    ],
)
async def test_an_answer_that_is_no_page_is_told_with_the_reason(
    orbiting: Orbit, fault: str, code: int, step: str, why: str
) -> None:
    await orbiting.platform.treat(fault=fault)
    shown = await orbiting.probe(code)
    assert (shown["failed"], shown["answer"]["status"]) == (step, 200)
    assert why in shown["error"]
