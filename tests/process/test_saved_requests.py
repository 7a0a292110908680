"""What settings save, from one process to the next: what is known is in the store, and the platform's ledger counts."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.platform import HEALTHY, Platform, accounts, running_platform
from support.program import Program

CAMPAIGNS, PAGES = 15, 2
SYNC: Mapping[str, Mapping[str, Any]] = {
    "everything": {},
    "changed": {"push": "changed"},
    "cached": {"list_cache": "1h"},
    "thrifty": {"push": "changed", "list_cache": "1h"},
}


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[Platform]:
    settings = {"everyone": {**HEALTHY, "campaigns": CAMPAIGNS}, "accounts": accounts(*SYNC)}
    async with running_platform(settings) as platform:
        yield platform


@pytest.mark.parametrize(
    ("name", "requests", "skipped"),
    [
        ("everything", PAGES + CAMPAIGNS, 0),
        ("changed", PAGES + 1, CAMPAIGNS - 1),
        ("cached", CAMPAIGNS, 0),
        ("thrifty", 0, CAMPAIGNS),  # what changed is found when the listing has aged
    ],
)
async def test_a_second_run_asks_for_no_more_than_its_settings_want(
    platform: Platform, tmp_path: Path, name: str, requests: int, skipped: int
) -> None:
    program = Program(tmp_path, {"T_EMAIL": f"{name}@example.com", "T_PASSWORD": f"pw-{name}"})
    program.settings(platform.base_url)
    quota = {"requests": 1000, "per": "1s"}
    program.tenant(name, credentials={"env": "T"}, quota=quota, sync=SYNC[name])
    await program.ask("sync", name)
    before = (await platform.ledger(name))["accepted"]
    await platform.change(clients={name: {"revisions": {"cmp-0003": 1}}})
    run = await program.ask("sync", name)
    assert (await platform.ledger(name))["accepted"] - before == run["requests"] == requests
    assert (run["listed"], run["skipped"], run["pushed"]) == (CAMPAIGNS, skipped, CAMPAIGNS - skipped)
