"""Background tasks for the length of a block, and blocking calls in threads."""

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
    """Run a task while the block runs. An exception of the block is raised unchanged, in no exception group."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(task, *arguments)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised below, outside of the task group
            failure = error
        tasks.cancel_scope.cancel()
    if failure:
        raise failure


class OffLoop(Protocol):
    """Runs a blocking call without blocking the event loop: in a thread, or in a simulation at once."""

    async def __call__(self, call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:
        """Return the result of `call`, or raise its exception. `limiter` bounds the concurrent calls."""


async def in_thread(call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:
    """Run a blocking call in a thread."""
    return await anyio.to_thread.run_sync(call, limiter=limiter)


async def at_once(call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:  # noqa: ARG001 - calls never overlap here
    """Run a call at once: a virtual clock allows no threads."""
    return call()
