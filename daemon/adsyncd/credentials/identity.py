"""Who asks Vault: a token that is renewed or replaced in time, by one attempt at a time that all who wait share."""

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
class Lease:
    """A Vault token, granted or renewed at `granted_s` on the clock's line; a `duration_s` of 0 has no end."""

    token: SecretStr
    granted_s: float
    duration_s: float
    renewable: bool

    def due_s(self, now_s: float) -> float:
        """Return in how many seconds two thirds of it are over, so that there's time left to try more than once."""
        return self.granted_s + self.duration_s * 2 / 3 - now_s if self.duration_s else float("inf")

    def over(self, now_s: float) -> bool:
        """Whether it has come to its end."""
        return 0 < self.duration_s <= now_s - self.granted_s

    def young(self, now_s: float) -> bool:
        """Whether a new one, if this one lives, would hardly be allowed more."""
        return now_s - self.granted_s < _YOUNG_S


class Identity:
    """Keeps a lease. `sign_in` gets a new one, `renew` prolongs one or returns None where that is not possible."""

    def __init__(
        self,
        sign_in: Callable[[], Awaitable[Lease]],
        renew: Callable[[Lease], Awaitable[Lease | None]],
        clock: Clock,
        backoff: Backoff,
    ) -> None:
        self._sign_in = sign_in
        self._renew = renew
        self._clock = clock
        self._backoff = backoff
        self._lease: Lease | None = None
        self._one_at_a_time = anyio.Lock()

    @property
    def due_s(self) -> float:
        """In how many seconds there is something to do to be signed in, or to stay so; not above 0: now."""
        if self._backoff.failure is not None:
            return self._backoff.wait_s
        return 0.0 if self._lease is None else self._lease.due_s(self._clock.monotonic())

    async def lease(self, refused: Lease | None = None) -> Lease:
        """Return a lease that is not `refused`, renewed or replaced if two thirds of it are over.

        A failed sign-in leaves the old one in its place, which is good to its end, and is repeated in time. Raises
        `CredentialsError`.
        """
        lease = self._lease
        if lease is not None and lease is not refused and self.due_s > 0 and not lease.over(self._clock.monotonic()):
            return lease
        async with self._one_at_a_time:
            if self._lease is not None and self._lease is not lease:
                return self._lease  # somebody else's attempt, while this one waited
            try:
                self._backoff.check()
                self._lease = await self._next(None if lease is refused or self._backoff.failure else lease)
            except CredentialsError as error:
                if error.state not in OUTAGES:  # those are everybody's, and waited for elsewhere
                    self._backoff.fail(error)
                if lease is None or lease is refused or lease.over(self._clock.monotonic()):
                    raise
                return lease
            self._backoff.succeed()
            return self._lease

    async def _next(self, lease: Lease | None) -> Lease:
        renewed = None
        if lease is not None and lease.renewable and not lease.over(self._clock.monotonic()):
            renewed = await self._renew(lease)
        return renewed or await self._sign_in()
