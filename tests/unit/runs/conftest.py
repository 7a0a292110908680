from collections.abc import Mapping
from typing import Any

import pytest

from support.virtual_time import BACKEND


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND
