"""A tenant's drop-in: every key with its default and bounds, and the `Tenant` that it describes."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from difflib import get_close_matches
from typing import Self

from pydantic import Field, model_validator

from adsyncd.config.diagnostics import Diagnostic, wrong
from adsyncd.config.field_types import (
    AnyDuration,
    ClientId,
    ConfigTable,
    CredentialName,
    Crontab,
    Flag,
    Interval,
    PlatformName,
    PrintableText,
    Share,
    SomeDuration,
    SomeText,
    VariableName,
    VarName,
    VaultPath,
    Whole,
)
from adsyncd.model.profile import Profile
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
    """A quota: at most `requests` in any `per`, and the same for each window in `also`."""

    requests: Whole = Field(ge=1, le=1_000_000, examples=[10])
    per: SomeDuration = Field(examples=["60s"])
    shape: Shape = Shape.AUTO
    arrival_bound: SomeDuration | None = Field(None, examples=["500ms"])
    also: tuple[WindowTable, ...] = Field((), max_length=4, examples=[[{"requests": 200, "per": "1h"}]])

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({self.per, *(window.per for window in self.also)}) <= len(self.also):
            raise wrong("has two windows of the same length; keep only the stricter one", echo=False)
        return self

    def quota(self) -> Quota:
        """Return the domain value."""
        also = tuple(Window(window.requests, window.per) for window in self.also)
        return Quota(self.requests, self.per, self.shape, self.arrival_bound, also)


class ScheduleTable(ConfigTable):
    """When a tenant is synced: at an interval `every`, or by `cron` in a `timezone`."""

    every: Interval | None = Field(None, examples=["15m"])
    cron: Crontab | None = Field(None, examples=["*/15 * * * *"])
    timezone: SomeText = Field("UTC", examples=["Europe/Berlin"])

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise wrong("needs exactly one of every and cron", echo=False)
        if self.cron is None and "timezone" in self.model_fields_set:
            raise wrong("has a timezone, which only cron uses", echo=False)
        return self

    def schedule(self) -> Schedule:
        """Return the domain value."""
        if self.every is not None:
            return Every(self.every)
        return Cron(str(self.cron), self.timezone)


class CredentialsTable(ConfigTable):
    """The place of a tenant's credentials: exactly one of three keys."""

    vault: VaultPath | None = Field(None, examples=["adsyncd/acme"])
    env: VariableName | None = Field(None, examples=["ACME"])
    credential: CredentialName | None = Field(None, examples=["acme"])

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.vault, self.env, self.credential).count(None) != 2:  # noqa: PLR2004 - two of the three
            raise wrong("needs exactly one of vault, env and credential", echo=False)
        return self

    def ref(self, role: str | None, profile: Profile) -> CredentialsRef:
        """Return the domain value. `role`: the AppRole that reads them, if they are in Vault."""
        keys = profile.secrets, profile.basic, profile.secrets_in_headers
        if self.vault is not None:
            return VaultRef(self.vault, role, *keys)
        return EnvRef(self.env, *keys) if self.env is not None else SystemdRef(str(self.credential), *keys)


class AuthTable(ConfigTable):
    """The Vault identity that reads a tenant's credentials."""

    role: CredentialName | None = Field(None, examples=["acme"])


class SyncTable(ConfigTable):
    """How a tenant's runs work."""

    page_size: Whole = Field(10, ge=1, le=1000)
    concurrency: Whole = Field(5, ge=1, le=100)
    timeout: SomeDuration = timedelta(seconds=10)
    max_attempts: Whole = Field(5, ge=1, le=20)
    run_deadline: Interval = timedelta(minutes=30)
    push: PushPolicy = PushPolicy.ALL
    list_cache: AnyDuration = timedelta(0)


class AlertsTable(ConfigTable):
    """When a tenant's alerts fire."""

    min_success_rate: Share = 0.9
    failures: Whole = Field(3, ge=1, le=100)


def most_costly(quota: QuotaTable, profile: Profile) -> tuple[str, str] | None:
    """Return what is wrong, and the fix, if a request of a profile costs more permits than a window has."""
    costs = {"list": profile.listing.cost, "push": profile.push.cost if profile.push else 0}
    name, cost = max(costs.items(), key=lambda item: item[1])
    if cost <= min([quota.requests, *(window.requests for window in quota.also)]):
        return None
    what = f"is too small: a request of [{name}] costs {cost} permits in the profile {profile.name}"
    return what, f"allow at least {cost} requests in each window"


def below_mount(path: str, mount: str) -> str | None:
    """Return the path below `mount` if `path` is one of Vault's API, such as `secret/data/acme`; else None."""
    bare = path.removeprefix("v1/")
    for head in (f"{mount}/data/", f"{mount}/metadata/", *([f"{mount}/"] if bare != path else [])):
        if bare.startswith(head):
            return bare.removeprefix(head)
    return None


class TenantDefaults(ConfigTable):
    """The keys of `[defaults]`: those of a drop-in, all optional."""

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
    vars: dict[VarName, PrintableText] = Field(default_factory=dict, examples=[{"login_customer_id": "1234567890"}])

    def references(self, platforms: Collection[str], mount: str | None) -> Iterator[Diagnostic]:
        """Find references to a platform or a Vault that the settings lack; `mount` is None without [vault]."""
        if self.platform is not None and self.platform not in platforms:
            known = f"known platforms are {', '.join(sorted(platforms))}" if platforms else "no platform is configured"
            fix = f"{known}; if the name is right, add [platforms.{self.platform}] to the settings"
            yield Diagnostic(("platform",), f'unknown platform "{self.platform}"', fix)
        path = self.credentials and self.credentials.vault
        if path and mount is None:
            yield Diagnostic(("credentials", "vault"), "no Vault is configured", "add [vault] to the settings")
        elif path and mount and (right := below_mount(path, mount)):
            what = "has a part of the API's path, which adsyncd adds itself: write only the part below vault.mount"
            yield Diagnostic(("credentials", "vault"), what, f'write vault = "{right}"')


class TenantFile(TenantDefaults):
    """A drop-in merged with its overrides and the defaults."""

    client_id: ClientId = Field(examples=["acme"])
    platform: PlatformName = Field(examples=["mixo"])
    credentials: CredentialsTable = Field(examples=[{"vault": "adsyncd/acme"}])

    def tenant(self, tenant_id: str, platform: Platform) -> Tenant:
        """Return the tenant; `platform` is the one that it names."""
        return Tenant(
            id=tenant_id,
            client_id=self.client_id,
            platform=platform,
            enabled=self.enabled,
            schedule=self.schedule.schedule(),
            credentials=self.credentials.ref(self.auth.role, platform.profile),
            quota=self.quota.quota(),
            sync=SyncSettings(**dict(self.sync) | self._fitting(platform.profile)),
            alerts=AlertSettings(**dict(self.alerts)),
            weight=self.weight,
            vars=tuple((name, self.vars[name]) for name in platform.profile.vars),
        )

    def misfits(self, profile: Profile) -> Iterator[Diagnostic]:
        """Find what the platform's profile needs and the drop-in lacks, and what the platform can't do."""
        for name in profile.vars:
            if name not in self.vars:
                near = get_close_matches(name, self.vars, 1)
                fix = f'rename "{near[0]}"' if near else f'add vars = {{ {name} = "..." }}'
                yield Diagnostic(("vars", name), f"is missing: the profile {profile.name} needs it", fix)
        pushes = "push" in self.sync.model_fields_set and self.sync.push is not PushPolicy.NONE
        if profile.push is None and pushes:
            fix = 'leave it out, or write push = "none"'
            yield Diagnostic(("sync", "push"), f"the profile {profile.name} has no push", fix)
        if too_small := most_costly(self.quota, profile):
            yield Diagnostic(("quota",), *too_small)

    def _fitting(self, profile: Profile) -> dict[str, object]:
        least, most = profile.listing.page_size
        fitting: dict[str, object] = {"page_size": min(max(self.sync.page_size, least), most)}
        if profile.push is None:
            fitting["push"] = PushPolicy.NONE
        return fitting
