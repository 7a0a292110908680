"""The mock platform as a real process, for every test that needs sockets."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx

from adsyncd.demo.platform import mock_platform


@dataclass(frozen=True, slots=True)
class Platform:
    """A mock platform that answers at `base_url` (no trailing slash)."""

    base_url: str
    _admin: httpx.AsyncClient

    async def ledger(self, client_id: str) -> dict[str, Any]:
        """Return a client id's page of the ledger; see `mock_api.ledger.Book.as_json`."""
        answer = await self._admin.get("/_ledger", params={"client_id": client_id})
        page: dict[str, Any] = answer.raise_for_status().json()["clients"][client_id]
        return page

    async def reset_ledger(self) -> None:
        """Start an empty ledger."""
        (await self._admin.post("/_ledger/reset")).raise_for_status()

    async def treat(self, **treatment: object) -> None:
        """Treat everyone so, and healthily in all else: each has 12 campaigns."""
        usual = {"campaigns": 12, "push_hang": 0, "rejected": [], "fault": "none"}
        await self.change(everyone={**HEALTHY, **usual, **treatment})

    async def reach_effects(self, client_id: str, count: int) -> None:
        """Return once so many pushes of a client id have taken effect."""
        with anyio.fail_after(60):
            while (await self.ledger(client_id))["effects_total"] < count:  # noqa: ASYNC110 - another process's
                await anyio.sleep(0.05)

    async def change(self, **patch: object) -> None:
        """Merge `patch` into the settings: `change(clients={"acme": {"deleted": ["cmp-0001"]}})`."""
        (await self._admin.post("/_settings", json=patch)).raise_for_status()


@asynccontextmanager
async def running_platform(settings: Mapping[str, Any] | None = None, *options: str) -> AsyncIterator[Platform]:
    """Start a mock platform with `settings` (see `mock_api.settings.MockSettings`) and command-line `options`; stop it.

    It is as sick as its defaults unless told otherwise: `HEALTHY` is an `everyone` without faults and waiting.
    """
    async with (
        mock_platform(settings or {}, *options) as platform,
        httpx.AsyncClient(base_url=platform.base_url, verify=False, trust_env=False) as admin,
    ):
        yield Platform(platform.base_url, admin)


HEALTHY: Mapping[str, Any] = {"list_503": 0, "list_hang": 0, "push_latency_s": 0, "quota_requests": 1_000_000}


def accounts(*client_ids: str) -> dict[str, Any]:
    """Return one account for each client id: email `ID@example.com`, password `pw-ID`."""
    return {f"{id_}@example.com": {"password": f"pw-{id_}", "clients": [id_]} for id_ in client_ids}


def environ_of(*client_ids: str) -> dict[str, str]:
    """Return the variables in which those accounts are found by `{ env = "ID" }`, in capitals."""
    emails = {f"{id_.upper()}_EMAIL": f"{id_}@example.com" for id_ in client_ids}
    return emails | {f"{id_.upper()}_PASSWORD": f"pw-{id_}" for id_ in client_ids}
