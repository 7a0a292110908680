import anyio
import pytest

from adsyncd.host.loop_lag import LoopLag
from support.virtual_time import BACKEND, VirtualClock


@pytest.fixture
def anyio_backend() -> object:
    return BACKEND


class StalledClock(VirtualClock):
    """Runs ahead by the time for which a loop would have stalled: a virtual loop never does."""

    def __init__(self) -> None:
        super().__init__()
        self.stalled_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.stalled_s


async def test_the_longest_delay_of_the_last_minute_is_told() -> None:
    clock = StalledClock()
    lag = LoopLag(clock)
    assert lag.longest_s() == 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lag.run)
        await anyio.sleep(1.1)
        assert lag.longest_s() == pytest.approx(0)
        clock.stalled_s += 3
        assert lag.longest_s() == pytest.approx(2.85)  # in progress, since 1.25 s
        await anyio.sleep(1)
        assert lag.longest_s() == pytest.approx(3)
        clock.stalled_s += 1
        await anyio.sleep(30)
        assert lag.longest_s() == pytest.approx(3)
        await anyio.sleep(29)
        assert lag.longest_s() == pytest.approx(1)
        await anyio.sleep(60)
        assert lag.longest_s() == pytest.approx(0)
        assert len(lag._delays) <= 241
        tasks.cancel_scope.cancel()
    clock.stalled_s += 60
    assert lag.longest_s() == 0  # nothing is due any more
