from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio
import pytest
from anyio.abc import TaskGroup
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.errors import AdsyncdError, CredentialsMissing, SignInRefused, StoreError
from adsyncd.runs import pushing
from adsyncd.runs.pushing import PushQueue, recording

PUSHES = st.lists(st.tuples(st.integers(0, 9), st.none() | st.sampled_from([SignInRefused, CredentialsMissing])))


@given(pushes=PUSHES, concurrency=st.integers(1, 5), size=st.integers(0, 5), filled=st.integers(0, 30))
async def test_all_is_pushed_in_order_a_few_at_a_time_until_the_first_error(
    pushes: list[tuple[int, type[AdsyncdError] | None]], concurrency: int, size: int, filled: int
) -> None:
    """The block that fills the queue fails after `filled` of them."""
    begun: list[int] = []
    done: list[int] = []
    errors: list[tuple[float, AdsyncdError]] = []

    def fail(error: AdsyncdError) -> None:
        errors.append((anyio.current_time(), error))
        raise error

    async def push(number: int) -> None:
        takes_s, error = pushes[number]
        assert not errors or errors[0][0] == anyio.current_time()  # nothing begins after an error
        begun.append(number)
        assert len(begun) - len(done) <= concurrency
        await anyio.sleep(takes_s)
        done.append(number)
        if error:
            fail(error(str(number)))

    queue = PushQueue(push, concurrency=concurrency, size=size)
    async with queue.filling() as give:
        for number in range(len(pushes)):
            if number == filled:
                fail(StoreError("filling"))
            await give.send(number)
    assert begun == list(range(len(begun)))
    assert sorted(done) == begun  # what was begun came back
    if errors:
        assert queue.error is errors[0][1]
    else:
        assert (queue.error, len(done)) == (None, len(pushes))


async def test_items_in_the_queue_are_left_after_an_error() -> None:
    begun = []

    async def push(number: int) -> None:
        begun.append(number)
        await anyio.sleep(1 if number else 5)
        if number:
            raise SignInRefused("no")

    queue = PushQueue(push, concurrency=2, size=2)
    async with queue.filling() as give:
        for number in range(4):
            await give.send(number)
    assert begun == [0, 1]


async def test_an_error_ends_the_filling_even_if_it_waits_for_something_else() -> None:
    async def push(_number: int) -> None:
        raise SignInRefused("no")

    queue = PushQueue(push, concurrency=2)
    async with queue.filling() as give:
        await give.send(1)
        await anyio.sleep(1000)
    assert (str(queue.error), anyio.current_time() < 900) == ("no", True)


async def test_pushers_that_wait_for_an_item_end_after_an_error() -> None:
    queue = PushQueue[int](anyio.sleep, concurrency=3)
    with anyio.fail_after(60):
        async with queue.filling() as give:
            for number in range(3):
                await give.send(number)
            await anyio.sleep(10)
            raise StoreError("the disk is full")
    assert str(queue.error) == "the disk is full"


async def test_a_mistake_of_ours_is_no_error_of_a_push() -> None:
    async def push(_number: int) -> None:
        raise KeyError

    queue = PushQueue(push, concurrency=2)
    with pytest.raises(BaseExceptionGroup):
        async with queue.filling() as give:
            await give.send(1)
    assert queue.error is None


async def test_what_is_recorded_is_recorded_though_cancelled_but_not_for_ever() -> None:
    done = []
    with anyio.move_on_after(1):
        with recording():
            await anyio.sleep(14)
            done.append("recorded")
    assert done == ["recorded"]
    with pytest.raises(StoreError, match="the store took longer than 15 s"), recording():
        await anyio.sleep(16)


async def test_what_takes_many_campaigns_is_recorded_for_longer() -> None:
    with recording(2999):
        await anyio.sleep(16.9)
    with pytest.raises(StoreError, match="the store took longer than 17 s"), recording(2999):
        await anyio.sleep(17.1)


# Outcomes on their way to the store


@dataclass
class SlowStore:
    """A store that takes so long for each outcome, several at the same time, and refuses one of them."""

    tasks: TaskGroup
    takes_s: float = 3
    refuses: int | None = None
    queued: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    most: int = 0

    async def push_all(self, items: Sequence[int], *, concurrency: int = 2) -> AdsyncdError | None:
        """Push each item, which takes 1 s, and queue the outcome; return the queue's error."""

        async def push(number: int) -> None:
            await anyio.sleep(1)
            self.queued.append(number)
            self.most = max(self.most, len(self.queued) - len(self.kept))
            self.tasks.start_soon(self._keep, number, queue.queued(partial(self.kept.append, number)))

        queue = PushQueue(push, concurrency=concurrency)
        async with queue.filling() as give:
            for number in items:
                await give.send(number)
        return queue.error

    async def _keep(self, number: int, told: Callable[[StoreError | None], None]) -> None:
        await anyio.sleep(self.takes_s)
        told(StoreError("full") if number == self.refuses else None)


@pytest.fixture
async def tasks() -> AsyncIterator[TaskGroup]:
    async with anyio.create_task_group() as group:
        yield group
        group.cancel_scope.cancel()


async def test_a_queue_is_left_when_its_outcomes_are_on_record_which_no_push_waits_for(tasks: TaskGroup) -> None:
    store, began = SlowStore(tasks), anyio.current_time()
    assert await store.push_all(range(6)) is None
    assert sorted(store.kept) == list(range(6))
    assert anyio.current_time() - began == 6 / 2 + 3


async def test_an_outcome_that_is_refused_ends_the_queue(tasks: TaskGroup) -> None:
    store = SlowStore(tasks, refuses=1)
    assert str(await store.push_all(range(99))) == "full"
    assert len(store.queued) < 12
    assert sorted([*store.kept, 1]) == sorted(store.queued)  # the others are on record when it is left


async def test_pushes_wait_while_too_many_outcomes_are_on_their_way(
    tasks: TaskGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "_MOST_UNRECORDED", 4)
    store = SlowStore(tasks, takes_s=9)
    assert await store.push_all(range(30), concurrency=3) is None
    assert len(store.kept) == 30
    assert store.most <= 4 + 2  # those that were in flight when the last room was taken


async def test_outcomes_are_waited_for_though_their_queue_is_cancelled(tasks: TaskGroup) -> None:
    store = SlowStore(tasks)
    with anyio.move_on_after(2.5):
        await store.push_all(range(99))
    assert sorted(store.kept) == sorted(store.queued) == list(range(4))


async def test_a_store_that_keeps_nothing_is_not_waited_for_for_ever(tasks: TaskGroup) -> None:
    store = SlowStore(tasks, takes_s=1000)
    assert str(await store.push_all(range(2))) == "the store took longer than 15 s"
