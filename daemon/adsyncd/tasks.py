"""Tasks beside a block, and calls in threads."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar, TypeVarTuple

import anyio

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


@asynccontextmanager
async def beside(
    task: Callable[[*Arguments], Coroutine[Any, Any, None]], *arguments: *Arguments
) -> AsyncIterator[None]:
    """Let a task run for as long as the block lasts. What the block raises leaves it as it is, in no group."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(task, *arguments)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised below, where no task group wraps it
            failure = error
        tasks.cancel_scope.cancel()
    if failure:
        raise failure


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
