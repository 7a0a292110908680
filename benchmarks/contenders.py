"""The contenders of `throughput` and `journal`, each doing the same work in a process of its own.

`python -m benchmarks.contenders bare|adsyncd|forgetful BASE_URL TENANTS CAMPAIGNS` prints as JSON the seconds and
CPU seconds from before the first request until after the last response.
"""

import json
import os
import ssl
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import anyio
import httpx
from anyio.streams.memory import MemoryObjectReceiveStream

from adsyncd.config import load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.daemon import open_parts
from adsyncd.model.campaign import Page, Push, PushState
from adsyncd.model.run import Run
from adsyncd.model.tenant import PushPolicy
from adsyncd.store import Store
from benchmarks.config import ACCOUNT, ENVIRON, FROM_ENVIRON, tenant_ids, write_config

PAGE_SIZE = 10
CONCURRENCY = 5


@dataclass(frozen=True, slots=True)
class Spent:
    wall_s: float
    cpu_s: float


async def timed(work: Callable[[], Awaitable[None]]) -> Spent:
    wall_s, cpu_s = time.monotonic(), time.process_time()
    await work()
    return Spent(time.monotonic() - wall_s, time.process_time() - cpu_s)


async def bare(base_url: str, tenants: int, campaigns: int) -> Spent:
    """Do the work as a script would: httpx, a queue, no quota, no retry, no record."""
    tls = httpx.create_ssl_context()

    async def work() -> None:
        async with anyio.create_task_group() as tasks:
            for client_id in tenant_ids(tenants):
                tasks.start_soon(sync, base_url, tls, client_id, campaigns)

    return await timed(work)


async def sync(base_url: str, tls: ssl.SSLContext, client_id: str, campaigns: int) -> None:
    connections = httpx.Limits(max_connections=CONCURRENCY + 1, max_keepalive_connections=CONCURRENCY + 1)
    headers = {"x-client-id": client_id}
    async with httpx.AsyncClient(
        base_url=base_url, verify=tls, limits=connections, headers=headers, timeout=60, trust_env=False
    ) as http:
        signed_in = await http.post("/auth/token", auth=(ACCOUNT["email"], ACCOUNT["password"]))
        http.headers["authorization"] = f"Bearer {signed_in.raise_for_status().json()['access_token']}"
        pushed: list[str] = []
        send, receive = anyio.create_memory_object_stream[str](PAGE_SIZE)
        async with anyio.create_task_group() as tasks, send:
            for _ in range(CONCURRENCY):
                tasks.start_soon(push_from, http, receive.clone(), pushed)
            receive.close()
            number, has_more = 1, True
            while has_more:
                answer = await http.get("/api/campaigns", params={"page": number, "limit": PAGE_SIZE})
                page = answer.raise_for_status().json()
                for campaign in page["data"]:
                    await send.send(campaign["id"])
                number, has_more = number + 1, page["pagination"]["has_more"]
        assert len(pushed) == campaigns, (client_id, len(pushed))


async def push_from(http: httpx.AsyncClient, queue: MemoryObjectReceiveStream[str], pushed: list[str]) -> None:
    async with queue:
        async for campaign_id in queue:
            answer = await http.post(
                f"/api/campaigns/{campaign_id}/sync",
                json={"campaign_id": campaign_id},
                headers={"idempotency-key": str(uuid.uuid4())},
            )
            assert answer.raise_for_status().json()["success"]
            pushed.append(campaign_id)


async def adsyncd(base_url: str, tenants: int, campaigns: int) -> Spent:
    """Do the work with the daemon's parts, as if all tenants were due at one instant."""
    with TemporaryDirectory() as folder:
        config = write_config(
            Path(folder),
            base_url,
            dict.fromkeys(tenant_ids(tenants), ""),
            defaults=f"""
{FROM_ENVIRON}
quota = {{ requests = 1000000, per = "1s" }}
sync = {{ page_size = {PAGE_SIZE}, concurrency = {CONCURRENCY}, timeout = "60s" }}
""",
        )
        settings = load_settings(config, os.environ)
        os.environ.update(ENVIRON)
        async with open_parts(settings, os.environ, "warning") as parts:
            for tenant in read_tenants(settings).good.values():
                parts.supervisor.add(tenant)

            async def work() -> None:
                async with anyio.create_task_group() as runs:
                    for tenant_id in tenant_ids(tenants):
                        parts.supervisor.tick(runs, tenant_id, parts.clock.now())

            spent = await timed(work)
            done = await parts.store.runs(None, tenants)
            assert [run.pushed for run in done] == [campaigns] * tenants, done
        return spent


async def forgetful(base_url: str, tenants: int, campaigns: int) -> Spent:
    """Do the work as `adsyncd` does, but without a journal: only a run's start and end are recorded."""

    async def keep_page(_store: Store, _run: Run, page: Page, _policy: PushPolicy) -> list[Push]:
        return [Push(campaign.id, PushState.PENDING) for campaign in page.campaigns]

    async def forget(_store: Store, *_what: object, **_more: object) -> None: ...

    def ignore(_store: Store, *_what: object) -> None: ...

    with patch.multiple(Store, keep_page=keep_page, settle=forget, claim_permits=forget, note_permits=ignore):
        return await adsyncd(base_url, tenants, campaigns)


if __name__ == "__main__":
    contender = {"bare": bare, "adsyncd": adsyncd, "forgetful": forgetful}[sys.argv[1]]
    print(json.dumps(asdict(anyio.run(contender, sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))))
