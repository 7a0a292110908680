"""Where calls are made that would hold up the event loop: in threads or, where the time is virtual, at once."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import anyio

Result = TypeVar("Result")


class OffLoop(Protocol):
    """Makes a call that blocks where it holds nobody up: in a thread or, in a simulation, at once."""

    async def __call__(self, call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:
        """Return what `call` returns, or raise what it raises. `limiter`: how many may be made at a time."""


async def in_thread(call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:
    """Make a call that blocks in a thread."""
    return await anyio.to_thread.run_sync(call, limiter=limiter)


async def at_once(call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:  # noqa: ARG001 - one at a time it is anyway
    """Make a call here and now: a virtual clock allows no threads."""
    return call()
