"""`adsyncd config`: the values in force, each with the file and line that it comes from."""

import os
import sys
from typing import Annotated

import typer

from adsyncd.cli.arguments import CONFIG, Config, Json, find_tenant
from adsyncd.cli.config_view import as_json, lines
from adsyncd.cli.output import new_console, print_error, print_json, print_line
from adsyncd.config.dropins import read_files, read_tenants
from adsyncd.config.in_force import DEFAULT, Value, settings_values, tenant_values
from adsyncd.config.settings import Loaded, load_guarded
from adsyncd.errors import ConfigError

Changed = Annotated[bool, typer.Option("--changed", help="Leave out defaults.")]
OneTenant = Annotated[
    str | None, typer.Argument(metavar="[TENANT]", help="The tenant's id. Without one: the daemon's own settings.")
]

_GOES_ON = "a daemon that runs goes on with the last good version, if it has one; adsyncd reload --dry-run says"


def config(tenant: OneTenant = None, config: Config = CONFIG, changed: Changed = False, json: Json = False) -> None:
    """Show each value of a tenant and its platform as the files have it now, with the file and line it comes from.

    A value comes from the drop-in, an override, `[defaults]` or `[platforms]` of the settings, a variable of this
    shell, the platform's profile, or is a default. It asks no daemon: one that runs has what it read last. Secrets are
    hidden.

    Exits 1 if the tenant is unknown, masked, or refused.
    """
    loaded = load_guarded(config, os.environ)
    values = settings_values(loaded) if tenant is None else _of_tenant(loaded, tenant, json=json)
    shown = [value for value in values if not changed or value.origin != DEFAULT]
    if json:
        print_json([as_json(value) for value in shown])
        return
    for line in lines(shown, new_console().width if sys.stdout.isatty() else None):
        print_line(line)


def _of_tenant(loaded: Loaded, tenant_id: str, *, json: bool) -> list[Value]:
    tenants = read_tenants(loaded.settings)
    if tenant_id in tenants.bad and not json:
        print_error(ConfigError(tenants.bad[tenant_id]))
        print_line(_GOES_ON, err=True)
        raise typer.Exit(1)
    files = [] if tenant_id in tenants.bad else read_files(loaded.settings, tenant_id)
    return tenant_values(loaded, files, find_tenant(loaded.settings, tenants, tenant_id))
