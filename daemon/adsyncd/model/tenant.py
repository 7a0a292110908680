"""A tenant as plain values: config reads drop-ins into these, and everything else works on them."""

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from adsyncd.model.profile import Profile, Texts, stated
from adsyncd.rate.quota import ClientQuota, Quota

EMAIL_AND_PASSWORD = ("email", "password")
TENANT_ID = "[a-z0-9][a-z0-9-]{0,62}"  # a regular expression for the whole id


@dataclass(frozen=True, slots=True)
class Every:
    """A run each `interval`, at a phase fixed by the tenant's id."""

    interval: timedelta


@dataclass(frozen=True, slots=True)
class Cron:
    """Runs at the instants of a five-field crontab `expression` (0 and 7 are Sunday) in the IANA `timezone`."""

    expression: str
    timezone: str


Schedule = Every | Cron


@dataclass(frozen=True, slots=True)
class VaultRef:
    """Credentials in Vault: KV version 2, `path` below the mount, with these `keys`.

    `role`: the AppRole that reads them, or None for the daemon's own identity. `basic`: the keys that are user and
    password of HTTP's Basic authentication; `in_headers`: the keys whose values stand in header fields.
    """

    path: str
    role: str | None = None
    keys: tuple[str, ...] = EMAIL_AND_PASSWORD
    basic: tuple[str, ...] = EMAIL_AND_PASSWORD
    in_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvRef:
    """Credentials in the environment: `{prefix}_EMAIL` for the key `email`, and so on. See `VaultRef`."""

    prefix: str
    keys: tuple[str, ...] = EMAIL_AND_PASSWORD
    basic: tuple[str, ...] = EMAIL_AND_PASSWORD
    in_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SystemdRef:
    """Credentials in a file of `$CREDENTIALS_DIRECTORY`: JSON with these `keys`. See `VaultRef`."""

    name: str
    keys: tuple[str, ...] = EMAIL_AND_PASSWORD
    basic: tuple[str, ...] = EMAIL_AND_PASSWORD
    in_headers: tuple[str, ...] = ()


CredentialsRef = VaultRef | EnvRef | SystemdRef


@dataclass(frozen=True, slots=True)
class InCredential:
    """A secret in one of systemd's credentials."""

    name: str


@dataclass(frozen=True, slots=True)
class InVariable:
    """A secret in an environment variable."""

    name: str


@dataclass(frozen=True, slots=True)
class InFile:
    """A secret that is a file's whole content."""

    path: Path


SecretPlace = InCredential | InVariable | InFile


@dataclass(frozen=True, slots=True)
class Platform:
    """An ad platform: its API's address (no trailing slash), and its quota for all its tenants together.

    `profile`: its API. `sign_in_url`: an address in place of the profile's. `proxy`: the address of the proxy to it, or
    its place if it has a password. `authorities`: the PEM of its certificate authorities, in place of the public ones.
    """

    name: str
    base_url: str
    profile: Profile
    quota: Quota | None = None
    sign_in_url: str | None = None
    proxy: str | SecretPlace | None = None
    authorities: str | None = field(default=None, repr=False)


class PushPolicy(StrEnum):
    """The campaigns that a run pushes: all, those whose content was not pushed before, or none: it only stores them."""

    ALL = "all"
    CHANGED = "changed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """How a run goes about it. `timeout` bounds one request, all phases together, without its wait for quota.

    `concurrency`: the most pushes in flight at once.
    """

    page_size: int
    concurrency: int
    timeout: timedelta
    max_attempts: int
    run_deadline: timedelta
    push: PushPolicy
    list_cache: timedelta


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """When a tenant's alerts fire.

    `min_success_rate`: a share, 0 to 1. `failures`: failed runs in a row before an alert fires.
    """

    min_success_rate: float
    failures: int


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant, with all defaults filled in. `id` is the drop-in's file name; the platform meters `client_id`.

    `weight`: its share of the platform's quota, relative to other tenants. `vars`: values for the platform's profile.
    """

    id: str
    client_id: str
    platform: Platform
    enabled: bool
    schedule: Schedule
    credentials: CredentialsRef
    quota: Quota
    sync: SyncSettings
    alerts: AlertSettings
    weight: int = 1
    vars: Texts = ()

    @property
    def account_hash(self) -> str:
        """A name for its account and the way to sign in. Runs have it on record, so it stays between versions."""
        platform = self.platform
        place = platform.name, platform.base_url, platform.sign_in_url
        account = *place, self.client_id, stated(self.credentials), platform.profile.signing_in, self.vars
        return hashlib.sha256(repr(account).encode()).hexdigest()[:16]

    @property
    def client_quota(self) -> ClientQuota:
        """The bounds of its requests, without the tenant."""
        platform, profile = self.platform, self.platform.profile
        costs = [profile.listing.cost, profile.push.cost] if profile.push else [profile.listing.cost]
        return ClientQuota(
            platform.name,
            self.client_id,
            self.quota,
            platform.quota,
            self.weight,
            self.sync.timeout,
            (min(costs), max(costs)),
        )

    @property
    def usual_cost(self) -> int:
        """The permits that most requests of its runs take: pushes, or pages if it only pulls."""
        push = None if self.sync.push is PushPolicy.NONE else self.platform.profile.push
        return push.cost if push else self.platform.profile.listing.cost
