"""One reader for all tenants, whatever keeps their credentials; each read is a span."""

from collections.abc import Mapping
from functools import partial

import structlog
from opentelemetry.trace import Tracer

from adsyncd.credentials.account import Credentials
from adsyncd.credentials.environment import read_environment
from adsyncd.credentials.systemd import read_systemd
from adsyncd.credentials.vault import Vault
from adsyncd.errors import CredentialsMissing
from adsyncd.model.tenant import CredentialsRef, EnvRef, SystemdRef, VaultRef
from adsyncd.telemetry.instruments import CREDENTIALS_SOURCE, SPAN_CREDENTIALS, span

_log = structlog.stdlib.get_logger(__name__)

_SOURCES = {VaultRef: "vault", EnvRef: "environment", SystemdRef: "systemd"}


TRIMMED = "credentials end in a line break, which is not sent"


class CredentialsReader:
    """Reads credentials from where their reference leads. `vault` is None where the settings name none."""

    def __init__(self, vault: Vault | None, environ: Mapping[str, str], tracer: Tracer) -> None:
        self._vault = vault
        self._environ = environ
        self._tracer = tracer
        self._trimmed: set[CredentialsRef] = set()

    async def read(self, ref: CredentialsRef) -> Credentials:
        """Return what `ref` leads to now; raises `CredentialsMissing` or `CredentialsUnavailable`."""
        with span(self._tracer, SPAN_CREDENTIALS, {CREDENTIALS_SOURCE: _SOURCES[type(ref)]}):
            credentials = await self._read(ref)
        if credentials.trimmed and ref not in self._trimmed:
            self._trimmed.add(ref)
            _log.warning(TRIMMED, place=_place(ref))
        return credentials

    def newest(self, ref: CredentialsRef, until: float) -> int | None:
        """Return the newest version that was seen of what is in Vault, and keep looking `until` then; else None."""
        return self._vault.newest(ref, until) if self._vault and isinstance(ref, VaultRef) else None

    async def _read(self, ref: CredentialsRef) -> Credentials:
        match ref:
            case VaultRef():
                if self._vault is None:
                    raise CredentialsMissing(
                        f"the credentials {ref.path} are in Vault, and the settings name none; add [vault]"
                    )
                return await self._vault.read(ref)
            case EnvRef(prefix):
                return read_environment(prefix, self._environ)
            case SystemdRef(name):
                return read_systemd(name, self._environ)


def remark(ref: CredentialsRef, environ: Mapping[str, str]) -> str | None:
    """Say what is wrong with credentials that are not in Vault, without asking anybody.

    None if nothing is, or if `environ` has none of them: the daemon's own environment may.
    """
    match ref:
        case EnvRef(prefix) if any(environ.get(f"{prefix}_{part}") for part in ("EMAIL", "PASSWORD")):
            read = partial(read_environment, prefix, environ)
        case SystemdRef(name) if environ.get("CREDENTIALS_DIRECTORY"):
            read = partial(read_systemd, name, environ)
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
        case EnvRef(prefix):
            return f"{prefix}_EMAIL, {prefix}_PASSWORD"
        case SystemdRef(name):
            return name
