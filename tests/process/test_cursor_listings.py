"""A listing by cursors is killed at ten instants: it goes on where it was, deletes nothing, and keeps to the quota."""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from signal import SIGKILL
from typing import Any

import anyio
import pytest
from anyio.abc import Process

from support.orbit import orbit_environ, orbit_settings, orbit_table, secrets_of
from support.platform import HEALTHY, Platform, running_platform
from support.program import Program

CAMPAIGNS = 60
PAGE_SIZE = 2
PAGES = CAMPAIGNS // PAGE_SIZE
KILLS = 10
QUOTA_REQUESTS, QUOTA_WINDOW_S = 12, 3  # a window is longer than a restart: what a process forgets is refused
LATENCY_S = 0.1
HIDDEN = ["cmp-0007", "cmp-0031"]  # the platform leaves them out after the first listing
SEED = int(os.environ.get("ADSYNCD_SEED", "0"))


@dataclass
class Installation:
    """A tenant of the second platform, its database, and what the platform saw."""

    program: Program
    platform: Platform

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.program.folder}/adsyncd.db?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def deleted(self) -> list[str]:
        rows = self.rows("SELECT campaign_id FROM campaigns WHERE deleted_at IS NOT NULL ORDER BY campaign_id")
        return [campaign for (campaign,) in rows]

    async def accepted(self) -> int:
        return int((await self.platform.ledger("pull"))["accepted"])

    def install(self, page_size: int) -> None:
        quota = {"requests": QUOTA_REQUESTS, "per": f"{QUOTA_WINDOW_S}s"}
        self.program.tenant("pull", platform="orbit", quota=quota, sync={"page_size": page_size})

    async def sync(self) -> None:
        """List all at once, on two pages."""
        self.install(50)
        assert (await self.program.run("sync", "pull")).returncode == 0
        self.install(PAGE_SIZE)

    def said(self) -> list[bytes]:
        """Return all that it has written: its log and its database."""
        return [
            path.read_bytes() for path in self.program.folder.iterdir() if path.suffix in {".log", ".db", ".db-wal"}
        ]

    async def kill(self, process: Process, requests: int, later_s: float) -> None:
        """Kill a process so much later than it has sent so many requests: one page less is kept at least."""
        until = await self.accepted() + requests
        with anyio.fail_after(30):
            while await self.accepted() < until:
                assert process.returncode is None
                await anyio.sleep(0.01)
        await anyio.sleep(later_s)  # what the process does meanwhile decides the instant
        process.send_signal(SIGKILL)
        await process.wait()


@asynccontextmanager
async def installed(folder: Path) -> AsyncIterator[Installation]:
    everyone = {
        **HEALTHY,
        "campaigns": CAMPAIGNS,
        "list_latency_s": LATENCY_S,
        "quota_requests": QUOTA_REQUESTS,
        "quota_window_s": QUOTA_WINDOW_S,
    }
    async with running_platform({**orbit_settings("pull"), "everyone": everyone}) as platform:
        program = Program(folder, orbit_environ("PULL", "pull"))
        program.settings(platforms={"orbit": orbit_table(program, platform.base_url)})
        yield Installation(program, platform)


@pytest.mark.parametrize("seed", [SEED])
async def test_a_listing_that_is_killed_ten_times_is_complete_deletes_nothing_and_keeps_to_the_quota(
    seed: int, tmp_path: Path
) -> None:
    random = Random(f"kill/{seed}")
    async with installed(tmp_path) as it:
        await it.sync()
        await it.platform.change(everyone={"hidden": HIDDEN})
        await it.sync()
        await it.platform.reset_ledger()
        assert it.deleted() == []

        async with it.program.opened(*it.program._command("sync", "pull")) as process:
            await it.kill(process, 1, random.uniform(0, 2 * LATENCY_S))
        cursors = set()
        for number in range(KILLS - 1):
            async with it.program.started() as daemon:
                await it.kill(daemon.process, 1 if number % 3 == 0 else 2, random.uniform(0, 2 * LATENCY_S))
            [(outcome, cursor)] = it.rows("SELECT outcome, cursor FROM runs ORDER BY fire_time DESC LIMIT 1")
            assert outcome is None, "it was not killed in the middle of its listing"
            cursors.add(cursor)
        assert len(cursors) > KILLS // 2, "it did not get on between the kills"
        async with it.program.daemon() as daemon:
            await daemon.logs("run ended")

        last = "SELECT outcome, listed, stored, pushed, failed FROM runs ORDER BY fire_time DESC LIMIT 1"
        listed = CAMPAIGNS - len(HIDDEN)
        assert it.rows(last) == [("succeeded", listed, listed, 0, 0)]
        assert it.rows("SELECT count(*) FROM campaigns") == [(CAMPAIGNS,)]
        assert it.deleted() == [], "a listing that was pieced together marked campaigns deleted"
        page = await it.platform.ledger("pull")
        assert PAGES - 1 <= page["accepted"] <= PAGES + 2 * KILLS, "it did not go on where it was"
        assert (page["refused"], page["effects_total"]) == (0, 0)
        assert page["largest_windows"][f"{QUOTA_WINDOW_S}"] <= QUOTA_REQUESTS

        for _ in range(2):
            await it.sync()
        assert it.deleted() == HIDDEN  # two whole listings agree
        said = it.said()
        assert not [name for name, secret in secrets_of("pull").items() if any(secret.encode() in one for one in said)]
