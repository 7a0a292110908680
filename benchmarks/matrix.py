"""The share of a quota that each limiter uses, and its refusals, for each way in which platforms count.

1,100 requests with a quota of 10 per 60 s, 10 of them at once, so that a whole quota may be in flight and requests
wait for nothing but the quota. Time is virtual, so nothing depends on the machine. The figures are the means of three
seeds, which draw each round trip (plus or minus 30 %), the instant within it at which the server counts, and the start
of its windows. A push takes 2 s, and the server counts it on arrival, within 100 ms. A refused request waits for
Retry-After, in whole seconds, and asks its limiter again.

adsyncd has the settings that an operator would choose: `shape = "paced"` for the window counter, and
`arrival_bound = "500ms"` for pushes. "Told nothing" has the defaults: it learns on its own that a platform accepts only
spaced requests, and its refusals are those that it needs to learn this. The ideal is 109 whole windows and one round
trip; `used` is the ideal as a share of the measured time.

The targets are shares of what is possible without a refusal. A client sees when it sent a request and when the answer
came, and the server counted it at some instant between. So a permit is back after the round trip, or the bound on
arrivals, and a window, and a guard of 0.1 % and 5 ms against clocks that differ: that takes W + round trip + guard for
what a server allows in W. A window counter takes N - 1 evenly spaced requests in a window, which is longer by the
guard and the spread of arrivals.

The results are in `results/governor.json`, as a table in [results/governor.md](results/governor.md), and as a drawing
in `results/governor.svg`.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import product
from random import Random
from statistics import mean

import anyio
from structlog.testing import capture_logs

from adsyncd.rate.bucket import GUARD_SHARE, cools_for
from adsyncd.rate.quota import Quota, Shape
from benchmarks.figures import Figure
from benchmarks.governor import Cell, keep, shown
from benchmarks.limiters import BACKEND, PEERS, Adsyncd, Limiter, virtual_time
from mock_api import meters
from mock_api.meters import Algorithm

UNTOLD = "adsyncd, told nothing"
REQUESTS = 1100
QUOTA = Quota(10, timedelta(seconds=60))
WINDOW_S = QUOTA.per.total_seconds()
WORKERS = 10
ROUND_TRIPS = (0.02, 0.3, 0.6, 2.0)
PUSH_S = ROUND_TRIPS[-1]
JITTER = 0.3
PUSH_ARRIVES_S = 0.1
ARRIVAL_BOUND = timedelta(milliseconds=500)
SEEDS = range(3)
LEAST_OF_POSSIBLE = 99.8
LIMITERS = ("adsyncd", UNTOLD, *PEERS)

BURSTS = (Algorithm.SLIDING_LOG, Algorithm.FIXED_WINDOW, Algorithm.TOKEN_BUCKET)


class Server:
    """A platform as a limiter sees it."""

    def __init__(self, algorithm: Algorithm, round_trip_s: float, random: Random) -> None:
        self._meter = meters.meter(algorithm, meters.MeteredQuota(QUOTA.requests, WINDOW_S))
        self._begins_s = random.uniform(0, WINDOW_S)
        self._round_trip_s = round_trip_s
        self._random = random
        self.refused = 0

    async def answer(self) -> float:
        """Answer a request; return its Retry-After in seconds, 0 if it was accepted."""
        takes_s = self._round_trip_s * self._random.uniform(1 - JITTER, 1 + JITTER)
        counted_s = self._random.uniform(0, min(takes_s, PUSH_ARRIVES_S if self._round_trip_s == PUSH_S else takes_s))
        await anyio.sleep(counted_s)
        accepted = meters.take([self._meter], self._begins_s + anyio.current_time())
        stay_away_s = 0.0 if accepted else float(math.ceil(self._meter.read().reset_s))
        self.refused += not accepted
        await anyio.sleep(takes_s - counted_s)
        return stay_away_s


def measure() -> list[Figure]:
    """Measure all cells, keep them, and compare adsyncd's with the targets."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as processes:
        cells = list(processes.map(cell, *zip(*product(ROUND_TRIPS, LIMITERS, Algorithm), strict=True)))
    keep(cells)
    ours = [one for one in cells if one.limiter == "adsyncd"]
    bursts = [one for one in ours if one.server in BURSTS]
    counter = [one for one in ours if one.server == Algorithm.WINDOW_COUNTER]
    return [
        Figure("429s of 1,100 requests, the most of three servers", max(one.refused for one in bursts), at_most=0),
        *(
            Figure(
                f"quota used, the least of three servers, {shown(round_trip_s)}",
                round(100 * min(one.used for one in bursts if one.round_trip_s == round_trip_s), 1),
                "%",
            )
            for round_trip_s in ROUND_TRIPS
        ),
        Figure(
            "share of what is possible, the least of three servers and all round trips",
            round(100 * min(one.used / in_bursts(one.round_trip_s) for one in bursts), 2),
            "%",
            at_least=LEAST_OF_POSSIBLE,
        ),
        Figure("429s of 1,100 requests, window counter", max(one.refused for one in counter), at_most=0),
        Figure("quota used, window counter", round(100 * min(one.used for one in counter), 1), "%"),
        Figure(
            "share of what is possible, window counter, the least of all round trips",
            round(100 * min(one.used / spaced(one.round_trip_s) for one in counter), 2),
            "%",
            at_least=LEAST_OF_POSSIBLE,
        ),
    ]


def ideal_s(round_trip_s: float) -> float:
    """Return the time of all requests at a server that is asked at the right instants."""
    return (math.ceil(REQUESTS / QUOTA.requests) - 1) * WINDOW_S + round_trip_s


def in_bursts(round_trip_s: float) -> float:
    """Return the share of the quota that whole bursts can use: a window, the time until it is counted, and a guard."""
    counted_s = ARRIVAL_BOUND.total_seconds() if round_trip_s == PUSH_S else round_trip_s
    return WINDOW_S / (counted_s + cools_for(QUOTA))


def spaced(round_trip_s: float) -> float:
    """Return the share that N - 1 requests in a window can use, with as much more space as arrivals are spread."""
    spread_s = ARRIVAL_BOUND.total_seconds() if round_trip_s == PUSH_S else (1 + JITTER) * round_trip_s
    space_s = (WINDOW_S * (1 + GUARD_SHARE) + spread_s) / (QUOTA.requests - 1)
    return ideal_s(round_trip_s) / ((REQUESTS - 1) * space_s + round_trip_s)


def cell(round_trip_s: float, name: str, algorithm: Algorithm) -> Cell:
    """Measure one limiter on one server."""
    make = contender(name, algorithm, round_trip_s)
    with capture_logs():
        runs = [anyio.run(run, make, algorithm, round_trip_s, seed, **BACKEND) for seed in SEEDS]
    seconds, refused = (mean(values) for values in zip(*runs, strict=True))
    return Cell(
        name,
        algorithm.value,
        round_trip_s,
        WINDOW_S,
        used=round(ideal_s(round_trip_s) / seconds, 4),
        refused=round(refused, 1),
        seconds=round(seconds, 1),
        ideal_s=round(ideal_s(round_trip_s), 2),
    )


def contender(name: str, algorithm: Algorithm, round_trip_s: float) -> Callable[[], Limiter]:
    if name in PEERS:
        return lambda: PEERS[name](QUOTA)
    if name == UNTOLD:
        return lambda: Adsyncd(QUOTA)
    shape = Shape.PACED if algorithm is Algorithm.WINDOW_COUNTER else Shape.BURST
    bound = ARRIVAL_BOUND if round_trip_s == PUSH_S else None
    return lambda: Adsyncd(replace(QUOTA, shape=shape, arrival_bound=bound))


async def run(make: Callable[[], Limiter], algorithm: Algorithm, round_trip_s: float, seed: int) -> tuple[float, int]:
    """Send all requests, and return the seconds and the number of refusals."""
    with virtual_time():
        server = Server(algorithm, round_trip_s, Random(f"{algorithm} {round_trip_s} {seed}"))
        limiter, left = make(), REQUESTS

        async def work() -> None:
            nonlocal left
            while left:
                left -= 1
                while True:
                    stay_away_s = await limiter.send("acme", server.answer)
                    if not stay_away_s:
                        break
                    await anyio.sleep(stay_away_s)

        async with anyio.create_task_group() as tasks:
            for _ in range(WORKERS):
                tasks.start_soon(work)
        return anyio.current_time(), server.refused
