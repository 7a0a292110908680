"""Certificate authorities in a file that the settings name: read with them, so that a reload takes up a new one."""

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from adsyncd.config.diagnostics import wrong
from adsyncd.config.regular_file import read_regular
from adsyncd.config.toml_file import unreadable

_MOST_BYTES = 1 << 20
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\s.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Authorities:
    """The certificates of authorities, as PEM."""

    path: Path
    pem: str = field(repr=False)


def _read(value: object) -> object:
    if not isinstance(value, str) or not value.startswith("/"):
        raise wrong("expected an absolute path")
    path = Path(value)
    try:
        content = read_regular(path, _MOST_BYTES)
    except OSError as error:
        problem = unreadable(path, error, "put the PEM of the authority there")
        raise wrong(problem.what, problem.fix) from None
    except ValueError:  # a NUL
        raise wrong("expected an absolute path") from None
    # What stands between certificates, as bundles have it, may be any text.
    pem = "\n".join(found.decode("latin-1") for found in _CERTIFICATE.findall(content))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError):
        raise wrong("holds no certificates in PEM", "put the PEM of the authority there") from None
    return Authorities(path, pem)


CaFile = Annotated[Authorities, BeforeValidator(_read)]
