"""References to the daemon's own secrets, which never stand in the settings themselves; among them a proxy's address.

A proxy's address without a password may stand in the settings.
"""

import re
from typing import Annotated, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from adsyncd.config.diagnostics import wrong
from adsyncd.config.field_types import AbsolutePath, ConfigTable, CredentialName, VariableName
from adsyncd.model.tenant import InCredential, InFile, InVariable, SecretPlace

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


class SecretRef(ConfigTable):
    """The place of one secret: exactly one of three keys."""

    credential: CredentialName | None = Field(None, examples=["vault-secret-id"])
    env: VariableName | None = Field(None, examples=["VAULT_SECRET_ID"])
    file: AbsolutePath | None = Field(None, examples=["/run/secrets/vault-secret-id"])

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.credential, self.env, self.file).count(None) != 2:  # noqa: PLR2004 - two of the three
            raise wrong("needs exactly one of credential, env and file", echo=False)
        return self

    def place(self) -> SecretPlace:
        """Return the domain value."""
        if self.credential is not None:
            return InCredential(self.credential)
        if self.env is not None:
            return InVariable(self.env)
        assert self.file is not None  # noqa: S101 - the table holds one of the three
        return InFile(self.file)


def never_inline(value: object) -> object:
    """Refuse text in the place of the table: it would be the secret itself."""
    if isinstance(value, str):
        raise wrong("must be a table that says where the secret is, not the secret itself", echo=False)
    return value


Secret = Annotated[SecretRef, BeforeValidator(never_inline)]


def proxy_parts(address: str) -> tuple[str, tuple[str, str] | None]:
    """Return a proxy's address without user and password, and (user, password) if it has them.

    Raises ValueError, whose text never quotes the address.
    """
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        raise ValueError("is not an address") from None
    if parts.scheme.startswith("socks"):
        raise ValueError("is the address of a SOCKS proxy, which is not supported")
    login, _, host = parts.netloc.rpartition("@")
    host = host.removesuffix(port)
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host) or port == ":0" or not address.isprintable():
        raise ValueError("is not an address that begins with http:// or https://")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("has more than a host and a port; in a user or a password, write % codes for / ? # and @")
    user, _, password = login.partition(":")
    return f"{parts.scheme}://{host}{port}", (unquote(user), unquote(password)) if login else None


def _plain(address: str) -> str:
    try:
        plain, login = proxy_parts(address)
    except ValueError as error:
        raise wrong(f"{error}", echo=False) from None
    if login:
        raise wrong(
            "must not hold a user or a password",
            "put the whole address into a file or a variable, and name that: file, env or credential",
            echo=False,
        )
    return plain


class ProxyTable(SecretRef):
    """A proxy: its `url`, or the place of an address that holds a user and a password."""

    url: Annotated[str, AfterValidator(_plain)] | None = Field(None, examples=["http://proxy.internal:3128"])

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.credential, self.env, self.file, self.url).count(None) != 3:  # noqa: PLR2004 - all but one of four
            raise wrong("needs exactly one of credential, env, file and url", echo=False)
        return self

    def proxy(self) -> str | SecretPlace:
        """Return the domain value."""
        return self.place() if self.url is None else self.url


def _url_alone(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


Proxy = Annotated[ProxyTable, BeforeValidator(_url_alone)]
"""The table, or only its `url` as text."""
