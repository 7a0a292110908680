"""A tenant's drop-in: every key, its default and its bounds; and the `Tenant` that it describes."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from adsyncd.config.diagnostics import Fault, wrong
from adsyncd.config.field_types import (
    AnyDuration,
    ClientId,
    ConfigTable,
    CredentialName,
    Crontab,
    Flag,
    Interval,
    PlatformName,
    Share,
    SomeDuration,
    SomeText,
    VariableName,
    VaultPath,
    Whole,
)
from adsyncd.model.tenant import (
    AlertSettings,
    CredentialsRef,
    Cron,
    EnvRef,
    Every,
    Platform,
    PushPolicy,
    Schedule,
    SyncSettings,
    SystemdRef,
    Tenant,
    VaultRef,
)
from adsyncd.rate.quota import Quota, Shape, Window


class WindowTable(ConfigTable):
    """At most `requests` in any `per`."""

    requests: Whole = Field(ge=1, le=1_000_000, examples=[200])
    per: SomeDuration = Field(examples=["1h"])


class QuotaTable(ConfigTable):
    """What a platform allows: at most `requests` in any `per`, and what the windows `also` say."""

    requests: Whole = Field(ge=1, le=1_000_000, examples=[10])
    per: SomeDuration = Field(examples=["60s"])
    shape: Shape = Shape.AUTO
    arrival_bound: SomeDuration | None = Field(None, examples=["500ms"])
    also: tuple[WindowTable, ...] = Field((), max_length=4, examples=[[{"requests": 200, "per": "1h"}]])

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({self.per, *(window.per for window in self.also)}) <= len(self.also):
            raise wrong("has two windows of the same length, of which the stricter one alone would count", echo=False)
        return self

    def quota(self) -> Quota:
        """Return it as everything inside knows it."""
        also = tuple(Window(window.requests, window.per) for window in self.also)
        return Quota(self.requests, self.per, self.shape, self.arrival_bound, also)


class ScheduleTable(ConfigTable):
    """When a tenant is synced: `every` so often, or by `cron` in a `timezone`."""

    every: Interval | None = Field(None, examples=["15m"])
    cron: Crontab | None = Field(None, examples=["*/15 * * * *"])
    timezone: SomeText = Field("UTC", examples=["Europe/Berlin"])

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise wrong("must hold one of every and cron", echo=False)
        if self.cron is None and "timezone" in self.model_fields_set:
            raise wrong("has a timezone, which goes with cron alone", echo=False)
        return self

    def schedule(self) -> Schedule:
        """Return it as everything inside knows it."""
        if self.every is not None:
            return Every(self.every)
        return Cron(str(self.cron), self.timezone)


class CredentialsTable(ConfigTable):
    """Where a tenant's email and password are kept, in one of three places."""

    vault: VaultPath | None = Field(None, examples=["adsyncd/acme"])
    env: VariableName | None = Field(None, examples=["ACME"])
    credential: CredentialName | None = Field(None, examples=["acme"])

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.vault, self.env, self.credential).count(None) != 2:  # noqa: PLR2004 - two of the three
            raise wrong("must hold one of vault, env and credential", echo=False)
        return self

    def ref(self, role: str | None) -> CredentialsRef:
        """Return it as everything inside knows it. `role`: as whom it is read, if it is in Vault."""
        if self.vault is not None:
            return VaultRef(self.vault, role)
        return EnvRef(self.env) if self.env is not None else SystemdRef(str(self.credential))


class AuthTable(ConfigTable):
    """As whom a tenant's credentials are read from Vault."""

    role: CredentialName | None = Field(None, examples=["acme"])


class SyncTable(ConfigTable):
    """How a run goes about it."""

    page_size: Whole = Field(10, ge=1, le=1000)
    concurrency: Whole = Field(5, ge=1, le=100)
    timeout: SomeDuration = timedelta(seconds=10)
    max_attempts: Whole = Field(5, ge=1, le=20)
    run_deadline: Interval = timedelta(minutes=30)
    push: PushPolicy = PushPolicy.ALL
    list_cache: AnyDuration = timedelta(0)


class AlertsTable(ConfigTable):
    """When a tenant's runs deserve a human's attention."""

    min_success_rate: Share = 0.9
    failures: Whole = Field(3, ge=1, le=100)


def below_mount(path: str, mount: str) -> str | None:
    """Return what was meant by a path of Vault's API, such as `secret/data/acme`; None if `path` is none of its."""
    bare = path.removeprefix("v1/")
    for head in (f"{mount}/data/", f"{mount}/metadata/", *([f"{mount}/"] if bare != path else [])):
        if bare.startswith(head):
            return bare.removeprefix(head)
    return None


class TenantDefaults(ConfigTable):
    """The keys of a drop-in, none of them required: what `[defaults]` may hold."""

    client_id: ClientId | None = Field(None, examples=["acme"])
    platform: PlatformName | None = Field(None, examples=["mixo"])
    enabled: Flag = True
    schedule: ScheduleTable = Field(ScheduleTable(every=timedelta(minutes=15)), examples=[{"every": "15m"}])
    credentials: CredentialsTable | None = Field(None, examples=[{"vault": "adsyncd/acme"}])
    auth: AuthTable = AuthTable()
    weight: Whole = Field(1, ge=1, le=100)
    quota: QuotaTable = Field(
        QuotaTable(requests=10, per=timedelta(seconds=60)), examples=[{"requests": 10, "per": "60s"}]
    )
    sync: SyncTable = SyncTable()
    alerts: AlertsTable = AlertsTable()

    def references(self, platforms: Collection[str], mount: str | None) -> Iterator[Fault]:
        """Find what the keys lead to and the settings don't have: a platform, or a Vault, whose `mount` is given."""
        if self.platform is not None and self.platform not in platforms:
            known = f"known are {', '.join(sorted(platforms))}" if platforms else "there is none"
            fix = f"{known}; add [platforms.{self.platform}] to the settings if it is right"
            yield Fault(("platform",), f'no platform "{self.platform}" is configured', fix)
        path = self.credentials and self.credentials.vault
        if path and mount is None:
            yield Fault(("credentials", "vault"), "no Vault is configured", "add [vault] to the settings")
        elif path and mount and (right := below_mount(path, mount)):
            what = "has parts of the API's paths, which adsyncd adds by itself: it begins below vault.mount"
            yield Fault(("credentials", "vault"), what, f'write vault = "{right}"')


class TenantFile(TenantDefaults):
    """A drop-in, with its overrides and the defaults beneath it."""

    client_id: ClientId = Field(examples=["acme"])
    platform: PlatformName = Field(examples=["mixo"])
    credentials: CredentialsTable = Field(examples=[{"vault": "adsyncd/acme"}])

    def tenant(self, tenant_id: str, platform: Platform) -> Tenant:
        """Return the tenant that is described here; `platform` is the one that it names."""
        return Tenant(
            id=tenant_id,
            client_id=self.client_id,
            platform=platform,
            enabled=self.enabled,
            schedule=self.schedule.schedule(),
            credentials=self.credentials.ref(self.auth.role),
            quota=self.quota.quota(),
            sync=SyncSettings(**dict(self.sync)),
            alerts=AlertSettings(**dict(self.alerts)),
            weight=self.weight,
        )
