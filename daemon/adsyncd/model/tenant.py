"""What one tenant is, as plain values: the drop-ins are read into these, and everything else works on them."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from adsyncd.rate.dialect import STANDARD, Dialect
from adsyncd.rate.quota import ClientQuota, Quota

TENANT_ID = "[a-z0-9][a-z0-9-]{0,62}"  # of the whole id, as a regular expression


@dataclass(frozen=True, slots=True)
class Every:
    """A run each `interval`, at a phase that is fixed by the tenant's id."""

    interval: timedelta


@dataclass(frozen=True, slots=True)
class Cron:
    """Runs at the instants of a five-field crontab `expression` (0 and 7 are Sunday) in the IANA `timezone`."""

    expression: str
    timezone: str


Schedule = Every | Cron


@dataclass(frozen=True, slots=True)
class VaultRef:
    """Credentials in Vault: KV version 2, `path` below the mount, keys `email` and `password`.

    `role`: the AppRole under which they are read, or None for the daemon's own identity.
    """

    path: str
    role: str | None = None


@dataclass(frozen=True, slots=True)
class EnvRef:
    """Credentials in the environment: `{prefix}_EMAIL` and `{prefix}_PASSWORD`."""

    prefix: str


@dataclass(frozen=True, slots=True)
class SystemdRef:
    """Credentials in a file of `$CREDENTIALS_DIRECTORY`: JSON with `email` and `password`."""

    name: str


CredentialsRef = VaultRef | EnvRef | SystemdRef


@dataclass(frozen=True, slots=True)
class InCredential:
    """A secret in a credential that systemd hands over."""

    name: str


@dataclass(frozen=True, slots=True)
class InVariable:
    """A secret in an environment variable."""

    name: str


@dataclass(frozen=True, slots=True)
class InFile:
    """A secret that is all there is in a file."""

    path: Path


SecretPlace = InCredential | InVariable | InFile


@dataclass(frozen=True, slots=True)
class Platform:
    """An ad platform: its API's address (no trailing slash), and what it allows to all its tenants together.

    `dialect`: how it speaks of its limits. `proxy`: the address of the proxy that leads there, or where that lies if a
    password is in it. `authorities`: the PEM of those who may vouch for it, in place of the public ones.
    """

    name: str
    base_url: str
    quota: Quota | None
    dialect: Dialect = STANDARD
    proxy: str | SecretPlace | None = None
    authorities: str | None = field(default=None, repr=False)


class PushPolicy(StrEnum):
    """Which campaigns a run pushes: all of them, or those whose content was not pushed before."""

    ALL = "all"
    CHANGED = "changed"


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
    """When a tenant's runs deserve a human's attention.

    `min_success_rate` is a share, 0 to 1; `failures` how many runs may go wrong in a row, until there is an alert.
    """

    min_success_rate: float
    failures: int


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant, with every default filled in. `id` is the drop-in's file name; `client_id` is what is metered.

    `weight`: its share of a platform's quota beside the other tenants'.
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

    @property
    def client_quota(self) -> ClientQuota:
        """What bounds its requests, without the tenant."""
        platform = self.platform
        return ClientQuota(platform.name, self.client_id, self.quota, platform.quota, self.weight, self.sync.timeout)
