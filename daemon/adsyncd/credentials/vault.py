"""Tenants' credentials in Vault, read under the daemon's one identity.

hvac blocks, so its calls run on a few threads of their own, under a deadline. Signing in happens when a read needs it,
once for all that wait: first of all, when two thirds of the lease are over, and when Vault refuses the token.
"""

import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import hvac
import requests
from hvac.exceptions import Forbidden, VaultError
from pydantic import AliasChoices, BaseModel, Field, SecretStr, ValidationError

from adsyncd.clock import Clock
from adsyncd.credentials.account import Credentials, credentials_of
from adsyncd.credentials.refusal import approle_refused, read_refused, token_refused, unanswered
from adsyncd.errors import CredentialsMissing, CredentialsUnavailable

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

_THREADS = 10  # as many as a requests session keeps connections
# Neither hvac nor Vault minds `..` in a path: acme/../globex would be globex's secret.
_PATH = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class AppRole:
    """Sign-in by AppRole. `secret_id` is called at each sign-in; it may raise `CredentialsMissing`."""

    role_id: str
    secret_id: Callable[[], SecretStr] = field(repr=False)


@dataclass(frozen=True, slots=True)
class VaultToken:
    """Sign-in by a token issued elsewhere. `token` is called at each sign-in; it may raise `CredentialsMissing`."""

    token: Callable[[], SecretStr] = field(repr=False)


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """How to reach Vault. `ca_file`: PEM; None means certifi's. `timeout` bounds a read with all that it takes."""

    address: str
    mount: str
    namespace: str | None
    ca_file: Path | None
    timeout: timedelta
    auth: AppRole | VaultToken


@dataclass(frozen=True, slots=True)
class Lease:
    """A client that is signed in, since `granted_s` on the clock's line; a `duration_s` of 0 has no end."""

    client: hvac.Client
    granted_s: float
    duration_s: float
    renewable: bool

    def aged(self, now_s: float) -> bool:
        """Whether two thirds of it are over, so that there's time left to try more than once."""
        return 0 < self.duration_s * 2 / 3 <= now_s - self.granted_s


class _Grant(BaseModel):
    """A token's life, as Vault tells it of one granted or renewed (`auth`) or looked up (`data`)."""

    duration_s: float = Field(validation_alias=AliasChoices("lease_duration", "ttl"))
    renewable: bool = False


class _Login(_Grant):
    client_token: SecretStr


class _Secret(BaseModel):
    data: dict[str, object]


class Vault:
    """Reads secrets. Made by `open_vault`, which owns the session."""

    def __init__(self, access: VaultAccess, clock: Clock, session: requests.Session) -> None:
        self._access = access
        self._clock = clock
        self._session = session
        self._name = f"Vault at {access.address}"
        self._lease: Lease | None = None
        self._signing_in = anyio.Lock()
        self._limiter = anyio.CapacityLimiter(_THREADS)
        self._threads = threading.Semaphore(_THREADS)

    async def read(self, path: str) -> Credentials:
        """Return the credentials at `path` of the mount, in their newest version.

        Raises `CredentialsMissing` for what an operator has to mend, `CredentialsUnavailable` for what may pass.
        """
        if not _PATH.fullmatch(path):
            raise CredentialsMissing(
                f"{path!r} can't be a path in Vault; write names of letters, digits, '_', '-' and '.', with '/' between"
            )
        try:
            with anyio.fail_after(self._access.timeout.total_seconds()):
                return credentials_of(await self._secret(path), f"{self._access.mount}/{path} in {self._name}")
        except TimeoutError as exc:
            raise unanswered(requests.Timeout(), self._name) from exc

    async def _secret(self, path: str) -> object:
        lease = await self._signed_in()
        try:
            return await self._call(partial(self._fetch, lease, path))
        except Forbidden:
            # An expired token, a revoked one and one that may not read this look alike: ask with a new one.
            lease = await self._signed_in(refused=lease)
        try:
            return await self._call(partial(self._fetch, lease, path))
        except Forbidden as exc:
            raise read_refused(exc, self._name, self._access.mount, path) from exc

    async def _signed_in(self, refused: Lease | None = None) -> Lease:
        """Return a lease that is neither `refused` nor old. A failed attempt leaves the old one in its place."""
        lease = self._lease
        if lease is not None and lease is not refused and not lease.aged(self._clock.monotonic()):
            return lease
        async with self._signing_in:
            if self._lease is None or self._lease is lease:
                if lease is None or lease is refused:
                    self._lease = await self._call(self._sign_in)
                else:
                    self._lease = await self._call(partial(self._renew, lease))
            return self._lease

    async def _call(self, blocking: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(self._on_thread, blocking, limiter=self._limiter, abandon_on_cancel=True)

    def _on_thread(self, blocking: Callable[[], T]) -> T:
        # A call whose caller gave up has left the limiter, but its thread hangs on: it is counted here until it ends.
        if not self._threads.acquire(blocking=False):
            raise CredentialsUnavailable(f"{self._name} has yet to answer earlier requests; see whether it is up")
        try:
            return blocking()
        except OSError as exc:
            raise unanswered(exc, self._name) from exc
        finally:
            self._threads.release()

    def _fetch(self, lease: Lease, path: str) -> object:
        try:
            answer = lease.client.secrets.kv.v2.read_secret_version(
                path, mount_point=self._access.mount, raise_on_deleted_version=True
            )
        except Forbidden:
            raise
        except VaultError as exc:
            raise read_refused(exc, self._name, self._access.mount, path) from exc
        return self._part(answer, "data", _Secret).data

    def _sign_in(self) -> Lease:
        match self._access.auth:
            case AppRole(role_id, secret_id):
                return self._by_approle(role_id, secret_id().get_secret_value())
            case VaultToken(token):
                return self._by_token(token().get_secret_value())

    def _by_approle(self, role_id: str, secret_id: str) -> Lease:
        now_s = self._clock.monotonic()
        try:
            answer = self._client("").auth.approle.login(role_id, secret_id, use_token=False)
        except VaultError as exc:
            raise approle_refused(exc, self._name) from exc
        login = self._part(answer, "auth", _Login)
        return Lease(self._client(login.client_token.get_secret_value()), now_s, login.duration_s, login.renewable)

    def _by_token(self, token: str) -> Lease:
        now_s = self._clock.monotonic()
        client = self._client(token)
        try:
            answer = client.auth.token.lookup_self()
        except VaultError as exc:
            raise token_refused(exc, self._name) from exc
        grant = self._part(answer, "data", _Grant)
        return Lease(client, now_s, grant.duration_s, grant.renewable)

    def _renew(self, lease: Lease) -> Lease:
        now_s = self._clock.monotonic()
        if lease.renewable:
            with suppress(VaultError):
                grant = self._part(lease.client.auth.token.renew_self(), "auth", _Grant)
                # Towards the end of a token's longest life renewals get shorter and shorter.
                if grant.duration_s >= lease.duration_s:
                    return replace(lease, granted_s=now_s, duration_s=grant.duration_s)
        return self._sign_in()

    def _client(self, token: str) -> hvac.Client:
        # An empty token is none at all; None would stand for VAULT_TOKEN or ~/.vault-token.
        return hvac.Client(
            self._access.address,
            token=token,
            session=self._session,
            timeout=self._access.timeout.total_seconds(),  # type: ignore[arg-type]  # requests takes fractions
            allow_redirects=False,  # they would carry the token to another host
            namespace=self._access.namespace,
        )

    def _part(self, answer: object, key: str, model: type[M]) -> M:
        try:
            return model.model_validate(answer[key] if isinstance(answer, dict) else answer)
        except (KeyError, ValidationError):
            # `from None`: the error that is left out quotes the answer.
            raise CredentialsUnavailable(
                f"{self._name} does not answer as Vault does; check vault.address (redirects are not followed)"
            ) from None


@asynccontextmanager
async def open_vault(access: VaultAccess, clock: Clock) -> AsyncIterator[Vault]:
    """Open the way to Vault, without a request yet, and close its connections in the end."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy, CA or .netrc but what the settings say
        session.verify = str(access.ca_file) if access.ca_file else True
        yield Vault(access, clock, session)
