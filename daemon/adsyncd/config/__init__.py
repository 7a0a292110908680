"""The configuration as operators write it: settings, tenants' drop-ins, and messages about their problems."""

from adsyncd.config.secret_table import SecretRef
from adsyncd.config.settings import (
    DEFAULT_PATH,
    Settings,
    control_socket,
    load_guarded_settings,
    load_settings,
    page_socket,
)
from adsyncd.config.tenant_file import TenantFile
from adsyncd.config.variables import CONFIG_VARIABLE

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_PATH",
    "SecretRef",
    "Settings",
    "TenantFile",
    "control_socket",
    "load_guarded_settings",
    "load_settings",
    "page_socket",
]
