"""The types of single values in settings and drop-ins: durations, addresses, names, CA files, with their bounds."""

import json
import os
import re
import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict
from pydantic_core import PydanticCustomError

from adsyncd.config.diagnostics import wrong
from adsyncd.config.file_access import read_regular
from adsyncd.config.names import LONGEST_SOCKET
from adsyncd.config.toml_file import unreadable
from adsyncd.duration import parse_duration
from adsyncd.model.web_host import read_host

_MOST_PEM_BYTES = 1 << 20
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\s.+?-----END CERTIFICATE-----", re.DOTALL)
_BARE_IPV6 = re.compile("[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
_ZONE = re.compile(r"%[0-9A-Za-z._~%-]+\]")  # of an IPv6 address: the interface
_FOUR_NUMBERS = re.compile("[0-9]+([.][0-9]+){3}")


class Variable(str):
    """Text from an environment variable, which may stand for a number or a boolean."""

    __slots__ = ()


class ConfigTable(BaseModel):
    """A table of a configuration file. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


@dataclass(frozen=True, slots=True)
class Authorities:
    """Certificate authorities as PEM, read together with the settings, so that a reload takes up a new one."""

    path: Path
    pem: str = field(repr=False)


def _literal(value: object) -> object:
    if not isinstance(value, Variable):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _duration(at_least: str) -> BeforeValidator:
    least = parse_duration(at_least)

    def read(value: object) -> timedelta:
        if isinstance(value, timedelta):  # TOML has no durations: this one was read before, in [defaults]
            return value
        if not isinstance(value, str):
            raise wrong('expected a duration such as "15m"')
        try:
            duration = parse_duration(value)
        except ValueError as error:
            raise wrong(str(error)) from None
        if duration < least:
            raise wrong(f"must be at least {at_least}")
        return duration

    return BeforeValidator(read)


def _text(pattern: str, what: str, *, echo: bool = True) -> AfterValidator:
    """Require a full match of `pattern`; `what` describes it in words."""
    shape = re.compile(pattern)

    def check(value: str | Path) -> str | Path:
        if not shape.fullmatch(str(value)):
            raise wrong(f"expected {what}", echo=echo)
        return value

    return AfterValidator(check)


def checked_url(value: str) -> str:
    """Return an address. Raises what a validator may raise; no message quotes the address, which may be a secret."""
    if not re.match(r"https?://", value):
        raise wrong("expected an address that begins with https:// or http://", echo=False)
    if "@" in value.partition("//")[2].partition("/")[0]:
        raise wrong("must not hold a user or a password", "remove everything up to the @", echo=False)
    if "#" in value:
        raise wrong("must not have a fragment", "remove the # and everything after it", echo=False)
    if not re.fullmatch("[!-~]+", value):
        fix = "write it percent-encoded in a path, as xn--... in a host"
        raise wrong("has a space or another character that no address has", fix, echo=False)
    _check_authority(value)
    return value


def _check_authority(address: str) -> None:
    """Raise what a validator may raise unless an address has a host that can be connected to, and a valid port."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        raise _no_host(in_brackets=True) from None
    if _BARE_IPV6.fullmatch(parts.netloc):
        raise _no_host(in_brackets=True)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise wrong("has a port that is not one of 1 to 65535", "correct the number after the host", echo=False)
    if not host:
        raise wrong("has no host", "write it after the //", echo=False)
    if not _is_host(parts.netloc):
        raise _no_host(in_brackets="[" in parts.netloc)


def _is_host(authority: str) -> bool:
    """Return whether the host can be connected to: a name that DNS can hold, or an address that is well-formed."""
    host = read_host(_ZONE.sub("]", authority))
    if host is None or not host.is_usable or host.name.startswith("[v"):  # an address of a version to come
        return False
    try:
        return not _FOUR_NUMBERS.fullmatch(host.name) or bool(IPv4Address(host.name))
    except ValueError:
        return False


def _no_host(*, in_brackets: bool) -> PydanticCustomError:
    fix = "write an IPv6 address in brackets, such as https://[::1]"
    if not in_brackets:
        fix = "write a name such as ads.example.com, or four numbers up to 255 such as 192.0.2.1"
    return wrong("has no valid host", fix, echo=False)


def base_url(value: str) -> str:
    """Return an address to which paths can be appended. Raises as `checked_url` does."""
    if "?" in checked_url(value):
        raise wrong("must not have a query: adsyncd appends paths", "remove the ? and everything after it", echo=False)
    return value.rstrip("/")


def _store_url(value: str) -> str:
    if re.match("sqlite:///[^/]", value):
        fix = 'write an absolute path, after four slashes: "sqlite:////var/lib/adsyncd/adsyncd.db"'
        raise wrong("names a file by a relative path", fix, echo=False)
    return value


def _socket_path(value: Path) -> Path:
    if len(os.fsencode(value)) > LONGEST_SOCKET:
        raise wrong(f"must have at most {LONGEST_SOCKET} bytes, the limit for a socket's path")
    return value


def _bare(value: str) -> str:
    if "://" in value:
        raise wrong(
            "expected a path without an address", "remove everything up to and including vault.mount", echo=False
        )
    bare = value.strip("/")
    if bare != value:
        fix = f'write "{bare}"' if re.fullmatch(_VAULT_PATH, bare) else 'remove that "/"'
        raise wrong('must not begin or end with a "/"', fix, echo=False)
    return value


def _mount(value: str) -> str:
    right = value.removeprefix("v1/").removesuffix("/data").removesuffix("/metadata")
    if right != value:
        raise wrong("has a part of the API's path, which adsyncd adds itself", f'write mount = "{right}"')
    return value


def _vault_address(value: str) -> str:
    if value.endswith("/v1"):
        raise wrong("has a part of the API's path, which adsyncd adds itself", 'remove the "/v1" at its end')
    return value


def _authorities(value: object) -> object:
    if not isinstance(value, str) or not value.startswith("/"):
        raise wrong("expected an absolute path")
    path = Path(value)
    try:
        content = read_regular(path, _MOST_PEM_BYTES)
    except OSError as error:
        problem = unreadable(path, error, "put the PEM of the authority there")
        raise wrong(problem.what, problem.fix) from None
    except ValueError:  # a NUL
        raise wrong("expected an absolute path") from None
    # Bundles may hold any text between certificates.
    pem = "\n".join(found.decode("latin-1") for found in _CERTIFICATE.findall(content))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise wrong("holds no certificates in PEM", "put the PEM of the authority there") from None
    return Authorities(path, pem)


_SEGMENT = "[A-Za-z0-9](?:[A-Za-z0-9_-]|[.](?![.]))*"
_VAULT_PATH = f"{_SEGMENT}(/{_SEGMENT})*"

Flag = Annotated[bool, Strict(), BeforeValidator(_literal)]
Whole = Annotated[int, Strict(), BeforeValidator(_literal)]
Share = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_literal)]

AnyDuration = Annotated[timedelta, _duration("0s")]
SomeDuration = Annotated[timedelta, _duration("1ms")]
Interval = Annotated[timedelta, _duration("1s")]

Url = Annotated[str, AfterValidator(base_url)]
WebhookUrl = Annotated[str, AfterValidator(checked_url)]
StoreUrl = Annotated[
    str,
    _text(r"(sqlite:///|postgresql\+psycopg://).+", "sqlite:////path or postgresql+psycopg://...", echo=False),
    AfterValidator(_store_url),
]
CaFile = Annotated[Authorities, BeforeValidator(_authorities)]
AbsolutePath = Annotated[Path, _text("/.*", "an absolute path")]
SocketPath = Annotated[AbsolutePath, AfterValidator(_socket_path)]
PlatformName = Annotated[str, _text("[a-z0-9][a-z0-9_-]{0,62}", "a name of a-z, 0-9, _ and -")]
ProfileRef = Annotated[str, _text("[a-z0-9][a-z0-9-]{0,62}|/[^\0\n]+", "the name of a profile, or an absolute path")]
# A path of the platform's API may hold it, where . and .. would lead elsewhere.
ClientId = Annotated[str, _text(r"(?!\.\.?$)[!-~]{1,256}", "1 to 256 visible ASCII characters, and not . or ..")]
Crontab = Annotated[str, _text(r"\s*\S+(\s+\S+){4}\s*", 'five fields such as "*/15 * * * *"')]
# hvac does not quote paths: one with ".." would read another tenant's secret.
VaultPath = Annotated[
    str,
    AfterValidator(_bare),
    _text(_VAULT_PATH, 'names joined by "/", of A-Z, a-z, 0-9, _, - and single dots'),
]
VaultMount = Annotated[VaultPath, AfterValidator(_mount)]
VaultAddress = Annotated[Url, AfterValidator(_vault_address)]
CredentialName = Annotated[str, _text("[A-Za-z0-9][A-Za-z0-9_.@-]*", "a name of A-Z, a-z, 0-9, _, -, . and @")]
VariableName = Annotated[str, _text("[A-Za-z_][A-Za-z0-9_]*", "the name of a variable")]
HeaderName = Annotated[
    str, _text(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", "the name of a header field"), AfterValidator(str.lower)
]
JsonPath = Annotated[str, _text(r"[^.]+([.][^.]+)*", 'names joined by dots, such as "error.code"')]
VarName = Annotated[str, _text("[a-z][a-z0-9_]{0,62}", "a name of a-z, 0-9 and _")]
PrintableText = Annotated[str, _text("[ -~]{1,1024}", "1 to 1024 printable ASCII characters")]
SomeText = Annotated[str, _text(".+", "some text")]
