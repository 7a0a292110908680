"""How single values are written in the settings and drop-ins: durations, addresses, names, and what bounds them."""

import json
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from adsyncd.config.diagnostics import wrong
from adsyncd.duration import parse_duration

_LONGEST_SOCKET = 107  # and a zero byte: unix(7)


class Variable(str):
    """The text of an environment variable, where numbers and booleans can only be text."""

    __slots__ = ()


class ConfigTable(BaseModel):
    """A table of a configuration file, in which unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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
        if isinstance(value, timedelta):  # TOML has none: it was read before, in [defaults]
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
    """Let through what matches `pattern` whole; `what` says in words what that is."""
    shape = re.compile(pattern)

    def check(value: str | Path) -> str | Path:
        if not shape.fullmatch(str(value)):
            raise wrong(f"expected {what}", echo=echo)
        return value

    return AfterValidator(check)


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    else:
        if "@" in parts.netloc:
            raise wrong("must not hold a user or a password", "leave out everything up to the @", echo=False)
    if not sound or not re.fullmatch(r"https?://[!-~]+", value) or "#" in value:
        raise wrong("expected an address that begins with https:// or http://", echo=False)
    return value


def _base_url(value: str) -> str:
    if "?" in _url(value):
        raise wrong(
            "must not have a query, since paths are put behind it", "leave out the ? and what follows", echo=False
        )
    return value.rstrip("/")


def _socket_path(value: Path) -> Path:
    if len(os.fsencode(value)) > _LONGEST_SOCKET:
        raise wrong(f"must have at most {_LONGEST_SOCKET} bytes, as no socket's path is longer")
    return value


def _bare(value: str) -> str:
    if "://" in value:
        raise wrong("expected names without an address", "leave out all up to vault.mount, and that, too", echo=False)
    bare = value.strip("/")
    if bare != value:
        fix = f'write "{bare}"' if re.fullmatch(_VAULT_PATH, bare) else 'leave out that "/"'
        raise wrong('must not begin or end with a "/"', fix, echo=False)
    return value


def _mount(value: str) -> str:
    right = value.removeprefix("v1/").removesuffix("/data").removesuffix("/metadata")
    if right != value:
        raise wrong("has parts of the API's paths, which adsyncd adds by itself", f'write mount = "{right}"')
    return value


def _vault_address(value: str) -> str:
    if value.endswith("/v1"):
        raise wrong("has a part of the API's paths, which adsyncd adds by itself", 'leave out the "/v1" at its end')
    return value


_SEGMENT = "[A-Za-z0-9](?:[A-Za-z0-9_-]|[.](?![.]))*"
_VAULT_PATH = f"{_SEGMENT}(/{_SEGMENT})*"

Flag = Annotated[bool, Strict(), BeforeValidator(_literal)]
Whole = Annotated[int, Strict(), BeforeValidator(_literal)]
Share = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_literal)]

AnyDuration = Annotated[timedelta, _duration("0s")]
SomeDuration = Annotated[timedelta, _duration("1ms")]
Interval = Annotated[timedelta, _duration("1s")]

Url = Annotated[str, AfterValidator(_base_url)]
WebhookUrl = Annotated[str, AfterValidator(_url)]
StoreUrl = Annotated[
    str, _text(r"(sqlite:///|postgresql\+psycopg://).+", "sqlite:///... or postgresql+psycopg://...", echo=False)
]
AbsolutePath = Annotated[Path, _text("/.*", "an absolute path")]
SocketPath = Annotated[AbsolutePath, AfterValidator(_socket_path)]
PlatformName = Annotated[str, _text("[a-z0-9][a-z0-9_-]{0,62}", "a name of a-z, 0-9, _ and -")]
ClientId = Annotated[str, _text("[!-~]{1,256}", "1 to 256 visible ASCII characters")]
Crontab = Annotated[str, _text(r"\s*\S+(\s+\S+){4}\s*", 'five fields such as "*/15 * * * *"')]
# hvac does not quote paths, so that one with ".." would read another tenant's secret.
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
SomeText = Annotated[str, _text(".+", "some text")]
