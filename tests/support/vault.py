"""A real OpenBao for tests, and the ways to reach it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from adsyncd.credentials import AppRole, VaultAccess, VaultToken
from adsyncd.demo.openbao import OpenBao, Role, Tls, openbao, openbao_binary
from adsyncd.errors import AdsyncdError


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


def by_role(server: OpenBao, role: Role) -> VaultAccess:
    """Return the access of a daemon that signs in by AppRole."""
    return _access(server, AppRole(role.role_id, lambda: role.secret_id))


def by_token(server: OpenBao, token: SecretStr | None = None) -> VaultAccess:
    """Return the access of a daemon that signs in by `token`, or by the root token."""
    return _access(server, VaultToken(lambda: token or server.root_token))


def _access(server: OpenBao, auth: AppRole | VaultToken) -> VaultAccess:
    return VaultAccess(server.address, "secret", None, None, timedelta(seconds=10), auth)
