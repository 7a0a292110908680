import math
from collections.abc import Mapping
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.rate.concurrency import Concurrency
from support.virtual_time import BACKEND


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


class Platform:
    """Works for about `takes_s` on a push (log-normal, by `spread`), and on `at_once` pushes at the same time."""

    def __init__(self, at_once: int = 1000, spread: float = 0.1) -> None:
        self.takes_s = 2.0
        self.fails = False
        self.most = 0
        self._workers = anyio.CapacityLimiter(at_once)
        self._spread = spread
        self._random = Random(1)
        self._in_flight = 0

    async def push(self, concurrency: Concurrency) -> None:
        self._in_flight += 1
        in_flight, sent_at = self._in_flight, anyio.current_time()
        self.most = max(self.most, in_flight)
        async with self._workers:
            await anyio.sleep(self.takes_s * math.exp(self._random.gauss(0, self._spread)))
        self._in_flight -= 1
        now = anyio.current_time()
        concurrency.sample(now - sent_at, in_flight, ok=not self.fails, now=now)

    async def pushes(self, concurrency: Concurrency, count: int, every_s: float = 0.0) -> list[int]:
        """Push as a run does, one in `every_s` at most, and return the limit after each push."""
        slots = anyio.CapacityLimiter(concurrency.limit)
        waiting = iter(range(count))
        limits: list[int] = []
        permit_at = anyio.current_time()

        async def work() -> None:
            nonlocal permit_at
            for _ in waiting:
                async with slots:
                    permit_at = max(permit_at + every_s, anyio.current_time())
                    await anyio.sleep_until(permit_at)
                    await self.push(concurrency)
                slots.total_tokens = concurrency.limit
                limits.append(concurrency.limit)

        async with anyio.create_task_group() as tasks:
            for _ in range(concurrency.most):
                tasks.start_soon(work)
        return limits


@pytest.mark.parametrize("at_once", [3, 8])
@pytest.mark.parametrize("spread", [0.0, 0.5])
async def test_it_settles_where_a_platform_that_is_asked_for_more_only_gets_slower(at_once: int, spread: float) -> None:
    limits = await Platform(at_once, spread).pushes(Concurrency.of(None), 1500)
    settled = sorted(limits[300:])
    assert at_once <= settled[len(settled) // 2] <= at_once + 2
    assert settled[-1] <= at_once + 5


@pytest.mark.parametrize("spread", [0.0, 0.5])
async def test_it_rises_while_latency_does_not_however_much_that_scatters(spread: float) -> None:
    limits = await Platform(spread=spread).pushes(Concurrency.of(None), 1500)
    assert (limits[0], max(limits)) == (5, 20)
    assert sorted(limits[700:])[400] >= 15


@pytest.mark.parametrize("every_s", [0.6, 1.0, 6.0])
async def test_it_does_not_creep_up_while_the_quota_keeps_fewer_in_flight(every_s: float) -> None:
    limits = await Platform().pushes(Concurrency.of(None), 200, every_s)
    assert max(limits) <= 6


async def test_it_rises_to_what_the_quota_needs_and_no_further() -> None:
    limits = await Platform(spread=0).pushes(Concurrency.of(None), 700, every_s=2 / 12)  # twelve in flight
    assert 12 <= limits[-1] <= 14


@pytest.mark.parametrize("every_s", [0.0, 1.0])
async def test_a_platform_that_fails_is_asked_for_one_at_a_time_and_for_more_when_it_is_well(every_s: float) -> None:
    platform, concurrency = Platform(), Concurrency.of(None)
    await platform.pushes(concurrency, 300)
    platform.fails = True
    assert (await platform.pushes(concurrency, 200))[-1] == 1
    platform.fails = False
    assert (await platform.pushes(concurrency, 50, every_s))[-1] >= (4 if every_s == 0 else 2)


def test_failures_of_pushes_that_were_in_flight_together_halve_it_once() -> None:
    concurrency = Concurrency(1, 20, 16)
    limits = []
    for at in (10.0, 10.5, 11.9, 12.0, 13.0):
        concurrency.sample(2.0, 16, ok=False, now=at)
        limits.append(concurrency.limit)
    assert limits == [8, 8, 8, 4, 4]


async def test_a_platform_that_became_slower_for_good_is_not_taken_for_crowded_for_ever() -> None:
    platform, concurrency = Platform(), Concurrency.of(None)
    await platform.pushes(concurrency, 600)
    platform.takes_s = 5.0
    assert min(await platform.pushes(concurrency, 300)) < 8
    assert max(await platform.pushes(concurrency, 2500)) >= 16


async def test_what_was_found_out_lasts_from_run_to_run() -> None:
    platform, concurrency = Platform(8), Concurrency.of(None)
    for _ in range(100):
        await anyio.sleep(900)
        limits = await platform.pushes(concurrency, 20)
    assert 8 <= limits[-1] <= 10
    platform.most = 0
    await platform.pushes(concurrency, 20)
    assert platform.most >= 8


samples = st.tuples(st.floats(0, 1e4), st.integers(1, 50), st.booleans(), st.floats(0, 1e3))


@given(st.lists(samples, max_size=300), st.sampled_from([None, 1, 5, 100]))
def test_it_never_leaves_its_bounds_and_a_number_in_the_drop_in_stays_that_number(
    told: list[tuple[float, int, bool, float]], pushes: int | None
) -> None:
    concurrency, now = Concurrency.of(pushes), 0.0
    least, most = (1, 20) if pushes is None else (pushes, pushes)
    assert concurrency.most == most
    for latency_s, in_flight, ok, passed_s in told:
        now += passed_s
        concurrency.sample(latency_s, in_flight, ok=ok, now=now)
        assert least <= concurrency.limit <= most
