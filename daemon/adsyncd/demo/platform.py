"""The mock ad platform as a process of its own, and its ledger."""

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
from anyio.abc import Process

import mock_api
from adsyncd.demo.process import running
from adsyncd.errors import AdsyncdError
from mock_api.options import READY

_START_S = 30.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """A client id's page of the ledger: its requests, and the pushes that took effect, by campaign."""

    accepted: int
    refused: int
    pushes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class MockPlatform:
    """A running platform at `base_url`, without a trailing slash."""

    base_url: str
    _http: httpx.AsyncClient

    async def ledger(self, client_id: str) -> LedgerPage:
        """Return the client id's page of the ledger."""
        answer = await self._http.get("/_ledger", params={"client_id": client_id})
        page = answer.raise_for_status().json()["clients"][client_id]
        pushes = {campaign_id: sum(by_key.values()) for campaign_id, by_key in page["effects"].items()}
        return LedgerPage(page["accepted"], page["refused"], pushes)


@asynccontextmanager
async def mock_platform(settings: Mapping[str, object], *options: str) -> AsyncIterator[MockPlatform]:
    """Start a platform with `settings` and `options` of mock_api, on a free port, and end it with the block.

    Raises `AdsyncdError` when it does not start.
    """
    async with anyio.TemporaryDirectory(prefix="adsyncd-platform-") as name:
        folder = anyio.Path(name)
        config, log = folder / "settings.json", folder / "log"
        await config.write_text(json.dumps(settings))
        command = [sys.executable, "-m", mock_api.__name__, "--config", str(config), *options]
        async with running(command, Path(log), os.environ) as process:
            base_url = await _address(process, log)
            async with httpx.AsyncClient(base_url=base_url, trust_env=False) as http:
                yield MockPlatform(base_url, http)


async def _address(process: Process, log: anyio.Path) -> str:
    with anyio.move_on_after(_START_S):
        while process.returncode is None:
            base_url, newline, _ = (await log.read_text()).partition(READY)[2].partition("\n")
            if newline:
                return base_url
            await anyio.sleep(_POLL_S)
    raise AdsyncdError(f"the mock platform did not start: {(await log.read_text()).strip()}")
