"""Waiting for what another task, thread or process does."""

from collections.abc import Callable

import anyio


async def until(ready: Callable[[], object], within_s: float = 30) -> None:
    """Return once `ready` says so."""
    with anyio.fail_after(within_s):
        while not ready():  # noqa: ASYNC110 - nothing tells of it
            await anyio.sleep(0.01)
