"""Credentials for tests."""

from adsyncd.credentials import Credentials


def an_account(email: str, password: str, version: int | None = None) -> Credentials:
    """Return the credentials that the built-in API's sign-in needs."""
    return Credentials.of({"email": email, "password": password}, version)
