"""Accounts with their client ids, and the access tokens issued to them."""

import base64
import binascii
import random
from dataclasses import dataclass

from pydantic import BaseModel, Field

TOKEN_PREFIX = "mock-token-"  # noqa: S105 - a test searches for it where no token may be
_TOKENS_KEPT = 100_000


class PlatformAccount(BaseModel, extra="forbid", frozen=True):
    """An account. Its tokens open only its own `clients`; raising `generation` revokes those issued before.

    `password`: None if it signs in at other APIs alone. `secrets`: what it signs in with there, by name; its email and
    password are secrets of these names.
    """

    password: str | None = Field(default=None, repr=False)
    clients: frozenset[str]
    secrets: dict[str, str] = Field({}, repr=False)
    generation: int = 0
    token_lifetime_s: int | None = Field(default=None, ge=1)
    silent: bool = Field(default=False, description="its sign-ins are never answered")


@dataclass(frozen=True, slots=True)
class _IssuedToken:
    email: str
    generation: int
    expires_at: float


def signing_in(accounts: dict[str, PlatformAccount], authorization: str) -> str | None:
    """Return the email of the account whose credentials a Basic `authorization` header holds (RFC 7617), or None."""
    email, password = basic_credentials(authorization) or ("", "")
    account = accounts.get(email)
    return email if account and account.password == password else None


def basic_credentials(authorization: str) -> tuple[str, str] | None:
    """Return the user and the password that a Basic `authorization` header holds (RFC 7617), or None."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if scheme.lower() == "basic" else None


class Tokens:
    """The issued access tokens; only the latest hundred thousand are kept."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._issued: dict[str, _IssuedToken] = {}

    def issue(self, email: str, account: PlatformAccount, expires_at: float) -> str:
        """Return a new token of `account`, good until it expires or the account's generation changes."""
        token = f"{TOKEN_PREFIX}{self._rng.getrandbits(128):032x}"
        self._issued[token] = _IssuedToken(email, account.generation, expires_at)
        if len(self._issued) > _TOKENS_KEPT:
            del self._issued[next(iter(self._issued))]
        return token

    def account(self, accounts: dict[str, PlatformAccount], authorization: str, now: float) -> PlatformAccount | None:
        """Return the account whose valid token a Bearer `authorization` header holds (RFC 6750), or None."""
        scheme, _, value = authorization.partition(" ")
        email = self.email(accounts, value, now) if scheme.lower() == "bearer" else None
        return None if email is None else accounts[email]

    def email(self, accounts: dict[str, PlatformAccount], value: str, now: float) -> str | None:
        """Return the email of the account whose valid token this is, or None."""
        token = self._issued.get(value)
        if token is None or token.expires_at <= now:
            return None
        account = accounts.get(token.email)
        return token.email if account and account.generation == token.generation else None
