import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.errors import AdsyncdError, CredentialsMissing, SignInRefused, StoreError
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
        async with recording():
            await anyio.sleep(14)
            done.append("recorded")
    assert done == ["recorded"]
    with pytest.raises(StoreError, match="the store took longer than 15 s"):
        async with recording():
            await anyio.sleep(16)


async def test_what_takes_many_campaigns_is_recorded_for_longer() -> None:
    async with recording(2999):
        await anyio.sleep(16.9)
    with pytest.raises(StoreError, match="the store took longer than 17 s"):
        async with recording(2999):
            await anyio.sleep(17.1)
