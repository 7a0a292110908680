"""A tenant's password is rotated in the midst of a run: at a real mock platform, in a real OpenBao."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from adsyncd import daemon
from adsyncd.config import load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.daemon import Parts
from adsyncd.demo.collector import Collector, open_collector
from adsyncd.demo.openbao import OpenBao
from adsyncd.model.run import Outcome, Run, Tally
from adsyncd.tasks import beside
from support.logging_state import restored_logging
from support.otlp import PROMPTLY, otel_environ
from support.platform import HEALTHY, Platform, running_platform
from support.program import Program
from support.vault import real_openbao

CAMPAIGNS = 40
EMAIL = "acme@example.com"


@dataclass(frozen=True, slots=True)
class Scene:
    """A daemon's parts, and what they talk to."""

    parts: Parts
    platform: Platform
    vault: OpenBao
    collector: Collector

    async def pushed(self) -> int:
        return len((await self.platform.ledger("acme"))["effects"])

    async def statuses(self, run: Run) -> list[object]:
        """Return the status of each answer that the run got, once all are exported."""
        with anyio.fail_after(60):
            while not any(  # noqa: ASYNC110 - the exporter's doing
                span.name == "sync.run" and span.trace_id == run.trace_id for span in self.collector.spans
            ):
                await anyio.sleep(0.02)
        return [
            span.attributes["http.response.status_code"]
            for span in self.collector.spans
            if span.trace_id == run.trace_id and "http.response.status_code" in span.attributes
        ]


@asynccontextmanager
async def scene(folder: Path, poll: str, **keys: object) -> AsyncIterator[Scene]:
    settings = {
        "everyone": {**HEALTHY, "campaigns": CAMPAIGNS, "push_latency_s": 0.02},
        "accounts": {EMAIL: {"password": "old", "clients": ["acme"]}},
    }
    async with real_openbao() as vault, running_platform(settings) as platform, open_collector() as collector:
        await vault.put_secret("adsyncd/acme", {"email": EMAIL, "password": "old"})
        program = Program(folder, {"TOKEN": vault.root_token.get_secret_value()})
        program.settings(
            vault={"address": vault.address, "poll": poll, "auth": {"method": "token", "token": {"env": "TOKEN"}}},
            platforms={"mixo": {"base_url": platform.base_url}},
        )
        program.tenant("acme", credentials={"vault": "adsyncd/acme"}, **keys)
        loaded = load_settings(program.config, {})
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **PROMPTLY, **program.environ}
        with otel_environ(**environ), restored_logging():
            async with daemon.open_parts(loaded, os.environ, "info") as parts:
                assert parts.vault is not None
                parts.supervisor.add(read_tenants(loaded).good["acme"])
                async with beside(parts.vault.run):
                    yield Scene(parts, platform, vault, collector)


async def rotated_after(pushes: int, here: Scene) -> Run:
    """Run the tenant; after so many pushes its password is new, and the tokens of the old one are revoked."""
    runs: list[Run] = []

    async def run() -> None:
        runs.append(await here.parts.supervisor.worker("acme").sync(here.parts.clock.now(), Tally()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        with anyio.fail_after(60):
            while await here.pushed() < pushes:  # noqa: ASYNC110 - another process's doing
                await anyio.sleep(0.01)
        await here.vault.put_secret("adsyncd/acme", {"email": EMAIL, "password": "new"})
        await here.platform.change(accounts={EMAIL: {"password": "new", "generation": 1}})
    return runs[0]


async def assert_nothing_lost(here: Scene, run: Run) -> None:
    assert (run.outcome, run.listed, run.pushed) == (Outcome.SUCCEEDED, CAMPAIGNS, CAMPAIGNS)
    assert await here.pushed() == CAMPAIGNS
    assert (await here.platform.ledger("acme"))["tokens_issued"] == 2


@pytest.mark.parametrize("concurrency", [1, 5])
async def test_each_request_that_is_on_its_way_is_refused_once_and_no_campaign_is_lost(
    concurrency: int, tmp_path: Path
) -> None:
    quota, sync = {"requests": 100_000, "per": "60s"}, {"concurrency": concurrency, "page_size": CAMPAIGNS}
    async with scene(tmp_path, poll="1h", quota=quota, sync=sync) as here:
        run = await rotated_after(CAMPAIGNS // 4, here)
        await assert_nothing_lost(here, run)
        assert 1 <= (await here.statuses(run)).count(401) <= concurrency


async def test_while_a_run_waits_for_quota_the_rotation_is_seen_and_no_request_is_refused(tmp_path: Path) -> None:
    burst = CAMPAIGNS // 2
    sync = {"concurrency": 5, "page_size": CAMPAIGNS}
    async with scene(tmp_path, poll="1s", quota={"requests": burst, "per": "5s"}, sync=sync) as here:
        run = await rotated_after(burst - 1, here)  # the other permit was the listing's
        await assert_nothing_lost(here, run)
        assert 401 not in await here.statuses(run)
