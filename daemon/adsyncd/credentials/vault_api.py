"""The part of Vault's HTTP API that adsyncd uses, through hvac: blocking calls, checked answers, explained errors."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar, TypeVarTuple

import hvac
import requests
from hvac.exceptions import Forbidden, InvalidRequest, VaultError
from pydantic import AfterValidator, AliasChoices, AliasPath, BaseModel, Field, SecretStr, ValidationError

from adsyncd.clock import Clock
from adsyncd.credentials import vault_errors
from adsyncd.credentials.identity import TokenLease
from adsyncd.credentials.sources import fits_header
from adsyncd.credentials.vault_http import BoundedTransport, ExchangeAdapter
from adsyncd.errors import CredentialsError
from adsyncd.model.tenant import EMAIL_AND_PASSWORD

M = TypeVar("M", bound=BaseModel)
Details = TypeVarTuple("Details")

_LONGEST_S = 1 << 33  # 272 years; Vault itself counts up to 292

# The `creation_path` of a wrapped secret id. Anything else wrapped may be a secret that an attacker chose.
_SECRET_ID_PATH = re.compile(r"auth/approle/role/[^/]+/secret-id")


@dataclass(frozen=True, slots=True)
class Place:
    """Vault's address. `ca_file`: PEM; None means certifi's. `timeout_s` bounds each connect and each response."""

    address: str
    mount: str
    namespace: str | None
    ca_file: Path | None
    timeout_s: float


class _Grant(BaseModel):
    """A token's life in whole seconds: in `auth` if it was granted or renewed, in `data` if it was looked up."""

    duration_s: int = Field(
        strict=True,
        ge=0,
        le=_LONGEST_S,
        validation_alias=AliasChoices(AliasPath("auth", "lease_duration"), AliasPath("data", "ttl")),
    )
    renewable: bool = Field(
        default=False, validation_alias=AliasChoices(AliasPath("auth", "renewable"), AliasPath("data", "renewable"))
    )


def _sendable(token: SecretStr) -> SecretStr:
    if not fits_header(token.get_secret_value()):
        raise ValueError
    return token


class _Login(_Grant):
    token: Annotated[SecretStr, AfterValidator(_sendable)] = Field(validation_alias=AliasPath("auth", "client_token"))


class _Secret(BaseModel):
    content: dict[str, object] = Field(validation_alias=AliasPath("data", "data"))
    version: int = Field(validation_alias=AliasPath("data", "metadata", "version"))


class _Metadata(BaseModel):
    version: int = Field(validation_alias=AliasPath("data", "current_version"))


class _RoleId(BaseModel):
    value: str = Field(validation_alias=AliasPath("data", "role_id"))


class _SecretId(BaseModel):
    value: SecretStr = Field(validation_alias=AliasPath("data", "secret_id"))


class _Wrapping(BaseModel):
    path: str = Field(validation_alias=AliasPath("data", "creation_path"))


class VaultApi:
    """A client of the Vault at `place`. All methods block, and raise `CredentialsError` and OSError."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self.name = f"Vault at {place.address}"
        self._place = place
        self._clock = clock
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, BoundedTransport())
        self._session.trust_env = False  # ignore proxies, CAs and .netrc of the environment
        self._session.verify = str(place.ca_file) if place.ca_file else True

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def sign_in(self, role_id: str, secret_id: SecretStr) -> TokenLease:
        """Sign in as the daemon, by AppRole."""
        with self._explained(vault_errors.sign_in_refused):
            return self._login(role_id, secret_id, "the daemon")

    def sign_in_as(self, token: SecretStr, role: str) -> TokenLease:
        """Sign in as the AppRole `role`, with a new secret id that `token` issues."""
        with self._explained(vault_errors.role_refused, role):
            approle = self._client(token).auth.approle
            role_id = self._read(_RoleId, approle.read_role_id(role)).value
            secret_id = self._read(_SecretId, approle.generate_secret_id(role)).value
            return self._login(role_id, secret_id, f"the AppRole {role}")

    def look_up(self, token: SecretStr) -> TokenLease:
        """Return the lease of a token that was issued elsewhere."""
        now_s = self._clock.monotonic()
        with self._explained(vault_errors.token_refused):
            grant = self._read(_Grant, self._client(token).auth.token.lookup_self())
        return self._alive(TokenLease(token, now_s, grant.duration_s, grant.renewable), "the daemon")

    def renew(self, lease: TokenLease) -> TokenLease | None:
        """Return the lease extended to its full length, or None if that is no longer possible."""
        now_s = self._clock.monotonic()
        try:
            answer = self._client(lease.token).auth.token.renew_self()
        except (Forbidden, InvalidRequest):
            return None
        except VaultError as exc:
            raise vault_errors.unanswered(exc, self.name) from exc
        grant = self._read(_Grant, answer)
        renewed = replace(lease, granted_s=now_s, duration_s=grant.duration_s)
        # Close to a token's maximum TTL, each renewal is shorter than the one before.
        whole = grant.duration_s >= lease.duration_s
        return renewed if whole and not renewed.over(self._clock.monotonic()) else None

    def unwrap(self, token: SecretStr) -> SecretStr:
        """Return the secret id that `token` wraps. This uses the token up."""
        with self._explained(vault_errors.unwrapping_refused):
            lookup = {"token": token.get_secret_value()}
            looked_up = self._client(SecretStr("")).adapter.post("/v1/sys/wrapping/lookup", json=lookup)
            if not _SECRET_ID_PATH.fullmatch(self._read(_Wrapping, looked_up).path):
                raise vault_errors.wrapped_elsewhere(self.name)
            return self._read(_SecretId, self._client(token).adapter.post("/v1/sys/wrapping/unwrap")).value

    def secret(
        self, token: SecretStr, who: str, path: str, keys: tuple[str, ...] = EMAIL_AND_PASSWORD
    ) -> tuple[dict[str, object], int]:
        """Return the content and version of the newest secret at `path`, which needs `keys`.

        Errors call the reader `who`.
        """
        mount = self._place.mount
        with self._explained(vault_errors.read_refused, who, mount, path, keys):
            answer = self._client(token).secrets.kv.v2.read_secret_version(
                path, mount_point=mount, raise_on_deleted_version=True
            )
        match answer:
            case {"data": dict(content)} if not {"data", "metadata"} <= content.keys() and content.keys() & set(keys):
                raise vault_errors.version_1(self.name, mount, path)  # KV version 2 has them one level deeper
        secret = self._read(_Secret, answer, vault_errors.unreadable(self.name, mount, path, keys))
        return secret.content, secret.version

    def version(self, token: SecretStr, who: str, path: str) -> int:
        """Return the newest version of the secret at `path`, without its content."""
        mount = self._place.mount
        with self._explained(vault_errors.look_refused, who, mount, path):
            answer = self._client(token).secrets.kv.v2.read_secret_metadata(path, mount_point=mount)
        return self._read(_Metadata, answer, vault_errors.unreadable(self.name, mount, path)).version

    def _login(self, role_id: str, secret_id: SecretStr, who: str) -> TokenLease:
        now_s = self._clock.monotonic()
        answer = self._client(SecretStr("")).auth.approle.login(role_id, secret_id.get_secret_value(), use_token=False)
        login = self._read(_Login, answer)
        return self._alive(TokenLease(login.token, now_s, login.duration_s, login.renewable), who)

    def _alive(self, lease: TokenLease, who: str) -> TokenLease:
        if lease.over(self._clock.monotonic()):
            raise vault_errors.too_short(self.name, who, lease.duration_s)
        return lease

    def _client(self, token: SecretStr) -> hvac.Client:
        # An empty token means none; None would mean VAULT_TOKEN or ~/.vault-token.
        return hvac.Client(
            self._place.address,
            token=token.get_secret_value(),
            session=self._session,
            adapter=ExchangeAdapter,
            timeout=self._place.timeout_s,  # type: ignore[arg-type]  # requests accepts fractions
            allow_redirects=False,  # they would carry the token to another host
            namespace=self._place.namespace,
        )

    @contextmanager
    def _explained(
        self,
        explain: Callable[[VaultError, str, *Details], CredentialsError],
        *details: *Details,
    ) -> Iterator[None]:
        try:
            yield
        except VaultError as exc:
            raise explain(exc, self.name, *details) from exc

    def _read(self, model: type[M], answer: object, error: CredentialsError | None = None) -> M:
        try:
            return model.model_validate(answer)
        except ValidationError:
            # `from None`: the hidden error quotes the answer.
            raise error or vault_errors.not_vault(self.name) from None
