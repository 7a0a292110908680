"""A platform whose sign-in is another host: both write what a test needs, and keep what they read."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from adsyncd.config.profile_file import shipped_profile
from adsyncd.credentials import Credentials
from adsyncd.model.profile import Profile, TokenRequest
from support.connected import Account
from support.raw_server import Peer, RawServer, raw_server

SECRETS = {"client_secret": "canary-client+secret", "refresh_token": "canary-refresh", "key": "canary-key"}
TOKEN = "canary-token"


@dataclass
class TwoHosts:
    """The servers. `profile` describes them; `account` has the secrets."""

    platform: RawServer
    sign_in: RawServer
    profile: Profile
    account: Account

    def read(self, server: RawServer) -> list[bytes]:
        """Return the requests that a server has read."""
        return [request for peer in server.peers for request in peer.requests]


def answer(content: object, status: str = "200 OK") -> bytes:
    body = json.dumps(content).encode()
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


@asynccontextmanager
async def two_hosts(
    tls: ssl.SSLContext | None = None,
    **sign_in: Any,  # noqa: ANN401 - parts of a request
) -> AsyncIterator[TwoHosts]:
    """Start both. Parts of the sign-in's request can be changed."""
    page = answer({"data": [], "pagination": {"total": 0, "has_more": False}})

    async def platform(peer: Peer) -> None:
        while await peer.read_request():
            await peer.send(page)

    async def tokens(peer: Peer) -> None:
        while await peer.read_request():
            await peer.send(answer({"access_token": TOKEN, "expires_in": 3600}))

    async with raw_server(platform, tls) as api, raw_server(tokens, tls) as identity:
        form = (("client_secret", "{secret.client_secret}"), ("refresh_token", "{secret.refresh_token}"))
        request = TokenRequest("POST", f"{identity.url}/token", form=form, expires_in="expires_in")
        headers = (("x-key", "{secret.key}"),)
        changed = replace(request, **sign_in)
        account = Account("acme")
        account.credentials = Credentials.of(SECRETS)
        yield TwoHosts(api, identity, replace(shipped_profile(), headers=headers, sign_in=changed), account)
