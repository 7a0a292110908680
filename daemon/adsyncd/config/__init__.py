"""The configuration as operators write it: settings, tenants' drop-ins, and messages about their problems."""

from adsyncd.config.one_table import control_socket, page_socket, store_settings
from adsyncd.config.secret_table import SecretRef
from adsyncd.config.settings import (
    DEFAULT_PATH,
    Settings,
    load_guarded_settings,
    load_settings,
)
from adsyncd.config.tenant_file import TenantFile
from adsyncd.config.variables import CONFIG_VARIABLE, LOG_LEVEL_VARIABLE

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_PATH",
    "LOG_LEVEL_VARIABLE",
    "SecretRef",
    "Settings",
    "TenantFile",
    "control_socket",
    "load_guarded_settings",
    "load_settings",
    "page_socket",
    "store_settings",
]
