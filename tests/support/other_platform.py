"""The platform's API once more, written from its description alone, by somebody with other habits than `mock_api`.

A threaded server on plain `http.server`: it announces a 429 by whole seconds in the body alone, answers 503 to a tenth
of the listings, pages as it likes, writes times without a zone, adds fields, has odd ids, and ignores Idempotency-Key.
"""

import base64
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import anyio
import httpx
from anyio.streams.text import TextReceiveStream

EMAIL, PASSWORD, TOKEN = "ops@example.com", "a pass: word", "eyJ.other/+=~"
QUOTA, WINDOW_S = 10, 0.4
PAGE = 7
HALF_USED = "half-used"  # the client id of which half of the window is taken when it signs in first

CAMPAIGNS = [
    {
        "id": (number, f"acct/{number}", f"Kampagne {number} ü", f"{number}?x=1#y", f"%2e{number}")[number % 5],
        "name": f"Campaign {number}",
        "status": "ACTIVE",
        "budget": number,
        "impressions": number * 100,
        "clicks": number * 10,
        "conversions": number,
        "created_at": f"2026-01-05T10:{number // 60:02}:{number % 60:02}",
        "owner": {"team": "growth"},
        "labels": ["a", None],
    }
    for number in range(100)
]


@dataclass(slots=True)
class State:
    """What the server remembers of one client id."""

    log: list[float] = field(default_factory=list)
    accepted: int = 0
    refused: int = 0
    listings: int = 0
    unavailable: int = 0
    signed_in: bool = False
    pushes: dict[str, int] = field(default_factory=dict)


class OtherPlatform(ThreadingHTTPServer):
    """All client ids, under one lock."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.states: dict[str, State] = {}

    def state(self, client_id: str) -> State:
        return self.states.setdefault(client_id, State())


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: OtherPlatform
    protocol_version = "HTTP/1.1"
    server_version = "other/7"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/auth/token":
            return self.sign_in()
        campaign_id = unquote(self.path.removeprefix("/api/campaigns/").removesuffix("/sync"))
        if self.admitted():
            known = any(str(campaign["id"]) == campaign_id for campaign in CAMPAIGNS)
            if not known or json.loads(body) != {"campaign_id": campaign_id}:
                return self.answer(404, {"error": "NOT_FOUND", "message": "no such campaign"})
            with self.server.lock:
                self.state.pushes[campaign_id] = self.state.pushes.get(campaign_id, 0) + 1
            time.sleep(0.02)  # a push takes its time
            self.answer(200, {"success": True, "campaign_id": campaign_id, "job": 17})
        return None

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/report":
            state = self.server.state(parse_qs(url.query)["client_id"][0])
            return self.answer(200, asdict(state))
        if self.admitted():
            with self.server.lock:
                self.state.listings += 1
                unavailable = self.state.listings % 10 == 3
                self.state.unavailable += unavailable
            if unavailable:
                return self.answer(503, {"error": "UNAVAILABLE", "message": "come back later"})
            page = int(parse_qs(url.query)["page"][0])
            data = CAMPAIGNS[(page - 1) * PAGE : page * PAGE]
            more = page * PAGE < len(CAMPAIGNS)
            pagination = {"page": page, "limit": PAGE, "total": len(CAMPAIGNS), "has_more": more, "next": None}
            self.answer(200, {"data": data, "pagination": pagination, "took_ms": 3})
        return None

    @property
    def state(self) -> State:
        return self.server.state(self.headers["X-Client-ID"])

    def sign_in(self) -> None:
        with self.server.lock:
            if self.headers["X-Client-ID"] == HALF_USED and not self.state.signed_in:
                self.state.log += [time.monotonic() + 0.5] * (QUOTA // 2)  # so that a slow machine gets to see it
            self.state.signed_in = True
        if self.headers["Authorization"] != f"Basic {base64.b64encode(f'{EMAIL}:{PASSWORD}'.encode()).decode()}":
            return self.answer(401, {"error": "UNAUTHORIZED", "message": "who are you?"})
        token = {"access_token": TOKEN, "token_type": "bearer", "expires_in": 900, "scope": "all"}
        return self.answer(200, {**token, "issued_at": "2026-01-05T10:00:00"})

    def admitted(self) -> bool:
        """Whether the request may go on; else it is answered."""
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.answer(401, {"error": "UNAUTHORIZED", "message": "who are you?"})
            return False
        with self.server.lock:
            now, state = time.monotonic(), self.state
            state.log = [instant for instant in state.log if instant > now - WINDOW_S]
            if len(state.log) < QUOTA:
                state.log.append(now)
                state.accepted += 1
                return True
            state.refused += 1
            retry_after = math.ceil(state.log[0] + WINDOW_S - now)
        self.answer(429, {"error": "RATE_LIMIT", "message": "slow down", "retry_after": retry_after})
        return False

    def answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's name
        """Say nothing."""


@asynccontextmanager
async def running_other_platform() -> AsyncIterator[httpx.AsyncClient]:
    """Start the server as its own process; what is yielded asks it, and knows its `base_url`."""
    async with await anyio.open_process(
        [sys.executable, "-P", __file__], stdout=subprocess.PIPE, stderr=None
    ) as process:
        try:
            assert process.stdout is not None
            base_url = (await TextReceiveStream(process.stdout).receive()).strip()
            async with httpx.AsyncClient(base_url=base_url, trust_env=False) as http:
                yield http
        finally:
            process.terminate()


async def report(http: httpx.AsyncClient, client_id: str) -> dict[str, Any]:
    """Return what the server saw of a client id: `accepted`, `refused`, `unavailable`, and `pushes` by campaign id."""
    seen: dict[str, Any] = (await http.get("/report", params={"client_id": client_id})).raise_for_status().json()
    return seen


if __name__ == "__main__":
    platform = OtherPlatform()
    print(f"http://127.0.0.1:{platform.server_address[1]}", flush=True)  # noqa: T201 - the test that started it reads it
    platform.serve_forever()
