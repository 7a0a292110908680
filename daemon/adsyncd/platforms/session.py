"""A tenant's session with its platform: its credentials and token, in memory only. A session outlives the runs."""

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
from adsyncd.errors import AdsyncdError, CredentialsUnavailable, RunCancelled, SignInRefused
from adsyncd.model.schedule import share
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.words import Secrets
from adsyncd.telemetry.instruments import SPAN_TOKEN, span

_log = structlog.stdlib.get_logger(__name__)

# A token is refreshed at about 80 % of its life, at another share for each tenant of a platform.
_REFRESH_FROM, _REFRESH_SPREAD = 0.75, 0.1

_LEAST_LIFE_S = 1.0  # of a token, from its arrival: a sign-in may take longer than its token lives
_LATEST_TRY_S = 900.0  # the longest time from a failed refresh to the next try
_WATCHED_S = 86_400.0  # a token without an end: how long to look for new versions of its credentials
_IN_DOUBT_S = 60.0  # after a refresh in vain: a 401 hardly means the token
_MOST_REFRESHES = 3  # for 401s, within that time


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, had with `credentials`. Its ends are monotonic instants in seconds, infinite if unknown.

    `expires_at`: adsyncd uses the token until then. `may_expire_at`: the platform may refuse it from then on, earlier
    than `expires_at` if the token arrived late.
    """

    value: SecretStr
    expires_at: float
    may_expire_at: float
    credentials: Credentials


class Refusal(Enum):
    """What a 401 means."""

    OF_TOKEN = "another token may help"  # noqa: S105 - no password
    OF_REQUEST = "the token is good for others"
    IN_DOUBT = "one of the two, as another try will show"


# Exchanges credentials for a token and its life in seconds, which may be infinite: one request or none, no retry.
SignIn = Callable[[Credentials], Awaitable[tuple[SecretStr, float]]]


class Session:
    """Keeps one tenant signed in. Requests that need a token during a refresh share it, and its failure.

    `secrets`: the credentials and tokens used so far. `refused`: the token that the platform refused last, until the
    next sign-in has ended. `read_at`: when the credentials were read first, in monotonic seconds.
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
        self._accepted_at = -math.inf  # when the latest request was sent whose token, the one at hand, was accepted
        self._refused_anew: Token | None = None  # the token from a refresh after a 401, refused to the same request
        self._in_doubt_until = -math.inf
        self._refreshes = 0  # for 401s, since their meaning is in doubt
        self._refreshing = anyio.Lock(fast_acquire=True)
        self._failures = 0
        self._failure: AdsyncdError | None = None
        self.refused: SecretStr | None = None
        self.read_at: float | None = None
        self.secrets = Secrets()

    async def token(self, sign_in: SignIn) -> Token:
        """Return a valid token, refreshed ahead of its end.

        Raises what reading credentials or signing in raises, unless the token at hand is still valid.
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
            if now >= self._refresh_at:  # else another request that shares the failure has put it off
                _log.warning("token refresh failed; the current token is still valid", error=str(error))
                self._refresh_at = now + min((token.expires_at - now) / 4, _LATEST_TRY_S)
            return token

    def at_hand(self) -> Token | None:
        """Return the token at hand, or None if there is none or it needs a refresh."""
        token = self._token
        if token is None:
            return None
        self._heed_rotation(token)
        return token if self._clock.monotonic() < self._refresh_at else None

    def refresh_in(self) -> float:
        """Return the seconds until the token at hand needs a refresh, at least one."""
        return max(_LEAST_LIFE_S, self._refresh_at - self._clock.monotonic())

    def accept(self, token: Token, sent_at: float) -> None:
        """Note that the platform accepted the token of a request that was sent at `sent_at`."""
        if self._token is token:
            self._accepted_at = max(self._accepted_at, sent_at)

    def may_have_expired(self, token: Token) -> bool:
        """Return whether a 401 may mean that the token has expired, and so says nothing about the request."""
        return self._clock.monotonic() >= token.may_expire_at

    def refuse(self, token: Token, refused_at: float | None) -> Refusal:
        """Note a 401 to a request, and return what it means.

        The token may have been revoked, so it is not used again. For a while after a refresh in vain, a second 401 to
        the same request decides (`refused_at`: when it got the first): if the platform accepted the token from another
        request in between, the 401 means this request.
        """
        if self._token is not token:
            return Refusal.OF_TOKEN
        if self._clock.monotonic() < self._in_doubt_until:
            if refused_at is None:
                return Refusal.IN_DOUBT
            if self._accepted_at > refused_at or self._refreshes >= _MOST_REFRESHES:
                return Refusal.OF_REQUEST
            self._refreshes += 1
        self.refused = token.value
        self._token = None
        self._doubted = True
        return Refusal.OF_TOKEN

    def refuse_anew(self, token: Token) -> None:
        """Note that the token from a refresh after a 401 was refused to the same request too."""
        if self._token is token and self._refused_anew is not token:
            now = self._clock.monotonic()
            if now >= self._in_doubt_until:
                self._refreshes = 1
            self._refused_anew = token
            self._in_doubt_until = now + _IN_DOUBT_S

    def expires_in(self) -> float | None:
        """Return the seconds until the token at hand expires, or None without a token or if that is unknown."""
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
                return self._token  # from the refresh that this call waited for
            if self._failure is not None and self._failures != seen:
                raise self._failure.with_traceback(None)
            try:
                with span(self._tracer, SPAN_TOKEN):
                    self._token = await self._sign_in(sign_in)
            except RunCancelled:
                raise  # says nothing about the sign-in
            except AdsyncdError as error:
                if isinstance(error, SignInRefused):
                    self.refused = None  # or one odd answer would end the use of a token that does not expire
                self._failure = error
                self._failures += 1
                raise
            self._failure = self.refused = None
            return self._token

    def _heed_rotation(self, token: Token) -> None:
        """Have the token refreshed, once, when its credentials have a newer version."""
        endless = math.isinf(token.expires_at)
        until = self._clock.monotonic() + _WATCHED_S if endless else token.expires_at
        newest = self._source.newest(self._tenant.credentials, until)
        if newest is not None and newest != self._newest:
            self._newest = newest
            if self._credentials is None or self._credentials.version != newest:
                self._doubted = True
                self._refresh_at = self._clock.monotonic()

    async def _read(self) -> Credentials:
        """Read the credentials again. If that fails for now, return the known ones."""
        known = self._credentials
        try:
            credentials = await self._source.read(self._tenant.credentials)
        except CredentialsUnavailable:
            if known is None:
                raise
            return known
        self._doubted = False
        if self.read_at is None:
            self.read_at = self._clock.monotonic()
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
        return Token(value, max(asked_at + life_s, least), asked_at + life_s, credentials)
