"""Tenants' credentials, from Vault, systemd or the environment. They stay in memory and are never stored."""

from adsyncd.credentials.reader import CredentialsReader, remark
from adsyncd.credentials.sources import Credentials, CredentialsSource, resolve_secret
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
