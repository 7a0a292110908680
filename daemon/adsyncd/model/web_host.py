"""Host names of HTTP, in one form in which they can be compared: those of requests, origins and settings.

The syntax is that of RFC 9110, section 7.2 (Host) and RFC 3986, section 3.2.2 (host).
"""

import ipaddress
import re
from dataclasses import dataclass

_MOST_PORT = 65535
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Za-z:.!$&'()*+,;=_~-]*\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::([0-9]*))?")
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?([.][a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_FUTURE = re.compile("[vV][0-9A-Fa-f]+[.].+")


@dataclass(frozen=True, slots=True)
class WebHost:
    """A host and its port, if stated. `name` is in lower case, an IPv6 address in brackets and its shortest form."""

    name: str
    port: int | None = None

    @property
    def is_usable(self) -> bool:
        """Whether DNS can hold the name, or it is an address."""
        return self.name.startswith("[") or _NAME.fullmatch(self.name) is not None


def read_host(text: str) -> WebHost | None:
    """Return the host that a Host field names, or None if it is not one. It may be empty.

    One dot at the end only marks the name as complete: `localhost.` is `localhost`. Escapes are not decoded.
    """
    found = _HOST_AND_PORT.fullmatch(text)
    if found is None or _BAD_ESCAPE.search(text):
        return None
    name, digits = found.groups()
    port = int(digits[:9]) if digits else None
    if port is not None and port > _MOST_PORT:
        return None
    if name.startswith("["):
        literal = _literal(name[1:-1])
        return None if literal is None else WebHost(literal, port)
    return WebHost(name.lower().removesuffix("."), port)


def _literal(address: str) -> str | None:
    """Return an IP literal in its shortest form, or None if it is not one."""
    try:
        return f"[{ipaddress.IPv6Address(address)}]"
    except ValueError:
        return f"[{address.lower()}]" if _FUTURE.fullmatch(address) else None
