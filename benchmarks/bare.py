"""A job done as a script would: httpx, a queue, no retry, no record."""

import math
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable

import anyio
import httpx
from anyio.streams.memory import MemoryObjectReceiveStream

from benchmarks.config import ACCOUNT, tenant_ids
from benchmarks.job import CONCURRENCY, PAGE_SIZE, Job, Quota, Spent, timed

Pace = Callable[[], Awaitable[None]]


async def bare(job: Job) -> Spent:
    tls = httpx.create_ssl_context(verify=job.ca_file or True)
    each = look if job.unchanged else paced if job.quota else sync

    async def work() -> None:
        async with anyio.create_task_group() as tasks:
            for client_id in tenant_ids(job.tenants):
                tasks.start_soon(each, job, tls, client_id)

    if job.unchanged:
        await work()
    return await timed(work)


def client(job: Job, tls: ssl.SSLContext, client_id: str, connections: int) -> httpx.AsyncClient:
    """Return a tenant's client, which keeps its connections."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=None)
    return httpx.AsyncClient(
        base_url=job.base_url,
        verify=tls,
        limits=limits,
        headers={"x-client-id": client_id},
        timeout=60,
        trust_env=False,
    )


async def sync(job: Job, tls: ssl.SSLContext, client_id: str) -> None:
    """Push each page's campaigns, several at once, while the next page is listed."""
    async with client(job, tls, client_id, CONCURRENCY + 1) as http:
        await sign_in(http)
        pushed: list[str] = []
        send, receive = anyio.create_memory_object_stream[str](PAGE_SIZE)
        async with anyio.create_task_group() as tasks, send:
            for _ in range(CONCURRENCY):
                tasks.start_soon(push_from, http, receive.clone(), pushed)
            receive.close()
            number, has_more = 1, True
            while has_more:
                ids, has_more = await page(http, number)
                for campaign_id in ids:
                    await send.send(campaign_id)
                number += 1
        assert len(pushed) == job.campaigns, (client_id, len(pushed))


async def look(job: Job, tls: ssl.SSLContext, client_id: str) -> None:
    """Sign in and list one page."""
    async with client(job, tls, client_id, 1) as http:
        await sign_in(http)
        ids, has_more = await page(http, 1)
        assert (len(ids), has_more) == (job.campaigns, False), (ids, has_more)


async def paced(job: Job, tls: ssl.SSLContext, client_id: str) -> None:
    """Send one request after the other over one connection, as many in each window as the quota allows."""
    assert job.quota
    wait = pace(job.quota)
    async with client(job, tls, client_id, 1) as http:
        await wait()
        await sign_in(http)
        number, has_more, pushed = 1, True, 0
        while has_more:
            await wait()
            ids, has_more = await page(http, number)
            for campaign_id in ids:
                await wait()
                await push(http, campaign_id)
            number, pushed = number + 1, pushed + len(ids)
        assert pushed == job.campaigns, (client_id, pushed)


def pace(quota: Quota) -> Pace:
    """Return what to await before each request."""
    sent, window_s = 0, -math.inf

    async def wait() -> None:
        nonlocal sent, window_s
        if sent % quota.requests == 0:
            await anyio.sleep(max(0.0, window_s + quota.per_s - time.monotonic()))
            window_s = time.monotonic()
        sent += 1

    return wait


async def sign_in(http: httpx.AsyncClient) -> None:
    signed_in = await http.post("/auth/token", auth=(ACCOUNT["email"], ACCOUNT["password"]))
    http.headers["authorization"] = f"Bearer {signed_in.raise_for_status().json()['access_token']}"


async def page(http: httpx.AsyncClient, number: int) -> tuple[list[str], bool]:
    """Return the ids of a page's campaigns, and whether there are more pages."""
    answer = await http.get("/api/campaigns", params={"page": number, "limit": PAGE_SIZE})
    listed = answer.raise_for_status().json()
    return [campaign["id"] for campaign in listed["data"]], listed["pagination"]["has_more"]


async def push(http: httpx.AsyncClient, campaign_id: str) -> None:
    answer = await http.post(
        f"/api/campaigns/{campaign_id}/sync",
        json={"campaign_id": campaign_id},
        headers={"idempotency-key": str(uuid.uuid4())},
    )
    assert answer.raise_for_status().json()["success"]


async def push_from(http: httpx.AsyncClient, queue: MemoryObjectReceiveStream[str], pushed: list[str]) -> None:
    async with queue:
        async for campaign_id in queue:
            await push(http, campaign_id)
            pushed.append(campaign_id)
