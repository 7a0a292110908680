"""Tests of platforms run on the virtual clock."""

from collections.abc import Mapping
from typing import Any

import pytest

from adsyncd.platforms.session import Token
from support.sessions import Parts
from support.virtual_time import BACKEND


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


@pytest.fixture
def parts() -> Parts:
    """A session, and all that it talks to."""
    return Parts()


@pytest.fixture
async def first(parts: Parts) -> Token:
    """The token of the session's first sign-in."""
    return await parts.token()
