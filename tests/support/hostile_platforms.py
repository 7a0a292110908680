"""Platforms of which each is honest but for one kind of request, which it gives an answer of the hostile ones."""

import asyncio
import json
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from support.hostile import PLAIN, Answer, Then, filled
from support.raw_server import Peer

CAMPAIGNS = ("c-1", "c-2")
PAUSE_S = 0.02  # between segments
DRIP_S = 0.2


@dataclass
class HostilePlatform:
    """A platform that answers so to requests of a `kind`: sign-in, listing or push.

    `asked`: how often each request arrived: `sign-in`, `listing` or a campaign's id.
    """

    answer: Answer
    kind: str
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, 0)
        try:
            if self.answer.early:
                await self._harm(peer, honest("sign-in"))
            while request := await peer.read_request():
                name = name_of(request)
                self.asked[name] += 1
                if self.answer.early:
                    continue
                if self.kind == (name if name not in CAMPAIGNS else "push"):
                    await self._harm(peer, honest(name))
                else:
                    await peer.send(filled(PLAIN, honest(name)))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the daemon has gone, or the test has ended
        finally:
            writer.transport.abort()

    async def _harm(self, peer: Peer, body: bytes) -> None:
        pieces = self.answer.sent(body)
        for piece in pieces:
            await peer.send(piece)
            await asyncio.sleep(PAUSE_S)
        match self.answer.then:
            case Then.CLOSES:
                peer.writer.close()
                await peer.writer.wait_closed()
            case Then.HALF_CLOSES:
                peer.writer.write_eof()
            case Then.RESETS:
                raw = peer.writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.writer.transport.abort()
                raise ConnectionAbortedError
            case Then.ENDLESSLY | Then.DRIPS as how:
                while True:
                    await peer.send(pieces[-1])
                    await asyncio.sleep(DRIP_S if how is Then.DRIPS else 0)


def name_of(request: bytes) -> str:
    path = request.split(b" ", 2)[1].decode()
    if path.endswith("/sync"):
        return path.split("/")[-2]
    return "listing" if path.startswith("/api/campaigns") else "sign-in"


def honest(name: str) -> bytes:
    """Return the body that an honest platform's answer to this request has."""
    numbers = {"budget": 1.5, "impressions": 1, "clicks": 1, "conversions": 1}
    campaigns = [
        {"id": id_, "name": id_, "status": "active", "created_at": "2026-01-01T00:00:00Z", **numbers}
        for id_ in CAMPAIGNS
    ]
    pages = {"page": 1, "limit": 10, "total": len(CAMPAIGNS), "has_more": False}
    bodies = {
        "sign-in": {"access_token": "token-0123456789", "token_type": "Bearer", "expires_in": 3600, "issued_at": 1},
        "listing": {"data": campaigns, "pagination": pages},
    }
    pushed = {"success": True, "campaign_id": name, "synced_at": "2026-01-01T00:00:00Z", "message": "ok"}
    return json.dumps(bodies.get(name, pushed)).encode()


@asynccontextmanager
async def hostile_platforms(answers: Iterable[Answer], kind: str) -> AsyncIterator[list[HostilePlatform]]:
    """Serve a platform for each answer, on a port of its own."""
    async with AsyncExitStack() as stack:
        platforms = [HostilePlatform(answer, kind) for answer in answers]
        serving = set[asyncio.Task[object]]()
        for platform in platforms:

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, platform: HostilePlatform = platform
            ) -> None:
                task = asyncio.current_task()
                assert task is not None
                serving.add(task)
                await platform.serve(reader, writer)

            server = await stack.enter_async_context(await asyncio.start_server(serve, "127.0.0.1", 0))
            platform.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield platforms
        finally:
            for task in serving:
                task.cancel()
