"""The daemon's settings: every key with its default and bounds, read from one file and the environment."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from adsyncd.config.diagnostics import Diagnostic, diagnose, in_order, key_name, known_keys, wrong
from adsyncd.config.field_types import (
    AbsolutePath,
    AnyDuration,
    ConfigTable,
    Flag,
    Interval,
    PlatformName,
    SocketPath,
    SomeDuration,
    SomeText,
    StoreUrl,
    Url,
    VaultAddress,
    VaultMount,
    VaultPath,
    WebhookUrl,
)
from adsyncd.config.file_access import Custodians
from adsyncd.config.names import CONFIG_VARIABLE, DEFAULT_SOCKET, DEFAULT_STORE_URL, DEFAULT_TENANTS_DIR
from adsyncd.config.page_table import PageTable
from adsyncd.config.platform_table import PlatformTable
from adsyncd.config.profile_file import find_profile
from adsyncd.config.secret_table import Secret, SecretRef, never_inline
from adsyncd.config.tenant_file import TenantDefaults
from adsyncd.config.toml_file import TomlFile, place, read_toml
from adsyncd.config.variables import Overlay, overlay
from adsyncd.errors import ConfigError, Problem

ABSENT = f"create it, or name another with --config or {CONFIG_VARIABLE}"


def _some(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    if not paths:  # a minimal length would also complain of each path that is wrong
        raise wrong("must not be empty")
    return paths


class StoreTable(ConfigTable):
    """The database of campaigns, runs and pushes. `url` may hold a password, so `repr` hides it.

    `keep_runs`: how long runs are kept one by one; `keep_history`: how long the sums of each day are.
    """

    url: StoreUrl = Field(
        DEFAULT_STORE_URL,
        examples=[DEFAULT_STORE_URL],
        repr=False,
    )
    keep_runs: AnyDuration = timedelta(days=3)
    keep_history: AnyDuration = timedelta(days=30)


class SecretIdRef(SecretRef):
    """The place of an AppRole's secret id, or if `wrapped`, of a wrapping token for it."""

    wrapped: Flag = False


class AppRoleAuth(ConfigTable):
    """Sign-in to Vault by AppRole."""

    method: Literal["approle"] = Field(examples=["approle"])
    role_id: SomeText = Field(examples=["..."])
    secret_id: Annotated[SecretIdRef, BeforeValidator(never_inline)] = Field(
        examples=[{"credential": "vault-secret-id"}]
    )


class TokenAuth(ConfigTable):
    """Sign-in to Vault by a token issued elsewhere."""

    method: Literal["token"] = Field(examples=["token"])
    token: Secret = Field(examples=[{"credential": "vault-token"}])


class VaultTable(ConfigTable):
    """How to reach Vault. `ca_file`: the PEM of a private CA. `timeout` bounds each request.

    `poll`: the interval at which Vault is asked whether credentials in use were rotated.
    """

    address: VaultAddress = Field(examples=["https://vault.internal:8200"])
    mount: VaultMount = "secret"
    namespace: VaultPath | None = Field(None, examples=["team"])
    ca_file: AbsolutePath | None = Field(None, examples=["/etc/ssl/vault-ca.pem"])
    timeout: SomeDuration = timedelta(seconds=10)
    poll: Interval = timedelta(minutes=1)
    auth: Annotated[AppRoleAuth | TokenAuth, Field(discriminator="method")] = Field(
        examples=[{"method": "approle", "role_id": "...", "secret_id": {"credential": "vault-secret-id"}}]
    )


class ControlTable(ConfigTable):
    """The control socket. Members of `group` may use it, beside the daemon's own user."""

    socket: SocketPath = DEFAULT_SOCKET
    group: SomeText | None = Field(None, examples=["adsyncd"])


class ReceiversTable(ConfigTable):
    """The receivers of alerts. A webhook's address may be a secret, so `repr` hides it."""

    webhook: WebhookUrl | None = Field(None, examples=["https://hooks.example.com/adsyncd"], repr=False)
    alertmanager: Url | None = Field(None, examples=["http://alertmanager.internal:9093"])
    repeat: Interval = timedelta(minutes=1)


class Settings(ConfigTable):
    """All settings of the daemon."""

    tenants_dirs: Annotated[tuple[AbsolutePath, ...], AfterValidator(_some)] = (DEFAULT_TENANTS_DIR,)
    watch: Flag = False
    shutdown_grace: AnyDuration = timedelta(seconds=20)
    store: StoreTable = StoreTable()
    vault: VaultTable | None = None
    control: ControlTable = ControlTable()
    page: PageTable = PageTable()
    alerts: ReceiversTable = ReceiversTable()
    platforms: dict[PlatformName, PlatformTable] = Field(default_factory=dict)
    defaults: TenantDefaults = TenantDefaults()

    @property
    def profiles(self) -> tuple[Path, ...]:
        """The files of profiles that the operator wrote, each once."""
        files = (find_profile(table.profile) for table in self.platforms.values() if "/" in table.profile)
        return tuple(dict.fromkeys(files))

    def conflicts(self) -> Iterator[Diagnostic]:
        """Yield what is wrong between tables."""
        if self.page.socket == self.control.socket:
            yield Diagnostic(("page", "socket"), "is the control socket", "name another path: it is a second socket")
        mount = self.vault.mount if self.vault else None
        for one in self.defaults.references(self.platforms, mount):
            yield replace(one, key=("defaults", *one.key))


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, with the file and the variables that they were read from."""

    settings: Settings
    file: TomlFile
    laid: Overlay


def load_guarded_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the settings as `load_guarded` does."""
    return load_guarded(path, environ).settings


def load_guarded(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Read the settings as `load_settings` does, and refuse a file that others may change.

    They could redirect credentials to a host of their own. Raises ConfigError.
    """
    loaded = _load(path, environ)
    if objection := Custodians(os.geteuid()).objection(path, path.stat()):
        raise ConfigError([objection])
    return loaded


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read the settings in the file at `path`, overridden by the variables of `environ`.

    Raises ConfigError with all problems.
    """
    return _load(path, environ).settings


def _load(path: Path, environ: Mapping[str, str]) -> Loaded:
    file = read_toml(path, ABSENT)
    laid = overlay(file.data, environ, known_keys(Settings))

    try:
        settings = Settings.model_validate(laid.data)
        found = list(settings.conflicts())
    except ValidationError as error:
        found = diagnose(error, Settings)
    if found or laid.problems:
        problems = [located(one, file, laid) for one in found]
        raise ConfigError(sorted([*problems, *laid.problems], key=in_order))
    return Loaded(settings, file, laid)


def located(found: Diagnostic, file: TomlFile, laid: Overlay) -> Problem:
    """Return the problem of a diagnostic, at the variable or the line that set its key."""
    if variable := laid.variable(found.key):
        return Problem(None, None, variable, found.what, found.fix)
    path, line = place(found.key, [file])
    return Problem(path, line, key_name(found.key), found.what, found.fix)
