import anyio
import pytest

from adsyncd.errors import AdsyncdError, RunCancelled
from adsyncd.platforms.halt import Halt

CANCELLED = RunCancelled("cancelled", resumable=False)


async def test_a_wait_ends_at_once_with_the_reason() -> None:
    halt, ended = Halt(), list[AdsyncdError]()

    async def wait() -> None:
        with pytest.raises(RunCancelled) as caught, halt.waiting():
            await anyio.sleep_forever()
        ended.append(caught.value)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        halt.halt(CANCELLED)
    assert ended == [CANCELLED] * 3


async def test_what_does_not_wait_goes_on_and_the_next_wait_is_refused() -> None:
    halt = Halt()
    with halt.waiting():
        await anyio.lowlevel.checkpoint()
    halt.halt(CANCELLED)
    await anyio.lowlevel.checkpoint()
    with pytest.raises(RunCancelled), halt.waiting():
        raise AssertionError("nothing waits any more")
    with pytest.raises(RunCancelled):
        halt.check()


def test_queues_are_told_the_first_reason_alone() -> None:
    halt, told = Halt(), list[AdsyncdError]()
    halt.tell(told.append)
    halt.halt(CANCELLED)
    halt.halt(RunCancelled("again", resumable=True))
    assert (told, halt.reason) == ([CANCELLED], CANCELLED)
    with pytest.raises(RunCancelled):
        halt.tell(told.append)


async def test_a_wait_that_is_cancelled_from_outside_ends_so() -> None:
    halt = Halt()
    with anyio.move_on_after(0.01) as scope, halt.waiting():
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    halt.halt(CANCELLED)
