"""The arguments and options that commands share, and how a tenant is found by its id."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adsyncd import config as settings_of
from adsyncd.config.names import CONFIG_VARIABLE, DEFAULT_PATH, LOG_LEVEL_VARIABLE, Level
from adsyncd.config.plain_socket import plain_socket
from adsyncd.errors import AdsyncdError, ConfigError, Problem
from adsyncd.model.status import listed

if TYPE_CHECKING:
    from adsyncd.config import Settings
    from adsyncd.config.dropins import Tenants
    from adsyncd.model.tenant import Tenant

Config = Annotated[
    Path,
    typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, metavar="FILE", help="The daemon's settings."),
]
CONFIG = DEFAULT_PATH

Socket = Annotated[
    Path | None,
    typer.Option(
        "--socket",
        envvar="ADSYNCD_CONTROL__SOCKET",
        metavar="PATH",
        help="The daemon's control socket; the settings are not read then.",
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

LogLevel = Annotated[
    Level,
    typer.Option("--log-level", envvar=LOG_LEVEL_VARIABLE, help="Lowest level that is logged, to standard error."),
]

TheTenant = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id: the name of its drop-in.")]


def asked_at(config: Path, socket: Path | None) -> Path:
    """Return the socket of the daemon to ask. Raises ConfigError if no --socket names it and the settings hide it."""
    if socket is not None:
        return socket
    return plain_socket(config, os.environ) or settings_of.control_socket(config, os.environ)


def not_stored(tenant_id: str, stored: Sequence[str]) -> AdsyncdError:
    """Return the error about a tenant of which nothing is stored. `stored`: those of which something is."""
    near = difflib.get_close_matches(tenant_id, stored, n=1)
    known = (
        f"there are records of {listed(stored, most=5)}" if stored else "the first run of a tenant stores what it lists"
    )
    fix = f'did you mean "{near[0]}"?' if near else known
    return AdsyncdError(f'nothing is stored of a tenant "{tenant_id}"; {fix}')


def find_tenant(settings: "Settings", tenants: "Tenants", tenant_id: str) -> "Tenant":
    """Return a tenant by its id. Raises ConfigError with its problems, or with the file to create."""
    if tenant_id in tenants.good:
        return tenants.good[tenant_id]
    if tenant_id in tenants.bad:
        raise ConfigError(tenants.bad[tenant_id])
    if tenants.directories:
        raise ConfigError(tenants.directories)
    places = " or ".join(str(folder / f"{tenant_id}.toml") for folder in settings.tenants_dirs)
    near = difflib.get_close_matches(tenant_id, [*tenants.good, *tenants.bad], n=1)
    fix = f'did you mean "{near[0]}"?' if near else f"create {places}"
    raise ConfigError([Problem(None, None, None, f'there is no tenant "{tenant_id}"', fix)])
