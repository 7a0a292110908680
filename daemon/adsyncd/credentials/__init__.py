"""Where tenants' credentials come from: Vault, systemd or the environment. They are kept in memory alone."""

from adsyncd.credentials.account import Credentials, CredentialsSource
from adsyncd.credentials.reader import CredentialsReader, remark
from adsyncd.credentials.secret import resolve_secret
from adsyncd.credentials.vault import AppRole, Vault, VaultAccess, VaultToken, open_vault

__all__ = [
    "AppRole",
    "Credentials",
    "CredentialsReader",
    "CredentialsSource",
    "Vault",
    "VaultAccess",
    "VaultToken",
    "open_vault",
    "remark",
    "resolve_secret",
]
