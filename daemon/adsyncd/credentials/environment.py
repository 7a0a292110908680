"""Credentials in environment variables: for development, and for containers that are given them so."""

from collections.abc import Mapping

from adsyncd.credentials.account import Credentials, credentials_of


def read_environment(prefix: str, environ: Mapping[str, str]) -> Credentials:
    """Return the credentials in `{prefix}_EMAIL` and `{prefix}_PASSWORD`; raises `CredentialsMissing`."""
    email, password = f"{prefix}_EMAIL", f"{prefix}_PASSWORD"
    content = {"email": environ.get(email), "password": environ.get(password)}
    return credentials_of(content, f"the environment ({email} and {password})")
