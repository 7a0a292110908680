"""Who adsyncd is to Vault: a token that is renewed or replaced in time, and the wrapped secret id behind it."""

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
from pydantic import SecretStr

from adsyncd.clock import Clock
from adsyncd.credentials.backoff import Backoff
from adsyncd.credentials.vault_errors import OUTAGES
from adsyncd.errors import CredentialsError

_YOUNG_S = 30.0


@dataclass(frozen=True, slots=True)
class TokenLease:
    """A Vault token, granted or renewed at the monotonic instant `granted_s`; a `duration_s` of 0 means no end."""

    token: SecretStr
    granted_s: float
    duration_s: float
    renewable: bool

    def due_s(self, now_s: float) -> float:
        """Return the seconds until two thirds of the lease have passed; the last third leaves time for retries."""
        return self.granted_s + self.duration_s * 2 / 3 - now_s if self.duration_s else float("inf")

    def over(self, now_s: float) -> bool:
        """Return whether the lease has expired."""
        return 0 < self.duration_s <= now_s - self.granted_s

    def young(self, now_s: float) -> bool:
        """Return whether the token is so new that another one would hardly be allowed more."""
        return now_s - self.granted_s < _YOUNG_S


class Identity:
    """Keeps one token lease fresh; all callers that wait share one attempt.

    `sign_in` gets a new lease. `renew` extends one, or returns None if that is not possible.
    """

    def __init__(
        self,
        sign_in: Callable[[], Awaitable[TokenLease]],
        renew: Callable[[TokenLease], Awaitable[TokenLease | None]],
        clock: Clock,
        backoff: Backoff,
    ) -> None:
        self._sign_in = sign_in
        self._renew = renew
        self._clock = clock
        self._backoff = backoff
        self._lease: TokenLease | None = None
        self._one_at_a_time = anyio.Lock()

    @property
    def due_s(self) -> float:
        """Seconds until the next sign-in or renewal; 0 or less means now."""
        if self._backoff.failure is not None:
            return self._backoff.wait_s
        return 0.0 if self._lease is None else self._lease.due_s(self._clock.monotonic())

    async def lease(self, refused: TokenLease | None = None) -> TokenLease:
        """Return a lease other than `refused`, renewed or replaced once two thirds of it have passed.

        If a renewal or sign-in fails, the old lease serves until it expires, and the attempt is repeated after a
        backoff. Raises `CredentialsError`.
        """
        lease = self._lease
        if lease is not None and lease is not refused and self.due_s > 0 and not lease.over(self._clock.monotonic()):
            return lease
        async with self._one_at_a_time:
            if self._lease is not None and self._lease is not lease:
                return self._lease  # another caller got it meanwhile
            try:
                self._backoff.check()
                self._lease = await self._next(None if lease is refused or self._backoff.failure else lease)
            except CredentialsError as error:
                if error.state not in OUTAGES:  # VaultConnection backs off from outages, for all identities
                    self._backoff.fail(error)
                if lease is None or lease is refused or lease.over(self._clock.monotonic()):
                    raise
                return lease
            self._backoff.succeed()
            return self._lease

    async def _next(self, lease: TokenLease | None) -> TokenLease:
        renewed = None
        if lease is not None and lease.renewable and not lease.over(self._clock.monotonic()):
            renewed = await self._renew(lease)
        return renewed or await self._sign_in()


class WrappedSecret:
    """Unwraps a secret once and keeps it in memory until a new wrapping token is delivered.

    The deliverer of a wrapping token never sees the secret, and the first unwrapping uses the token up, so that a theft
    shows. `token` reads the token at each call, `unwrap` exchanges one for the secret. Both block, and may raise
    `CredentialsError`.
    """

    def __init__(self, token: Callable[[], SecretStr], unwrap: Callable[[SecretStr], SecretStr]) -> None:
        self._token = token
        self._unwrap = unwrap
        self._used: SecretStr | None = None
        self._secret: SecretStr | None = None
        self._one_at_a_time = threading.Lock()

    def __call__(self) -> SecretStr:
        """Return the secret."""
        with self._one_at_a_time:  # the thread of a caller that timed out may be getting the only answer there is
            token = self._token()
            if self._secret is None or token != self._used:
                self._secret, self._used = self._unwrap(token), token
            return self._secret
