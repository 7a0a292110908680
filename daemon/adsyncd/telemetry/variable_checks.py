"""Checks for the values of standard variables. No message quotes a value that may be a secret."""

import logging
import re
import ssl
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from os import pathsep
from pathlib import Path
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

MOST = 2**31 - 1
MOST_PORT = 2**16 - 1

Wrong = tuple[str, str]  # what is wrong, and the fix
Check = Callable[[str], Wrong | None]


def whole(least: int, most: int = MOST) -> Check:
    """Expect a whole number."""
    return _number(int, least, most, f"must be a whole number from {least} to {most}")


def time_in(unit: str) -> Check:
    """Expect a time, which may be a fraction."""
    return _number(float, 0.001, MOST, f"must be a number of {unit}, more than 0")


def share(value: str) -> Wrong | None:
    """Expect a number from 0 to 1."""
    return _number(float, 0, 1, "must be a number from 0 to 1")(value)


def _number(parse: Callable[[str], float], least: float, most: float, rule: str) -> Check:
    def check(value: str) -> Wrong | None:
        try:
            right = least <= parse(value) <= most
        except ValueError:
            right = False
        return None if right else (rule, "write a number without a unit, or remove the variable")

    return check


def one_of(*values: str, fold: Callable[[str], str] = str) -> Check:
    """Expect one of some words, after `fold` has normalized the value."""

    def check(value: str) -> Wrong | None:
        return None if fold(value) in values else ("is not supported", f"choose {', '.join(values)}")

    return check


def exporters(*more: str) -> Check:
    """Expect a list of exporters: those of all signals, or one of `more`."""
    known = ("otlp", "console", *more, "none")

    def check(value: str) -> Wrong | None:
        names = [name.strip() for name in value.split(",")]
        unknown = next((name for name in names if name not in known), None)
        fix = f"choose {', '.join(known[:-1])} or none"
        return None if unknown is None else (f"{unknown!r} is not supported", fix)

    return check


def protocol(value: str) -> Wrong | None:
    """Expect the protocol of the installed exporters."""
    return None if value == "http/protobuf" else (f"{value!r} is not supported", "use http/protobuf, often port 4318")


def installed(group: str, *known: str) -> Check:
    """Expect a list of names that installed packages provide; those in `known` always exist."""

    def check(value: str) -> Wrong | None:
        names = [name.strip() for name in value.split(",")]
        absent = next((name for name in names if name not in known and not entry_points(group=group, name=name)), None)
        return None if absent is None else (f"{absent!r} is not installed", f"choose from {', '.join(known)}")

    return check


def address(value: str) -> Wrong | None:
    """Expect a URL for HTTP."""
    try:
        parts = urlsplit(value)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if right and value.isprintable() and " " not in value:
        return None
    return "is not an address that begins with http:// or https://", "write it like http://collector.internal:4318"


def host(value: str) -> Wrong | None:
    """Expect the name or address of a host."""
    if re.fullmatch(r"[0-9A-Za-z_.-]+|[0-9A-Fa-f:.]+", value.strip()):
        return None
    return "is not the name or address of a host", "write localhost or 0.0.0.0, without a port"


def headers(value: str) -> Wrong | None:
    """Expect a list of headers, parsed as the SDK does."""
    teller = logging.getLogger("opentelemetry.util.re")
    before, teller.disabled = teller.disabled, True  # it would log each malformed header
    try:
        parts = value.split(",")
        for number, part in enumerate(parts, 1):
            read = parse_env_headers(part, liberal=True)
            if (part.strip() and not read) or not all(_can_be_sent(name + text) for name, text in read.items()):
                which = f"header {number} of {len(parts)}" if len(parts) > 1 else "the header"
                return f"{which} is not NAME=VALUE", "write it like authorization=Bearer%20KEY, with %2C for a comma"
    finally:
        teller.disabled = before
    return None


def _can_be_sent(text: str) -> bool:
    return re.fullmatch(r"[\x20-\x7e\xa0-\xff]*", text) is not None


def attributes(value: str) -> Wrong | None:
    """Expect a list of attributes."""
    items = value.rstrip().removesuffix(",").split(",")
    for number, item in enumerate(items, 1):
        if not item.partition("=")[0].strip() or "=" not in item:
            return f"attribute {number} of {len(items)} is not NAME=VALUE", "write it so, with %2C for a comma"
    return None


def file(value: str) -> Wrong | None:
    """Expect a readable file."""
    try:
        with Path(value).open("rb"):
            return None
    except OSError as error:
        return f"names a file that can't be read: {error.strerror}", "name a readable PEM file"


def authorities(value: str) -> Wrong | None:
    """Expect a file with certificates, or a directory of such files."""
    if any(Path(place).is_dir() for place in value.split(pathsep)):
        return None
    if wrong := file(value):
        return wrong
    if not _has_certificate(value, Path(value).stat().st_mtime_ns):
        return "names a file without a certificate", "name a PEM file with certificates"
    return None


@cache
def _has_certificate(file: str, _modified_ns: int) -> bool:
    """Return whether a file has a certificate. Several variables often name one file, and reading it takes 25 ms."""
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        return False
    return True
