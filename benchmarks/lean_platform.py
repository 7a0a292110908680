"""A platform that only answers: at once, to anyone, without a quota or a fault.

The mock platform takes longer for a push than a fast client does, and would be what is measured. This one runs on
uvloop, parses with httptools, and keeps nothing.

`python -m benchmarks.lean_platform CAMPAIGNS [CERTIFICATE]` prints its address. CERTIFICATE: the PEM of a certificate
and its key, for TLS. `GET /counts` returns the requests and the connections so far, without those that asked for it.
"""

import asyncio
import json
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import httptools
import httpx
import trustme
import uvloop

from benchmarks.processes import lines, started
from mock_api.campaigns import Catalogue
from mock_api.settings import Behaviour

_STARTED = "2026-01-01T00:00:00+00:00"


@dataclass(slots=True)
class Counts:
    requests: int = 0
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Lean:
    """A running platform; `ca_file`: the authority of its certificate, "" without TLS."""

    base_url: str
    ca_file: str

    def counts(self) -> Counts:
        tls = ssl.create_default_context(cafile=self.ca_file or None)
        return Counts(**httpx.get(f"{self.base_url}/counts", verify=tls, trust_env=False).raise_for_status().json())


@contextmanager
def running(campaigns: int, *, tls: bool = False) -> Iterator[Lean]:
    """Start a platform whose client ids have `campaigns` each."""
    with TemporaryDirectory() as folder:
        ca_file, certificate = "", []
        if tls:
            authority = trustme.CA()
            authority.cert_pem.write_to_path(ca_file := f"{folder}/authority.pem")
            certificate = [f"{folder}/platform.pem"]
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate[0])
        with started("benchmarks.lean_platform", str(campaigns), *certificate) as process:
            yield Lean(next(lines(process)).strip(), ca_file)


class _Connection(asyncio.Protocol):
    def __init__(self, campaigns: int, counts: Counts) -> None:
        self._campaigns = campaigns
        self._counts = counts
        self._parser = httptools.HttpRequestParser(self)
        self._is_new = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # it is one
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, target: bytes) -> None:
        self._target = target.decode()

    def on_message_complete(self) -> None:
        if self._target == "/counts":
            self._transport.write(_answer(json.dumps(asdict(self._counts))))
            return
        self._counts.requests += 1
        self._counts.connections += self._is_new
        self._is_new = False
        self._transport.write(_answer_to(self._target, self._campaigns))


@cache
def _answer_to(target: str, campaigns: int) -> bytes:
    url = urlsplit(target)
    if url.path == "/auth/token":
        token = {"access_token": "lean", "token_type": "Bearer", "expires_in": 3600, "issued_at": _STARTED}
        return _answer(json.dumps(token))
    if url.path == "/api/campaigns":
        asked = parse_qs(url.query)
        catalogue = Catalogue(0, "lean", Behaviour(campaigns=campaigns))
        return _answer(json.dumps(catalogue.page(int(asked["page"][0]), int(asked["limit"][0]))))
    synced = {"success": True, "campaign_id": url.path.split("/")[3], "synced_at": _STARTED, "message": "synced"}
    return _answer(json.dumps(synced))


def _answer(body: str) -> bytes:
    return (
        "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nserver: lean\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def _serve(campaigns: int, certificate: str | None) -> None:
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    connection = partial(_Connection, campaigns, Counts())
    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0, ssl=tls, backlog=4096)
    scheme = "https" if tls else "http"
    print(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
