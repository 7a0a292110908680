"""How operators name the proxy that leads to a platform: its address, or where one with a password lies."""

import re
from typing import Annotated, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from adsyncd.config.diagnostics import wrong
from adsyncd.config.secret_table import SecretRef
from adsyncd.model.tenant import SecretPlace

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def proxy_parts(address: str) -> tuple[str, tuple[str, str] | None]:
    """Return a proxy's address without user and password, and these two if it has them.

    Raises ValueError, which says what is wrong without a word of the address.
    """
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        raise ValueError("is no address") from None
    if parts.scheme.startswith("socks"):
        raise ValueError("is a SOCKS proxy's, which adsyncd does not speak")
    login, _, host = parts.netloc.rpartition("@")
    host = host.removesuffix(port)
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host) or port == ":0" or not address.isprintable():
        raise ValueError("is no address that begins with http:// or https://")
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
    """A proxy: its address, or the one place of three that holds it with a user and a password."""

    url: Annotated[str, AfterValidator(_plain)] | None = Field(None, examples=["http://proxy.internal:3128"])

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.credential, self.env, self.file, self.url).count(None) != 3:  # noqa: PLR2004 - all but one of four
            raise wrong("must hold one of credential, env, file and url", echo=False)
        return self

    def proxy(self) -> str | SecretPlace:
        """Return it as everything inside knows it."""
        return self.place() if self.url is None else self.url


def _url_alone(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


Proxy = Annotated[ProxyTable, BeforeValidator(_url_alone)]
"""The table, or the address for all of it."""
