"""`adsyncd sync` against another implementation of the platform's API than the one that it was developed with."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from support import other_platform as other
from support.other_platform import CAMPAIGNS, HALF_USED, QUOTA
from support.program import Program

FRESH = "fresh"
IDS = {str(campaign["id"]) for campaign in CAMPAIGNS}


@dataclass(frozen=True, slots=True)
class Sync:
    """What is known of one sync: the run as it was printed, what the platform saw, and the database."""

    run: Mapping[str, Any]
    seen: Mapping[str, Any]
    database: Path


@pytest.fixture(scope="module")
async def syncs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sync]:
    """One sync of each of two client ids, at the same time."""
    known: dict[str, Sync] = {}

    async def sync(platform: httpx.AsyncClient, client_id: str) -> None:
        folder = tmp_path_factory.mktemp(client_id)
        program = Program(folder, {"ACME_EMAIL": other.EMAIL, "ACME_PASSWORD": other.PASSWORD})
        program.settings(str(platform.base_url))
        quota = {"requests": QUOTA, "per": f"{other.WINDOW_S * 1000:.0f}ms"}
        program.tenant("acme", client_id=client_id, quota=quota)
        run = await program.ask("sync", "acme")
        known[client_id] = Sync(run, await other.report(platform, client_id), folder / "adsyncd.db")

    async with other.running_other_platform() as platform, anyio.create_task_group() as both:
        both.start_soon(sync, platform, FRESH)
        both.start_soon(sync, platform, HALF_USED)
    return known


@pytest.mark.parametrize("client_id", [FRESH, HALF_USED])
async def test_all_campaigns_come_over_each_pushed_once(client_id: str, syncs: Mapping[str, Sync]) -> None:
    run, seen = syncs[client_id].run, syncs[client_id].seen
    assert (run["outcome"], run["listed"], run["pushed"]) == ("succeeded", 100, 100)
    assert seen["pushes"] == dict.fromkeys(IDS, 1)
    assert seen["unavailable"] > 0
    assert run["requests"] == seen["accepted"] + seen["refused"]
    assert run["retries"] == seen["unavailable"] + seen["refused"]


async def test_a_client_id_of_which_nobody_else_makes_use_gets_no_429(syncs: Mapping[str, Sync]) -> None:
    assert (syncs[FRESH].run["refused"], syncs[FRESH].seen["refused"]) == (0, 0)


async def test_what_others_used_of_the_window_costs_no_more_429s_than_that(syncs: Mapping[str, Sync]) -> None:
    assert 0 < syncs[HALF_USED].run["refused"] == syncs[HALF_USED].seen["refused"] <= QUOTA // 2


async def test_its_campaigns_are_stored_as_it_has_them(syncs: Mapping[str, Sync]) -> None:
    with closing(sqlite3.connect(syncs[FRESH].database)) as database:
        rows = database.execute("SELECT campaign_id, budget, created_at, payload FROM campaigns WHERE tenant = 'acme'")
        stored = {campaign_id: rest for campaign_id, *rest in rows}
    assert stored.keys() == IDS
    for campaign in CAMPAIGNS:
        budget, created_at, payload = stored[str(campaign["id"])]
        assert (budget, json.loads(payload)) == (campaign["budget"], campaign)
        assert datetime.fromisoformat(created_at) == datetime.fromisoformat(str(campaign["created_at"]))
