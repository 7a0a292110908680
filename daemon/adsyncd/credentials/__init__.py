"""Tenants' credentials, from Vault, systemd or the environment. They stay in memory and are never stored.

`vault` is not imported here: its client is slow to import, and only an installation with a [vault] needs it.
"""

from adsyncd.credentials.reader import CredentialsReader, remark
from adsyncd.credentials.sources import Credentials, CredentialsSource, listed, resolve_secret

__all__ = [
    "Credentials",
    "CredentialsReader",
    "CredentialsSource",
    "listed",
    "remark",
    "resolve_secret",
]
