"""One platform process for each file, healthy with an empty ledger when a test starts, and an installation."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.platform import Platform, accounts, environ_of, running_platform
from support.program import AMPLE, Program

TENANTS = ("acme", "globex", "initech")


@pytest.fixture(scope="module")
async def shared_platform() -> AsyncIterator[Platform]:
    async with running_platform({"accounts": accounts(*TENANTS)}) as running:
        yield running


@pytest.fixture
async def platform(shared_platform: Platform) -> Platform:
    """A healthy platform with an empty ledger."""
    await shared_platform.treat()
    await shared_platform.reset_ledger()
    return shared_platform


@pytest.fixture
def program(tmp_path: Path, platform: Platform) -> Program:
    """An installation without drop-ins, with a quota that is never used up."""
    installed = Program(tmp_path, environ_of(*TENANTS))
    (tmp_path / "tenants.d").mkdir()
    installed.settings(platform.base_url, defaults=AMPLE)
    return installed
