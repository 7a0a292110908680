"""Looks for secrets in all that a daemon leaves behind."""

import base64
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def forms(secret: str) -> set[bytes]:
    """A secret as it is, and the base64 that it makes wherever it stands in what is encoded."""
    plain = secret.encode()
    shifted = [base64.b64encode(b"\0" * shift + plain + b"\0" * 3) for shift in range(3)]
    ends = [(shift + len(plain)) * 8 // 6 for shift in range(3)]
    return {plain, *(text[first:end] for text, first, end in zip(shifted, (0, 2, 3), ends, strict=True))}


@dataclass(slots=True)
class Collector:
    """Keeps what it is sent as it came, by signal."""

    bodies: dict[str, bytes] = field(default_factory=dict)

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/{signal}", self.receive, methods=["POST"])])

    async def receive(self, request: Request) -> Response:
        signal = request.path_params["signal"]
        self.bodies[signal] = self.bodies.get(signal, b"") + await request.body()
        return Response(media_type="application/x-protobuf")


def files(folder: Path) -> dict[str, bytes]:
    """The database's, by name."""
    return {path.name: path.read_bytes() for path in folder.glob("adsyncd.db*")}
