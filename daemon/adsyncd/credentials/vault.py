"""Tenants' credentials in Vault, read under the daemon's identity or under one AppRole for each tenant.

The daemon signs in at the start and stays signed in, also while nobody reads. It signs in as a tenant's AppRole when
that tenant's credentials are needed, with a secret id that it issues for this; its own token can't read the secret.
"""

import math
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

import anyio
import structlog
from pydantic import SecretStr

from adsyncd.clock import Clock
from adsyncd.credentials.backoff import Backoff
from adsyncd.credentials.identity import Identity, TokenLease, WrappedSecret
from adsyncd.credentials.sources import Credentials, credentials_of
from adsyncd.credentials.vault_api import Place, VaultApi
from adsyncd.credentials.vault_errors import unexpected
from adsyncd.credentials.vault_http import VaultConnection
from adsyncd.errors import CredentialsError, CredentialsMissing
from adsyncd.host.shortage import shortage
from adsyncd.model.schedule import share
from adsyncd.model.status import VaultState, VaultStatus
from adsyncd.model.tenant import VaultRef
from adsyncd.telemetry.instruments import VAULT_UP, Instruments

T = TypeVar("T")

_log = structlog.stdlib.get_logger(__name__)

_POLLS_AT_ONCE = 2  # of VaultConnection's ten, so that sign-ins and reads come first
_TICK_S = 1.0
_DENIED_AGAIN_S = 3600.0  # a policy hardly changes within minutes
# Neither hvac nor Vault rejects `..` in a path: acme/../globex would read globex's secret.
_PATH = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class AppRole:
    """Sign-in by AppRole. `secret_id` is called at each sign-in and may raise `CredentialsMissing`.

    `wrapped`: it returns a wrapping token in place of the secret id.
    """

    role_id: str
    secret_id: Callable[[], SecretStr] = field(repr=False)
    wrapped: bool = False


@dataclass(frozen=True, slots=True)
class VaultToken:
    """Sign-in by a token issued elsewhere. `token` is called at each sign-in and may raise `CredentialsMissing`."""

    token: Callable[[], SecretStr] = field(repr=False)


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """How to reach Vault. `ca_file`: PEM; None means certifi's. `timeout` bounds each call.

    `poll`: the interval at which Vault is asked for the version of credentials in use.
    """

    address: str
    mount: str
    namespace: str | None
    ca_file: Path | None
    timeout: timedelta
    poll: timedelta
    auth: AppRole | VaultToken


@dataclass(slots=True)
class _Followed:
    """Credentials in use until the monotonic instant `until`. The version is polled again at `due`."""

    until: float
    due: float
    version: int | None = None
    denied: bool = False


class Vault:
    """Reads secrets, and polls Vault for new versions of those in use. Made by `open_vault`."""

    def __init__(
        self, access: VaultAccess, api: VaultApi, clock: Clock, random: Random, instruments: Instruments
    ) -> None:
        self._mount = access.mount
        self._poll_s = access.poll.total_seconds()
        self._api = api
        self._clock = clock
        self._random = random
        self._instruments = instruments
        self._status = VaultStatus(VaultState.UNASKED, clock.now(), None)
        self._outage = Backoff(clock, random, self._note)
        self._connection = VaultConnection(api.name, access.timeout.total_seconds(), self._outage)
        self._refusal = Backoff(clock, random, self._note)
        sign_in = partial(self._connection.ask, self._sign_in_call(access.auth))
        self._daemon = Identity(sign_in, self._renew, clock, self._refusal)
        self._roles: dict[str, Identity] = {}
        self._followed: dict[VaultRef, _Followed] = {}
        self._polling = anyio.CapacityLimiter(_POLLS_AT_ONCE)

    @property
    def status(self) -> VaultStatus:
        """Whether Vault answers and lets the daemon sign in. Errors of one tenant's role or path do not count."""
        return self._status

    async def read(self, ref: VaultRef) -> Credentials:
        """Return the newest version of the credentials at `ref`.

        Raises `CredentialsMissing` if an operator has to act, `CredentialsUnavailable` if the error may pass.
        """
        if not _PATH.fullmatch(ref.path):
            raise CredentialsMissing(
                f"{ref.path!r} can't be a path in Vault; "
                "write names of letters, digits, '_', '-' and '.', with '/' between"
            )
        content, version = await self._ask_as(ref, partial(self._api.secret, keys=ref.keys))
        if ref in self._followed:
            self._followed[ref].version = version
        return replace(credentials_of(content, f"{self._mount}/{ref.path} in {self._api.name}", ref), version=version)

    def newest(self, ref: VaultRef, until: float) -> int | None:
        """Return the newest version seen so far, if any, and have `run` poll until the monotonic instant `until`.

        Sends no request itself.
        """
        followed = self._followed.get(ref)
        if followed is None:
            followed = self._followed[ref] = _Followed(until, self._next_poll(ref))
        followed.until = max(followed.until, until)
        return followed.version

    async def run(self) -> None:
        """Stay signed in, and poll for new versions of credentials in use, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stay_signed_in)
            while True:
                now = self._clock.monotonic()
                for ref, followed in list(self._followed.items()):
                    if followed.until <= now:
                        del self._followed[ref]
                    elif followed.due <= now:
                        followed.due = math.inf
                        tasks.start_soon(self._poll, ref, followed)
                await anyio.sleep(min(_TICK_S, self._poll_s))

    async def _stay_signed_in(self) -> None:
        while True:
            with self._surviving():
                lease = await self._daemon.lease()
                await self._is_alive(lease)  # only for the status, which stays true while nobody reads
            await anyio.sleep(self._outage.wait_s or max(0.0, min(self._daemon.due_s, self._poll_s)))

    async def _poll(self, ref: VaultRef, followed: _Followed) -> None:
        denied = False
        async with self._polling:
            with self._surviving():
                try:
                    followed.version = await self._ask_as(ref, self._api.version)
                except CredentialsError as error:
                    denied = error.state == VaultState.DENIED
                    if denied and not followed.denied:
                        _log.warning(
                            "rotations go unnoticed until the platform refuses", path=ref.path, error=str(error)
                        )
            followed.denied = denied
            followed.due = self._clock.monotonic() + _DENIED_AGAIN_S if denied else self._next_poll(ref)

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Turn every error into a state that is retried: one that left `run` would end the daemon."""
        try:
            yield
        except CredentialsError:  # the status shows it
            pass
        except Exception as exc:  # noqa: BLE001 - the last line of defence; its text may hold a secret
            self._outage.fail(unexpected(exc, self._api.name))

    def _next_poll(self, ref: VaultRef) -> float:
        """Return when to poll next. Each reference has its own phase of the interval, so that polls are spread."""
        now = self._clock.monotonic()
        return now + self._poll_s - (now - share(ref.path) * self._poll_s) % self._poll_s

    async def _ask_as(self, ref: VaultRef, ask: Callable[[SecretStr, str, str], T]) -> T:
        """Call `ask` under the identity that `ref` names. A token that may have died is replaced."""
        if ref.role is None:
            return await self._ask(self._daemon, lambda token: ask(token, "the daemon", ref.path))
        if ref.role not in self._roles:
            self._roles[ref.role] = self._as_role(ref.role)
        return await self._ask(self._roles[ref.role], lambda token: ask(token, f"the AppRole {ref.role}", ref.path))

    async def _ask(self, identity: Identity, ask: Callable[[SecretStr], T]) -> T:
        lease = await identity.lease()
        try:
            return await self._connection.ask(partial(ask, lease.token))
        except CredentialsMissing as error:
            # Vault answers the same to an expired token, a revoked one and a missing right; a new token may have it.
            if error.state != VaultState.DENIED:
                raise
            if lease.young(self._clock.monotonic()) and await self._is_alive(lease):
                raise
        lease = await identity.lease(refused=lease)
        return await self._connection.ask(partial(ask, lease.token))

    async def _is_alive(self, lease: TokenLease) -> bool:
        try:
            await self._connection.ask(partial(self._api.look_up, lease.token))
        except CredentialsMissing:
            return False
        return True

    def _as_role(self, role: str) -> Identity:
        async def sign_in() -> TokenLease:
            return await self._ask(self._daemon, lambda token: self._api.sign_in_as(token, role))

        return Identity(sign_in, self._renew, self._clock, Backoff(self._clock, self._random))

    def _sign_in_call(self, auth: AppRole | VaultToken) -> Callable[[], TokenLease]:
        match auth:
            case AppRole(role_id, delivered, wrapped):
                secret_id = WrappedSecret(delivered, self._api.unwrap) if wrapped else delivered
                return lambda: self._api.sign_in(role_id, secret_id())
            case VaultToken(token):
                return lambda: self._api.look_up(token())

    async def _renew(self, lease: TokenLease) -> TokenLease | None:
        return await self._connection.ask(partial(self._api.renew, lease))

    def _note(self) -> None:
        """Update the status, and log each change once."""
        error = self._outage.failure or self._refusal.failure
        if shortage(error):
            return  # this machine's state, not Vault's
        state = VaultState.UP if error is None else VaultState(error.state or VaultState.NO_SECRET)
        before = self._status
        since = before.since if state is before.state else self._clock.now()
        self._status = VaultStatus(state, since, None if error is None else str(error))
        if state is before.state:
            return
        self._instruments.set(VAULT_UP, int(error is None))
        if error is not None:
            log = _log.error if isinstance(error, CredentialsMissing) else _log.warning
            log("vault fails", state=state, error=str(error))
        elif before.error is not None:
            _log.info("vault works again", was=before.state)


@asynccontextmanager
async def open_vault(
    access: VaultAccess, clock: Clock, random: Random, instruments: Instruments
) -> AsyncIterator[Vault]:
    """Yield a `Vault`, without any request yet, and close its connections at the end."""
    place = Place(access.address, access.mount, access.namespace, access.ca_file, access.timeout.total_seconds())
    with closing(VaultApi(place, clock)) as api:
        yield Vault(access, api, clock, random, instruments)
