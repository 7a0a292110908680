"""A job done with nothing but asyncio's protocols and httptools' parser: what no record and no HTTP client can beat.

Requests are bytes, of an answer only its end is noticed, and only pages are read as JSON.
"""

import asyncio
import base64
import json
import ssl
from collections import deque
from urllib.parse import urlsplit

import anyio
import httptools

from benchmarks.config import ACCOUNT, tenant_ids
from benchmarks.job import CONCURRENCY, PAGE_SIZE, Job, Spent, timed

_ACCOUNT = base64.b64encode(f"{ACCOUNT['email']}:{ACCOUNT['password']}".encode()).decode()


async def raw(job: Job) -> Spent:
    tls = ssl.create_default_context(cafile=job.ca_file) if job.ca_file else None

    async def work() -> None:
        async with anyio.create_task_group() as tasks:
            for client_id in tenant_ids(job.tenants):
                tasks.start_soon(sync, job, tls, client_id)

    return await timed(work)


class Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # it is one
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        assert self._parser.get_status_code() == 200
        self._answer.set_result(self._body)
        self._body = b""

    async def ask(self, request: bytes) -> bytes:
        """Send a request and return the body of its answer."""
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self._transport.close()


async def sync(job: Job, tls: ssl.SSLContext | None, client_id: str) -> None:
    """List all pages, then push over several connections at once."""
    address = urlsplit(job.base_url)
    host, port = address.hostname or "", address.port or 0
    loop = asyncio.get_running_loop()
    head = f"Host: {address.netloc}\r\nX-Client-ID: {client_id}\r\nAuthorization: "

    async def connect() -> Connection:
        _, connection = await loop.create_connection(Connection, host, port, ssl=tls)
        return connection

    async def push(token: str) -> None:
        connection = await connect()
        while ids:
            campaign_id = ids.popleft()
            body = f'{{"campaign_id":"{campaign_id}"}}'
            await connection.ask(
                f"POST /api/campaigns/{campaign_id}/sync HTTP/1.1\r\n{head}Bearer {token}\r\n"
                f"Idempotency-Key: {client_id}-{campaign_id}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
        connection.close()

    first = await connect()
    signed_in = await first.ask(
        f"POST /auth/token HTTP/1.1\r\n{head}Basic {_ACCOUNT}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    token = json.loads(signed_in)["access_token"]
    ids: deque[str] = deque()
    number, has_more = 1, True
    while has_more:
        answer = await first.ask(
            f"GET /api/campaigns?page={number}&limit={PAGE_SIZE} HTTP/1.1\r\n{head}Bearer {token}\r\n\r\n".encode()
        )
        page = json.loads(answer)
        ids.extend(campaign["id"] for campaign in page["data"])
        number, has_more = number + 1, page["pagination"]["has_more"]
    assert len(ids) == job.campaigns, (client_id, len(ids))
    async with anyio.create_task_group() as tasks:
        for _ in range(CONCURRENCY):
            tasks.start_soon(push, token)
    first.close()
