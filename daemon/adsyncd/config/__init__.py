"""The configuration as operators write it: settings, tenants' drop-ins, and messages about their problems."""

from typing import TYPE_CHECKING

from adsyncd import lazily

if TYPE_CHECKING:
    from adsyncd.config.names import CONFIG_VARIABLE, DEFAULT_PATH, LOG_LEVEL_VARIABLE
    from adsyncd.config.one_table import control_socket, page_socket, store_settings
    from adsyncd.config.secret_table import SecretRef
    from adsyncd.config.settings import (
        Settings,
        load_guarded_settings,
        load_settings,
    )
    from adsyncd.config.tenant_file import TenantFile

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

__getattr__ = lazily(
    __name__,
    {
        "CONFIG_VARIABLE": "names",
        "DEFAULT_PATH": "names",
        "LOG_LEVEL_VARIABLE": "names",
        "SecretRef": "secret_table",
        "Settings": "settings",
        "TenantFile": "tenant_file",
        "control_socket": "one_table",
        "load_guarded_settings": "settings",
        "load_settings": "settings",
        "page_socket": "one_table",
        "store_settings": "one_table",
    },
)
