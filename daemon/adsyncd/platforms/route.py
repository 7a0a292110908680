"""The route to a platform: the TLS authorities and the proxy. No variable counts unless settings name it."""

import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from adsyncd.config.secret_table import proxy_parts
from adsyncd.credentials import resolve_secret
from adsyncd.errors import CredentialsError, CredentialsMissing
from adsyncd.model.tenant import Platform
from adsyncd.platforms.http1 import HTTP1Transport


@dataclass(frozen=True, slots=True)
class Route:
    """How a client connects: directly without a `proxy`. `error`: why the proxy's address is missing."""

    tls: ssl.SSLContext
    proxy: httpx.Proxy | None = None
    error: CredentialsError | None = None

    @property
    def via(self) -> str:
        """The proxy's host and port; "" without a proxy."""
        return self.proxy.url.netloc.decode("ascii") if self.proxy else ""

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """The proxy's password, also as it stands in the header."""
        if self.proxy is None or self.proxy.auth is None:
            return ()
        user, password = self.proxy.auth
        return SecretStr(password), SecretStr(b64encode(f"{user}:{password}".encode()).decode("ascii"))

    def connections(self, limits: httpx.Limits) -> httpx.AsyncBaseTransport:
        """Return a transport that connects by this route. With an `error`, each request raises it."""
        if self.error is not None:
            return _Unreachable(self.error)
        return HTTP1Transport(self.tls, limits, self.proxy)


class _Unreachable(httpx.AsyncBaseTransport):
    def __init__(self, error: CredentialsError) -> None:
        self._error = error

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - a transport's
        raise self._error.with_traceback(None)


def find_route(
    platform: Platform, public: ssl.SSLContext, trusting: dict[str, ssl.SSLContext], environ: Mapping[str, str]
) -> Route:
    """Return the route that all tenants of a platform use.

    `public`: the TLS context for platforms without authorities of their own. `trusting`: the contexts for those with,
    by PEM, since each costs 30 ms and 700 KB. `environ`: variables that may hold a proxy's address.
    """
    tls = public
    if platform.authorities is not None:
        tls = trusting.get(platform.authorities) or ssl.create_default_context(cadata=platform.authorities)
        trusting[platform.authorities] = tls
    try:
        return Route(tls, _proxy(platform, tls, environ))
    except CredentialsError as error:
        return Route(tls, error=error)


def _proxy(platform: Platform, tls: ssl.SSLContext, environ: Mapping[str, str]) -> httpx.Proxy | None:
    if platform.proxy is None:
        return None
    stated = platform.proxy
    address = stated if isinstance(stated, str) else resolve_secret(stated, environ).get_secret_value()
    try:
        url, login = proxy_parts(address)
    except ValueError as error:
        raise CredentialsMissing(f"what platforms.{platform.name}.proxy leads to {error}") from None
    return httpx.Proxy(url, auth=login, ssl_context=tls if url.startswith("https:") else None)
