"""The tenants that operators name."""

import difflib

from adsyncd.config import Settings
from adsyncd.config.dropins import Tenants
from adsyncd.errors import ConfigError, Problem
from adsyncd.model.tenant import Tenant


def find_tenant(settings: Settings, tenants: Tenants, tenant_id: str) -> Tenant:
    """Return a tenant by its id. Raises ConfigError with what is wrong with it, or with where it should be."""
    if tenant_id in tenants.good:
        return tenants.good[tenant_id]
    if tenant_id in tenants.bad:
        raise ConfigError(tenants.bad[tenant_id])
    if tenants.directories:
        raise ConfigError(tenants.directories)
    places = " or ".join(str(folder / f"{tenant_id}.toml") for folder in settings.tenants_dirs)
    near = difflib.get_close_matches(tenant_id, tenants.good, n=1)
    fix = f'did you mean "{near[0]}"?' if near else f"create {places}"
    raise ConfigError([Problem(None, None, None, f'there is no tenant "{tenant_id}"', fix)])
