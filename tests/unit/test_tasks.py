import asyncio
import threading
from collections.abc import Callable
from contextvars import Context, ContextVar
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from adsyncd.errors import StoreError
from adsyncd.tasks import at_once, beside, give_way, in_thread, own_threads, side_by_side


async def wait(ended: list[str]) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        ended.append("cancelled")


async def test_a_task_beside_a_block_ends_with_it() -> None:
    ended: list[str] = []
    async with beside(wait, ended):
        await anyio.wait_all_tasks_blocked()
        assert ended == []
    assert ended == ["cancelled"]


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    ended: list[str] = []
    with pytest.raises(StoreError, match="the disk is full"):  # noqa: PT012 - the block is what is tested
        async with beside(wait, ended):
            await anyio.wait_all_tasks_blocked()
            raise StoreError("the disk is full")
    assert ended == ["cancelled"]


async def test_what_the_block_returns_early_is_no_reason_to_wait() -> None:
    async def value() -> int:
        async with beside(wait, []):
            return 1

    assert await value() == 1


async def test_a_task_that_breaks_down_ends_the_block() -> None:
    async def break_down() -> None:
        raise KeyError

    with pytest.raises(ExceptionGroup) as raised:
        async with beside(break_down):
            await anyio.sleep_forever()
    assert raised.group_contains(KeyError)


async def test_a_block_can_be_cancelled() -> None:
    ended: list[str] = []
    with anyio.CancelScope() as scope:
        async with beside(wait, ended):
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert ended == ["cancelled"]


def fail() -> None:
    raise ValueError("in vain")


async def test_a_call_is_made_in_a_thread_and_its_result_and_errors_come_back() -> None:
    one = anyio.CapacityLimiter(1)
    assert await in_thread(threading.get_ident, limiter=one) != threading.get_ident()
    with pytest.raises(ValueError, match="in vain"):
        await in_thread(fail, limiter=one)


async def test_calls_are_made_one_after_the_other_in_a_thread_that_ends_with_its_block() -> None:
    one = anyio.CapacityLimiter(1)
    begun, goes_on = threading.Event(), threading.Event()

    def held() -> int:
        begun.set()
        assert goes_on.wait(timeout=10)
        return threading.get_ident()

    with own_threads("writer") as off_loop:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(off_loop, held, one)
            await anyio.to_thread.run_sync(begun.wait)
            tasks.cancel_scope.cancel()  # which leaves the call to itself
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(off_loop, threading.get_ident, one)
            await anyio.wait_all_tasks_blocked()
            goes_on.set()
        [thread] = [each for each in threading.enumerate() if each.name == "writer"]
        assert await off_loop(threading.get_ident, limiter=one) == thread.ident
        with pytest.raises(ValueError, match="in vain"):
            await off_loop(fail, limiter=one)
    assert not thread.is_alive()


async def test_the_loop_is_told_of_a_call_in_the_context_of_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = ContextVar("caller", default="nobody")
    loop, told_in = asyncio.get_running_loop(), list[Context | None]()

    def tell(
        callback: Callable[[], object],
        *,
        context: Context | None = None,
        through: Callable[..., asyncio.Handle] = loop.call_soon_threadsafe,
    ) -> asyncio.Handle:
        told_in.append(context)
        return through(callback, context=context)

    with own_threads("reader") as off_loop:
        caller.set("the control API")
        monkeypatch.setattr(loop, "call_soon_threadsafe", tell)
        await off_loop(threading.get_ident, limiter=anyio.CapacityLimiter(1))
    assert [context and context[caller] for context in told_in] == ["the control API"]


async def test_as_many_calls_are_made_at_once_as_there_are_threads() -> None:
    all_of_them = threading.Barrier(3)
    with own_threads("reader", 3) as off_loop:
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(off_loop, partial(all_of_them.wait, 10), anyio.CapacityLimiter(1))
    assert not [each for each in threading.enumerate() if each.name == "reader"]


async def test_where_threads_are_not_allowed_a_call_is_made_at_once() -> None:
    one = anyio.CapacityLimiter(1)
    assert await at_once(threading.get_ident, limiter=one) == threading.get_ident()
    with pytest.raises(ValueError, match="in vain"):
        await at_once(fail, limiter=one)


async def test_in_a_long_row_others_have_a_turn_now_and_then() -> None:
    turns = list[None]()

    async def other() -> None:
        while True:
            turns.append(None)
            await anyio.lowlevel.checkpoint()

    async with beside(other):
        for number in range(1000):
            await give_way(number, 100)
        assert len(turns) == 10


async def test_tasks_run_at_the_same_time_until_all_have_ended() -> None:
    met, ended = anyio.Event(), list[str]()

    async def first() -> None:
        await met.wait()
        ended.append("first")

    async def second() -> None:
        met.set()
        ended.append("second")

    await side_by_side(first, second)
    assert ended == ["second", "first"]
