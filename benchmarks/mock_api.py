"""The capacity of the mock platform on one core, so that no other benchmark measures it by mistake.

Raw connections, each of which sends the next request when it has the response; server and client on a core each. The
rate is per CPU second of the server: the requests it would serve per second if the client were no limit.
"""

import os
import time
from collections.abc import Iterator
from itertools import count

import anyio
import httpx

from benchmarks.config import ACCOUNT, HEALTHY, accounts
from benchmarks.figures import Figure
from benchmarks.processes import cpu_s, running_platform

CONNECTIONS = 20
SECONDS = 5.0
LEAST_PER_CPU_S = 2000
SETTINGS = {
    "accounts": accounts(["bench"]),
    "everyone": {**HEALTHY, "quota_requests": 10**9},
}


def measure() -> list[Figure]:
    """Measure both metered endpoints."""
    cores = os.sched_getaffinity(0)
    with running_platform(SETTINGS) as (base_url, pid):
        os.sched_setaffinity(pid, {min(cores)})
        os.sched_setaffinity(0, {max(cores)})
        try:
            answer = httpx.post(f"{base_url}/auth/token", auth=(ACCOUNT["email"], ACCOUNT["password"]))
            token = answer.raise_for_status().json()["access_token"]
            port = int(base_url.rpartition(":")[2])
            return [
                anyio.run(flood, pid, port, "listings", listings(token)),
                anyio.run(flood, pid, port, "pushes", pushes(token)),
            ]
        finally:
            os.sched_setaffinity(0, cores)


def listings(token: str) -> Iterator[bytes]:
    """Yield requests for a page of ten campaigns."""
    while True:
        yield request("GET /api/campaigns?page=1&limit=10", token, "", "")


def pushes(token: str) -> Iterator[bytes]:
    """Yield requests that push one campaign, each with a key of its own."""
    for number in count():
        body = '{"campaign_id":"cmp-0001"}'
        yield request("POST /api/campaigns/cmp-0001/sync", token, f"Idempotency-Key: {number:036d}\r\n", body)


def request(target: str, token: str, headers: str, body: str) -> bytes:
    return (
        f"{target} HTTP/1.1\r\nHost: platform\r\nAuthorization: Bearer {token}\r\nX-Client-ID: bench\r\n{headers}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def flood(pid: int, port: int, endpoint: str, requests: Iterator[bytes]) -> Figure:
    answered = 0
    end = time.monotonic() + SECONDS

    async def ask() -> None:
        nonlocal answered
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            while time.monotonic() < end:
                await stream.send(next(requests))
                answer = await stream.receive()
                assert answer.startswith(b"HTTP/1.1 200"), answer
                head, _, body = answer.partition(b"\r\n\r\n")
                missing = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(body)
                while missing:
                    missing -= len(await stream.receive())
                answered += 1

    busy_s = cpu_s(pid)
    async with anyio.create_task_group() as tasks:
        for _ in range(CONNECTIONS):
            tasks.start_soon(ask)
    per_cpu_s = answered / (cpu_s(pid) - busy_s)
    return Figure(f"{endpoint} a CPU second", round(per_cpu_s), at_least=LEAST_PER_CPU_S)
