"""A real OpenBao for tests, and the ways to reach it."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from random import Random

import anyio
import httpx
import pytest
import trustme
from opentelemetry.metrics import NoOpMeter
from pydantic import SecretStr

from adsyncd.clock import Clock, SystemClock
from adsyncd.credentials import Credentials
from adsyncd.credentials.identity import TokenLease
from adsyncd.credentials.vault import AppRole, Vault, VaultAccess, VaultToken, open_vault
from adsyncd.demo.openbao import OpenBao, Role, Tls, openbao, openbao_binary
from adsyncd.errors import AdsyncdError, CredentialsError
from adsyncd.model.tenant import VaultRef
from adsyncd.telemetry.instruments import Instruments
from support.accounts import an_account

ACME = {"email": "ads@acme.example", "password": "canary-password"}
CREDENTIALS = an_account(ACME["email"], ACME["password"])


class Least(Random):
    """Draws the least that it may: the first wait after a failure is half a second."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - a generator's signature
        return a


def documented_policy(name: str) -> str:
    """Return the policy in `docs/vault.md` that its first line calls `name`."""
    page = (Path(__file__).parents[2] / "docs" / "vault.md").read_text(encoding="utf-8")
    [policy] = re.findall(rf"```hcl\n# {name}\.hcl\b.*\n([^`]+)```", page)
    return str(policy)


async def wrapped_secret_id(server: OpenBao, role: str, ttl: str = "60s") -> SecretStr:
    """Return a wrapping token of a new secret id of the AppRole `role`."""
    return await wrapped(server, "POST", f"auth/approle/role/{role}/secret-id", ttl)


async def wrapped(server: OpenBao, method: str, path: str, ttl: str = "60s") -> SecretStr:
    """Return a wrapping token of what root is answered."""
    headers = {"X-Vault-Token": server.root_token.get_secret_value(), "X-Vault-Wrap-TTL": ttl}
    async with httpx.AsyncClient(base_url=f"{server.address}/v1/", headers=headers, trust_env=False) as http:
        answer = (await http.request(method, path)).raise_for_status().json()
    return SecretStr(answer["wrap_info"]["token"])


@asynccontextmanager
async def real_openbao(*, port: int | None = None, tls: Tls | None = None) -> AsyncIterator[OpenBao]:
    """Start a server; where it is not installed, fail under CI and skip elsewhere."""
    try:
        openbao_binary()
    except AdsyncdError as exc:
        (pytest.fail if "CI" in os.environ else pytest.skip)(str(exc))
    async with openbao(port=port, tls=tls) as server:
        yield server


def private_tls(folder: Path) -> Tls:
    """Make a CA that nobody else trusts and a certificate for 127.0.0.1 from it."""
    ca = trustme.CA()
    certificate = ca.issue_cert("127.0.0.1")
    tls = Tls(folder / "server.pem", folder / "server.key", folder / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tls.certificate)
    certificate.private_key_pem.write_to_path(tls.key)
    ca.cert_pem.write_to_path(tls.ca)
    return tls


def opened(
    access: VaultAccess, clock: Clock | None = None, instruments: Instruments | None = None
) -> AbstractAsyncContextManager[Vault]:
    """Open the way to Vault as the daemon does; nobody looks at the metrics unless `instruments` are given."""
    return open_vault(access, clock or SystemClock(), Least(), instruments or Instruments(NoOpMeter("test")))


def by_role(server: OpenBao, role: Role) -> VaultAccess:
    """Return the access of a daemon that signs in by AppRole."""
    return _access(server, AppRole(role.role_id, lambda: role.secret_id))


def by_token(server: OpenBao, token: SecretStr | None = None) -> VaultAccess:
    """Return the access of a daemon that signs in by `token`, or by the root token."""
    return _access(server, VaultToken(lambda: token or server.root_token))


def _access(server: OpenBao, auth: AppRole | VaultToken) -> VaultAccess:
    return VaultAccess(
        address=server.address,
        mount="secret",
        namespace=None,
        ca_file=None,
        timeout=timedelta(seconds=10),
        poll=timedelta(minutes=1),
        auth=auth,
    )


async def read_again(vault: Vault) -> Credentials:
    """Read as soon as the wait is over that a failure has caused."""
    with anyio.fail_after(30):
        while True:
            with suppress(CredentialsError):
                return await vault.read(VaultRef("adsyncd/acme"))
            await anyio.sleep(0.02)


async def read(access: VaultAccess, path: str = "adsyncd/acme") -> Credentials:
    async with opened(access) as vault:
        return await vault.read(VaultRef(path))


async def issue_token(server: OpenBao, **settings: object) -> SecretStr:
    answer = await server.ask("POST", "auth/token/create", {"policies": ["adsyncd"], **settings})
    return SecretStr(answer["auth"]["client_token"])


def lease_of(vault: Vault) -> TokenLease:
    lease = vault._daemon._lease
    assert lease is not None
    return lease


def token_of(vault: Vault) -> str:
    return lease_of(vault).token.get_secret_value()


async def revoke(server: OpenBao, vault: Vault) -> None:
    await server.ask("POST", "auth/token/revoke", {"token": token_of(vault)})
