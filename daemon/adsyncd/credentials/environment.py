"""Credentials in environment variables: for development, and for containers that are given them so."""

from collections.abc import Mapping

from adsyncd.credentials.account import Credentials, credentials_of
from adsyncd.errors import CredentialsMissing


def read_environment(prefix: str, environ: Mapping[str, str]) -> Credentials:
    """Return the credentials in `{prefix}_EMAIL` and `{prefix}_PASSWORD`; raises `CredentialsMissing`."""
    keys = f"{prefix}_EMAIL", f"{prefix}_PASSWORD"
    if absent := [key for key in keys if not environ.get(key)]:
        raise CredentialsMissing(f"the environment does not hold credentials; set {' and '.join(absent)}")
    return credentials_of({key: environ[key] for key in keys}, "the environment", keys)
