"""Reads the credentials of all tenants, from Vault, systemd or the environment; each read is a span."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import structlog
from opentelemetry.trace import Tracer

from adsyncd.credentials.sources import Credentials, read_environment, read_systemd, variables
from adsyncd.errors import CredentialsMissing
from adsyncd.model.tenant import CredentialsRef, EnvRef, SystemdRef, VaultRef
from adsyncd.telemetry.instruments import CREDENTIALS_SOURCE, SPAN_CREDENTIALS, span

if TYPE_CHECKING:
    from adsyncd.credentials.vault import Vault

_log = structlog.stdlib.get_logger(__name__)

_SOURCES = {VaultRef: "vault", EnvRef: "environment", SystemdRef: "systemd"}

TRIMMED = "credentials end in a line break, which is not sent"


class CredentialsReader:
    """Reads credentials by reference. `vault` is None if the settings have no [vault]."""

    def __init__(self, vault: "Vault | None", environ: Mapping[str, str], tracer: Tracer) -> None:
        self._vault = vault
        self._environ = environ
        self._tracer = tracer
        self._trimmed: set[CredentialsRef] = set()

    async def read(self, ref: CredentialsRef) -> Credentials:
        """Return the current credentials at `ref`. Raises `CredentialsMissing` or `CredentialsUnavailable`."""
        with span(self._tracer, SPAN_CREDENTIALS, {CREDENTIALS_SOURCE: _SOURCES[type(ref)]}):
            credentials = await self._read(ref)
        if credentials.trimmed and ref not in self._trimmed:
            self._trimmed.add(ref)
            _log.warning(TRIMMED, place=_place(ref))
        return credentials

    def newest(self, ref: CredentialsRef, until: float) -> int | None:
        """Return the newest version seen in Vault, and keep polling until `until`; None for other sources."""
        return self._vault.newest(ref, until) if self._vault and isinstance(ref, VaultRef) else None

    async def _read(self, ref: CredentialsRef) -> Credentials:
        match ref:
            case VaultRef():
                if self._vault is None:
                    raise CredentialsMissing(
                        f"the credentials {ref.path} are in Vault, which the settings lack; add [vault]"
                    )
                return await self._vault.read(ref)
            case EnvRef():
                return read_environment(ref, self._environ)
            case SystemdRef():
                return read_systemd(ref, self._environ)


def remark(ref: CredentialsRef, environ: Mapping[str, str]) -> str | None:
    """Return what is wrong with credentials outside Vault, without any request; None if nothing is.

    None also if `environ` has none of them: the daemon's own environment may.
    """
    match ref:
        case EnvRef() if any(environ.get(name) for name in variables(ref)):
            read = partial(read_environment, ref, environ)
        case SystemdRef() if environ.get("CREDENTIALS_DIRECTORY"):
            read = partial(read_systemd, ref, environ)
        case _:
            return None
    try:
        return f"its {TRIMMED}" if read().trimmed else None
    except CredentialsMissing as error:
        return str(error)


def _place(ref: CredentialsRef) -> str:
    match ref:
        case VaultRef(path):
            return path
        case EnvRef():
            return ", ".join(variables(ref))
        case SystemdRef(name):
            return name
