import threading

import anyio
import pytest

from adsyncd.off_loop import at_once, in_thread


def fail() -> None:
    raise ValueError("in vain")


async def test_a_call_is_made_in_a_thread_and_its_result_and_errors_come_back() -> None:
    one = anyio.CapacityLimiter(1)
    assert await in_thread(threading.get_ident, limiter=one) != threading.get_ident()
    with pytest.raises(ValueError, match="in vain"):
        await in_thread(fail, limiter=one)


async def test_where_threads_are_not_allowed_a_call_is_made_at_once() -> None:
    one = anyio.CapacityLimiter(1)
    assert await at_once(threading.get_ident, limiter=one) == threading.get_ident()
    with pytest.raises(ValueError, match="in vain"):
        await at_once(fail, limiter=one)
