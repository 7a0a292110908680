"""Arize Phoenix, a real tracing backend, in an environment of its own that `make phoenix` makes."""

import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx

from adsyncd.demo.process import running

PROGRAM = Path(__file__).parents[2] / "build" / "phoenix" / "bin" / "phoenix"
PROJECT = "adsyncd"

Span = Mapping[str, Any]

_STARTS_S = 240.0  # on a busy machine; alone it takes 20
_ARRIVES_S = 60.0


@dataclass(frozen=True, slots=True)
class Phoenix:
    """A Phoenix that answers at `address`."""

    address: str
    _http: httpx.AsyncClient

    @property
    def environ(self) -> dict[str, str]:
        """Variables by which a daemon exports its traces to it."""
        return {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{self.address}/v1/traces",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={PROJECT}",
        }

    async def spans(self, **query: object) -> list[Span]:
        """Return the spans that its API finds: by `name`, `status_code`, `trace_id` or `attribute` ("key:value")."""
        answer = await self._http.get(f"/v1/projects/{PROJECT}/spans", params={"limit": 1000, **query})  # type: ignore[dict-item]  # texts and lists of them
        if answer.status_code == httpx.codes.NOT_FOUND:  # nothing has arrived
            return []
        found: list[Span] = answer.raise_for_status().json()["data"]
        return found

    async def finds(self, enough: Callable[[list[Span]], bool], **query: object) -> list[Span]:
        """Return what it finds once that is enough: what arrives is queued there."""
        found: list[Span] = []
        with anyio.move_on_after(_ARRIVES_S):
            while not enough(found := await self.spans(**query)):  # noqa: ASYNC110 - another process's
                await anyio.sleep(0.2)
        assert enough(found), found
        return found


@asynccontextmanager
async def running_phoenix(folder: Path) -> AsyncIterator[Phoenix]:
    """Run Phoenix with its data in `folder`. It sends nothing anywhere."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        port, grpc_port = one.getsockname()[1], other.getsockname()[1]
    environ = {
        "PATH": str(PROGRAM.parent),
        "HOME": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
        "PHOENIX_AGENTS_DISABLE_BASH": "true",
    }
    address, log = f"http://127.0.0.1:{port}", folder / "phoenix.log"
    async with (
        running([str(PROGRAM), "serve"], log, environ, grace_s=5) as process,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as http,
    ):
        with anyio.move_on_after(_STARTS_S):
            while process.returncode is None and not await _answers(http):  # noqa: ASYNC110 - another process's
                await anyio.sleep(0.2)
        assert await _answers(http), log.read_text()
        yield Phoenix(address, http)


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/healthz")).is_success
    except httpx.TransportError:
        return False
