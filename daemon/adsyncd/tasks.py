"""Background tasks for the length of a block, and blocking calls in threads."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar, TypeVarTuple

import anyio
import anyio.lowlevel

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


async def side_by_side(*tasks: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run tasks at the same time, until all have ended."""
    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(task)


async def give_way(number: int, every: int = 200) -> None:
    """Let the event loop have a turn after each `every` items of a long row. `number`: of the item, from 0."""
    if number % every == every - 1:
        await anyio.lowlevel.checkpoint()


class OffLoop(Protocol):
    """Runs a blocking call without blocking the event loop: in a thread, or in a simulation at once."""

    async def __call__(self, call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:
        """Return the result of `call`, or raise its exception. `limiter` bounds the concurrent calls."""


async def in_thread(call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:
    """Run a blocking call in a thread."""
    return await anyio.to_thread.run_sync(call, limiter=limiter)


@contextmanager
def own_threads(name: str, count: int = 1) -> Iterator[OffLoop]:
    """Yield what runs blocking calls in so many threads, in order. They end with the block, after the last call.

    A call costs a third of what it does `in_thread`: no limiter, no copied context, no look for an idle thread.
    """
    calls = SimpleQueue[Callable[[], None] | None]()

    def work() -> None:
        while (call := calls.get()) is not None:
            call()

    async def run(call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:  # noqa: ARG001 - the threads are the limit
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()
        context = copy_context()  # in which the loop is told, as soon as callbacks of this one have their turns

        def make() -> None:
            try:
                tell = partial(_settle, done, done.set_result, call())
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                tell = partial(_settle, done, done.set_exception, error)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(tell, context=context)

        calls.put(make)
        return await done

    threads = [threading.Thread(target=work, name=name) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield run
    finally:
        for _ in threads:
            calls.put(None)
        for thread in threads:
            thread.join()


def _settle(done: asyncio.Future[Any], settle: Callable[[Any], None], value: object) -> None:
    if not done.cancelled():
        settle(value)


async def at_once(call: Callable[[], Result], limiter: anyio.CapacityLimiter) -> Result:  # noqa: ARG001 - calls never overlap here
    """Run a call at once: a virtual clock allows no threads."""
    return call()
