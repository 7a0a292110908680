"""One reader for all tenants, whatever keeps their credentials; each read is a span."""

from collections.abc import Mapping

from opentelemetry.trace import Tracer

from adsyncd.credentials.account import Credentials
from adsyncd.credentials.environment import read_environment
from adsyncd.credentials.systemd import read_systemd
from adsyncd.credentials.vault import Vault
from adsyncd.errors import CredentialsMissing
from adsyncd.instruments import CREDENTIALS_SOURCE, SPAN_CREDENTIALS, span
from adsyncd.tenant import CredentialsRef, EnvRef, SystemdRef, VaultRef

_SOURCES = {VaultRef: "vault", EnvRef: "environment", SystemdRef: "systemd"}


class CredentialsReader:
    """Reads credentials from where their reference leads. `vault` is None where the settings name none."""

    def __init__(self, vault: Vault | None, environ: Mapping[str, str], tracer: Tracer) -> None:
        self._vault = vault
        self._environ = environ
        self._tracer = tracer

    async def read(self, ref: CredentialsRef) -> Credentials:
        """Return what `ref` leads to now; raises `CredentialsMissing` or `CredentialsUnavailable`."""
        with span(self._tracer, SPAN_CREDENTIALS, {CREDENTIALS_SOURCE: _SOURCES[type(ref)]}):
            return await self._read(ref)

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
