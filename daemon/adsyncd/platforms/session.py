"""A tenant's standing with its platform, which outlives its runs: credentials and token, in memory alone."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
import structlog
from opentelemetry.trace import Tracer
from pydantic import SecretStr

from adsyncd.clock import Clock
from adsyncd.credentials import Credentials, CredentialsSource
from adsyncd.errors import AdsyncdError, CredentialsUnavailable, SignInRefused
from adsyncd.instruments import SPAN_TOKEN, span
from adsyncd.platforms.words import Secrets
from adsyncd.schedule import share
from adsyncd.tenant import Tenant

_log = structlog.stdlib.get_logger(__name__)

# Refreshed at about 80 % of its life; the tenants of one platform not all at the same share of it.
_REFRESH_FROM, _REFRESH_SPREAD = 0.75, 0.1


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer access token; `expires_at` is on the clock's monotonic line, in seconds."""

    value: SecretStr
    expires_at: float


# Exchanges credentials for a token and its life in seconds: one request, no retry.
SignIn = Callable[[Credentials], Awaitable[tuple[SecretStr, float]]]


class Session:
    """Keeps one tenant signed in. Whoever needs a token meanwhile shares one refresh, and its failure.

    `secrets`: the passwords and tokens that it was signed in with so far.
    """

    def __init__(self, tenant: Tenant, source: CredentialsSource, clock: Clock, tracer: Tracer) -> None:
        self._tenant = tenant
        self._source = source
        self._clock = clock
        self._tracer = tracer
        self._credentials: Credentials | None = None
        self._doubted = False  # the credentials may have been rotated
        self._newest: int | None = None
        self._token: Token | None = None
        self._refresh_at = 0.0
        self._refreshing = anyio.Lock()
        self._failures = 0
        self._failure: AdsyncdError | None = None
        self.secrets = Secrets()

    async def token(self, sign_in: SignIn) -> Token:
        """Return a token that is good for now, refreshed ahead of its end.

        Raises what reading credentials or signing in raises, unless the token at hand is still good.
        """
        token = self._token
        if token is not None:
            self._heed_rotation(token)
            if self._clock.monotonic() < self._refresh_at:
                return token
        try:
            return await self._refresh(token, sign_in)
        except AdsyncdError as error:
            now = self._clock.monotonic()
            if token is None or token is not self._token or now >= token.expires_at:
                raise
            if now >= self._refresh_at:  # else it was put off by another of those who share the failure
                _log.warning("token not refreshed; the one at hand is still good", error=str(error))
                self._refresh_at = now + (token.expires_at - now) / 4
            return token

    def refuse(self, token: Token) -> None:
        """Never give out a token again that the platform answered with 401."""
        if self._token is token:
            self._token = None
            self._doubted = True

    def expires_in(self) -> float | None:
        """Return the seconds until the token at hand expires, or None without one."""
        return None if self._token is None else self._token.expires_at - self._clock.monotonic()

    @property
    def failure(self) -> AdsyncdError | None:
        """Why the last sign-in failed, or None if it did not."""
        return self._failure

    async def _refresh(self, old: Token | None, sign_in: SignIn) -> Token:
        seen = self._failures
        async with self._refreshing:
            if self._token is not None and self._token is not old:
                return self._token  # somebody else's refresh, while this one waited
            if self._failure is not None and self._failures != seen:
                raise self._failure.with_traceback(None)
            try:
                with span(self._tracer, SPAN_TOKEN):
                    self._token = await self._sign_in(sign_in)
            except AdsyncdError as error:
                self._failure = error
                self._failures += 1
                raise
            self._failure = None
            return self._token

    def _heed_rotation(self, token: Token) -> None:
        """See to it that the token is refreshed, once, when its credentials turn out to have a newer version."""
        newest = self._source.newest(self._tenant.credentials, token.expires_at)
        if newest is not None and newest != self._newest:
            self._newest = newest
            if self._credentials is None or self._credentials.version != newest:
                self._doubted = True
                self._refresh_at = self._clock.monotonic()

    async def _read(self) -> Credentials:
        """Read the credentials anew; while that fails for a time, the known ones have to do."""
        known = self._credentials
        try:
            credentials = await self._source.read(self._tenant.credentials)
        except CredentialsUnavailable:
            if known is None:
                raise
            return known
        self._doubted = False
        return credentials

    async def _sign_in(self, sign_in: SignIn) -> Token:
        known = self._credentials
        credentials = await self._read() if known is None or self._doubted else known
        asked_at = self._clock.monotonic()
        try:
            value, life_s = await sign_in(credentials)
        except SignInRefused:
            self._credentials = None
            if credentials is not known:
                raise
            credentials = await self._read()
            if credentials == known:
                raise
            asked_at = self._clock.monotonic()
            value, life_s = await sign_in(credentials)
        self._credentials = credentials
        self._refresh_at = asked_at + life_s * (_REFRESH_FROM + _REFRESH_SPREAD * share(self._tenant.id))
        return Token(value, expires_at=asked_at + life_s)
