"""What the mock platform holds on one core, so that no other benchmark measures it by mistake.

`python -m benchmarks.mock_api`: raw connections, each sending the next request when it has the answer; server and
client on a core each. `per_cpu_s` is what the server would hold if the client were no limit.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import anyio
import httpx

RESULTS = Path(__file__).parent / "results" / "mock_api.json"
CONNECTIONS = 20
SECONDS = 5.0
OPTIONS = (
    "--port=0",
    "--account=bench@example.com:bench=bench",
    "--quota-requests=1000000000",
    "--push-latency-s=0",
    "--list-503=0",
    "--list-hang=0",
)


@dataclass(frozen=True, slots=True)
class Result:
    endpoint: str
    connections: int
    requests: int
    per_s: float
    per_cpu_s: float


def main() -> None:
    """Measure both metered endpoints, print the results and keep them."""
    here, there = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    with subprocess.Popen([sys.executable, "-m", "mock_api", *OPTIONS], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            base_url = server.stdout.readline().split()[-1]
            os.sched_setaffinity(server.pid, {here})
            os.sched_setaffinity(0, {there})
            token = httpx.post(f"{base_url}/auth/token", auth=("bench@example.com", "bench")).json()["access_token"]
            results = [
                anyio.run(measure, server.pid, int(base_url.rpartition(":")[2]), endpoint, requests)
                for endpoint, requests in (("list", listings(token)), ("push", pushes(token)))
            ]
        finally:
            server.terminate()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    print(RESULTS.read_text(), end="")


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


async def measure(pid: int, port: int, endpoint: str, requests: Iterator[bytes]) -> Result:
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

    started, busy = time.monotonic(), cpu_s(pid)
    async with anyio.create_task_group() as tasks:
        for _ in range(CONNECTIONS):
            tasks.start_soon(ask)
    spent, busy = time.monotonic() - started, cpu_s(pid) - busy
    return Result(endpoint, CONNECTIONS, answered, round(answered / spent), round(answered / busy))


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used (proc(5), utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
