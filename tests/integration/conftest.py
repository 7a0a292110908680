"""A real OpenBao for each file of tests that reads from one."""

from collections.abc import AsyncIterator

import pytest

from adsyncd.credentials.vault import Vault
from adsyncd.demo.openbao import OpenBao, Role
from support.vault import ACME, by_role, opened, real_openbao


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[OpenBao]:
    async with real_openbao() as server:
        await server.put_secret("adsyncd/acme", ACME)
        yield server


@pytest.fixture
async def role(server: OpenBao) -> Role:
    return await server.put_role("adsyncd", "adsyncd/*", token_ttl="3600s")


@pytest.fixture
async def vault(server: OpenBao, role: Role) -> AsyncIterator[Vault]:
    async with opened(by_role(server, role)) as vault:
        yield vault
