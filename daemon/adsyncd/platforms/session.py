"""A tenant's standing with its platform, which outlives its runs: credentials and token, in memory alone."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

import anyio
import structlog
from opentelemetry.trace import Tracer
from pydantic import SecretStr

from adsyncd.clock import Clock
from adsyncd.credentials import Credentials, CredentialsSource
from adsyncd.errors import AdsyncdError, CredentialsUnavailable, SignInRefused
from adsyncd.model.schedule import share
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.words import Secrets
from adsyncd.telemetry.instruments import SPAN_TOKEN, span

_log = structlog.stdlib.get_logger(__name__)

# Refreshed at about 80 % of its life; the tenants of one platform not all at the same share of it.
_REFRESH_FROM, _REFRESH_SPREAD = 0.75, 0.1

_LEAST_LIFE_S = 1.0  # of a new token from its arrival on: a sign-in may take longer than the life of what it brings
_LATEST_TRY_S = 900.0  # after which a refresh that failed is tried again, however long the token lives
_WATCHED_S = 86_400.0  # for which new versions of the credentials of a token without an end are looked for
_IN_DOUBT_S = 60.0  # after a refresh in vain, in which a 401 hardly means the token
_MOST_REFRESHES = 3  # for 401s, in such a time


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer access token; its ends are on the clock's monotonic line, in seconds: infinite if nobody knows.

    `expires_at`: it is used until then. `may_expire_at`: the platform may refuse it from then on, as a token that
    arrived late may.
    """

    value: SecretStr
    expires_at: float
    may_expire_at: float


class Refusal(Enum):
    """What a 401 means."""

    OF_TOKEN = "another token may help"  # noqa: S105 - no password
    OF_REQUEST = "the token is good for others"
    IN_DOUBT = "one of both, as another try will show"


# Exchanges credentials for a token and its life in seconds, which may be infinite: one request, no retry.
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
        self._accepted_at = -math.inf  # when the last request was sent from which the platform took the token at hand
        self._refused_anew: Token | None = None  # the token that a refresh for a 401 brought in vain
        self._in_doubt_until = -math.inf
        self._refreshes = 0  # for 401s, since it is in doubt what they mean
        self._refreshing = anyio.Lock()
        self._failures = 0
        self._failure: AdsyncdError | None = None
        self.secrets = Secrets()

    async def token(self, sign_in: SignIn) -> Token:
        """Return a token that is good for now, refreshed ahead of its end.

        Raises what reading credentials or signing in raises, unless the token at hand is still good.
        """
        if good := self.at_hand():
            return good
        token = self._token
        try:
            return await self._refresh(token, sign_in)
        except AdsyncdError as error:
            now = self._clock.monotonic()
            if token is None or token is not self._token or now >= token.expires_at:
                raise
            if now >= self._refresh_at:  # else it was put off by another of those who share the failure
                _log.warning("token refresh failed; the current token is still valid", error=str(error))
                self._refresh_at = now + min((token.expires_at - now) / 4, _LATEST_TRY_S)
            return token

    def at_hand(self) -> Token | None:
        """Return the token at hand, or None if there is none or it is to be refreshed."""
        token = self._token
        if token is None:
            return None
        self._heed_rotation(token)
        return token if self._clock.monotonic() < self._refresh_at else None

    def refresh_in(self) -> float:
        """Return in how many seconds the token at hand is to be refreshed, which is not more often than each second."""
        return max(_LEAST_LIFE_S, self._refresh_at - self._clock.monotonic())

    def accept(self, token: Token, sent_at: float) -> None:
        """Take note that the platform took a token from a request that was sent then."""
        if self._token is token:
            self._accepted_at = max(self._accepted_at, sent_at)

    def may_have_expired(self, token: Token) -> bool:
        """Return whether a 401 to a token may mean its end, and so says nothing of the request."""
        return self._clock.monotonic() >= token.may_expire_at

    def refuse(self, token: Token, refused_at: float | None) -> Refusal:
        """Take note that a request was answered 401, and say what that means.

        The token may have been revoked: it is not given out again. But for a while after a refresh that was in vain, it
        takes a second 401 to the same request, which had the first one at `refused_at`: if others' requests were taken
        in between, it is the request's own.
        """
        if self._token is not token:
            return Refusal.OF_TOKEN
        if self._clock.monotonic() < self._in_doubt_until:
            if refused_at is None:
                return Refusal.IN_DOUBT
            if self._accepted_at > refused_at or self._refreshes >= _MOST_REFRESHES:
                return Refusal.OF_REQUEST
            self._refreshes += 1
        self._token = None
        self._doubted = True
        return Refusal.OF_TOKEN

    def refuse_anew(self, token: Token) -> None:
        """Take note that the token that came after a 401 was refused to the same request, too."""
        if self._token is token and self._refused_anew is not token:
            now = self._clock.monotonic()
            if now >= self._in_doubt_until:
                self._refreshes = 1
            self._refused_anew = token
            self._in_doubt_until = now + _IN_DOUBT_S

    def expires_in(self) -> float | None:
        """Return the seconds until the token at hand expires, or None without one or if nobody knows."""
        if self._token is None or math.isinf(self._token.expires_at):
            return None
        return self._token.expires_at - self._clock.monotonic()

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
        endless = math.isinf(token.expires_at)
        until = self._clock.monotonic() + _WATCHED_S if endless else token.expires_at
        newest = self._source.newest(self._tenant.credentials, until)
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
        self._accepted_at = -math.inf
        least = self._clock.monotonic() + _LEAST_LIFE_S
        refresh_s = life_s * (_REFRESH_FROM + _REFRESH_SPREAD * share(self._tenant.id))
        self._refresh_at = max(asked_at + refresh_s, least)
        return Token(value, expires_at=max(asked_at + life_s, least), may_expire_at=asked_at + life_s)
