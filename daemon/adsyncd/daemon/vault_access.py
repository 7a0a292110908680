"""How the settings say that Vault is reached. Only an installation that has a [vault] imports this."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from pydantic import SecretStr

from adsyncd.clock import Clock, entropy
from adsyncd.config import SecretRef
from adsyncd.config.settings import AppRoleAuth, VaultTable
from adsyncd.credentials import resolve_secret
from adsyncd.credentials.vault import AppRole, Vault, VaultAccess, VaultToken, open_vault
from adsyncd.telemetry.instruments import Instruments


def opened(
    table: VaultTable, environ: Mapping[str, str], clock: Clock, instruments: Instruments
) -> AbstractAsyncContextManager[Vault]:
    """Return a client of the Vault that the settings name."""
    return open_vault(_access(table, environ), clock, entropy(), instruments)


def _access(table: VaultTable, environ: Mapping[str, str]) -> VaultAccess:
    def secret(ref: SecretRef) -> Callable[[], SecretStr]:
        return lambda: resolve_secret(ref.place(), environ)

    auth = (
        AppRole(table.auth.role_id, secret(table.auth.secret_id), wrapped=table.auth.secret_id.wrapped)
        if isinstance(table.auth, AppRoleAuth)
        else VaultToken(secret(table.auth.token))
    )
    return VaultAccess(
        address=table.address,
        mount=table.mount,
        namespace=table.namespace,
        ca_file=table.ca_file,
        timeout=table.timeout,
        poll=table.poll,
        auth=auth,
    )
