"""The wait of small tenants, beside large ones and beside a client id that is stuck.

Time is virtual. A platform takes 20 requests per 60 s from all its tenants together. Three heavy tenants each have 220
requests waiting from the start; forty light ones come within the first 20 minutes, each with three requests at once.
They wait at the governor's gates, and for comparison in one queue, first come, first served. A wait is that of one
request; a response takes 0.3 s.

A stuck client id has used up its quota of 10 per 60 s, and five more of its requests wait for it, when a fresh client
id comes to the same limiter.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from statistics import median

import anyio

from adsyncd.rate import Gate, Governor
from adsyncd.rate.quota import Quota
from adsyncd.simulation.virtual_time import VirtualClock
from benchmarks.figures import Figure
from benchmarks.limiters import BACKEND, PEERS, Adsyncd, Limiter, NoLedger, tenant, virtual_time

PLATFORM = Quota(20, timedelta(seconds=60))
AMPLE = Quota(1_000_000, timedelta(seconds=60))
OWN = Quota(10, timedelta(seconds=60))
HEAVY, HEAVY_REQUESTS = 3, 220
LIGHT, LIGHT_REQUESTS = 40, 3
COME_WITHIN_S = 1200.0
ANSWER_S = 0.3
STUCK = 15
MOST_OF_FIFO = 5.0


@dataclass(slots=True)
class Crowd:
    """Results of one simulation: the wait of each request of light tenants, and the time until all were done."""

    waits_s: list[float] = field(default_factory=list)
    took_s: float = 0.0


def measure() -> list[Figure]:
    """Compare the governor's turns with one queue, and the limiters with each other."""
    fair, fifo = (anyio.run(crowd, gates, **BACKEND) for gates in (own_gates, one_line))
    limiters: dict[str, Callable[[], Limiter]] = {
        "adsyncd": lambda: Adsyncd(OWN),
        **{name: lambda make=make: make(OWN) for name, make in PEERS.items()},  # type: ignore[misc]  # bound now
    }
    return [
        Figure(
            "a light tenant's median wait, share of that in one line",
            round(100 * median(fair.waits_s) / median(fifo.waits_s), 1),
            "%",
            at_most=MOST_OF_FIFO,
        ),
        Figure("a light tenant's median wait", round(median(fair.waits_s), 1), "s"),
        Figure("a light tenant's longest wait", round(max(fair.waits_s), 1), "s"),
        Figure("a light tenant's median wait in one line", round(median(fifo.waits_s), 1), "s"),
        Figure("until all is done, ratio to one line", round(fair.took_s / fifo.took_s, 3)),
        *(
            Figure(
                f"a fresh client id's wait behind a stuck one, {name}",
                round(anyio.run(behind, make, **BACKEND), 3),
                "s",
                at_most=0.001 if name == "adsyncd" else None,
            )
            for name, make in limiters.items()
        ),
    ]


def own_gates() -> list[Gate]:
    """Return a gate for each tenant, all on one platform."""
    governor = Governor(VirtualClock(), NoLedger(), "benchmark")
    return [governor.gate(tenant(f"t{number}", AMPLE, PLATFORM).client_quota) for number in range(HEAVY + LIGHT)]


def one_line() -> list[Gate]:
    """Return one gate that all tenants share."""
    gate = Governor(VirtualClock(), NoLedger(), "benchmark").gate(tenant("all", PLATFORM).client_quota)
    return [gate] * (HEAVY + LIGHT)


async def crowd(gates: Callable[[], Iterable[Gate]]) -> Crowd:
    """Run all tenants to their end."""
    random, seen = Random(0), Crowd()

    async def ask(gate: Gate, comes_s: float, waits_s: list[float]) -> None:
        await anyio.sleep(comes_s)
        came = anyio.current_time()
        permit = await gate.acquire()
        waits_s.append(anyio.current_time() - came)
        await anyio.sleep(ANSWER_S)
        permit.cool()

    async with anyio.create_task_group() as tasks:
        of_all = list(gates())
        for gate in of_all[:HEAVY]:
            for _ in range(HEAVY_REQUESTS):
                tasks.start_soon(ask, gate, 0.0, [])
        for gate in of_all[HEAVY:]:
            comes_s = random.uniform(0, COME_WITHIN_S)
            for _ in range(LIGHT_REQUESTS):
                tasks.start_soon(ask, gate, comes_s, seen.waits_s)
    seen.took_s = anyio.current_time()
    return seen


async def behind(make: Callable[[], Limiter]) -> float:
    """Return for how many seconds a fresh client id waits behind a stuck one."""

    async def attempt() -> float:
        await anyio.sleep(ANSWER_S)
        return 0.0

    with virtual_time():
        limiter = make()
        async with anyio.create_task_group() as tasks:
            for _ in range(STUCK):
                tasks.start_soon(limiter.send, "stuck", attempt)
            await anyio.sleep(1)
            came = anyio.current_time()
            await limiter.send("fresh", attempt)
            waited_s = anyio.current_time() - came - ANSWER_S
            tasks.cancel_scope.cancel()
    return waited_s
