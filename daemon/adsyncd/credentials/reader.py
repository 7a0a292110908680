"""One reader for all tenants, whatever keeps their credentials; each read is a span."""

from collections.abc import Mapping

from opentelemetry.trace import StatusCode, Tracer

from adsyncd.credentials.account import Credentials
from adsyncd.credentials.environment import read_environment
from adsyncd.credentials.systemd import read_systemd
from adsyncd.credentials.vault import Vault
from adsyncd.errors import CredentialsMissing
from adsyncd.instruments import CREDENTIALS_SOURCE, ERROR_TYPE, SPAN_CREDENTIALS
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
        with self._tracer.start_as_current_span(
            SPAN_CREDENTIALS,
            attributes={CREDENTIALS_SOURCE: _SOURCES[type(ref)]},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await self._read(ref)
            except BaseException as exc:
                span.set_attribute(ERROR_TYPE, type(exc).__qualname__)
                span.set_status(StatusCode.ERROR)
                raise

    async def _read(self, ref: CredentialsRef) -> Credentials:
        match ref:
            case VaultRef(path):
                if self._vault is None:
                    raise CredentialsMissing(
                        f"the credentials {path} are in Vault, and the settings name none; add [vault]"
                    )
                return await self._vault.read(path)
            case EnvRef(prefix):
                return read_environment(prefix, self._environ)
            case SystemdRef(name):
                return read_systemd(name, self._environ)
