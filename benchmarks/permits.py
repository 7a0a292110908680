"""The cost of a permit: granted and returned, in memory and on record, beside other limiters and beside a request.

No request waits for quota. A pair is a grant and its release. Other limiters have only a grant, since their permits are
not returned. Permits in memory are measured in CPU time, which equals wall time on an idle core. "On record" writes the
rows that a restart needs to an SQLite file, before the request and again when the permit is back; 100 client ids have
five requests each in flight, since the store commits for all waiting requests at once. Their quota is large, so most
requests find their permit on record already, claimed in a block. A bare request is a GET by httpx on an open connection
to the mock platform in another process. All take turns, and the median turn counts. Rates say nothing about another
machine, so the targets are ratios within the run. They were 300,000 pairs in memory and 20,000 on record a second, and
are what those came to on the machine for which they were set.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import anyio
import httpx
from opentelemetry.trace import NoOpTracer

from adsyncd.clock import SystemClock
from adsyncd.rate import Gate, Governor, PermitLedger
from adsyncd.rate.quota import Quota
from adsyncd.store import open_store
from benchmarks.config import HEALTHY, store_url, tenant_ids
from benchmarks.figures import Figure
from benchmarks.job import Spent, timed
from benchmarks.limiters import PEERS, Limiter, NoLedger, tenant
from benchmarks.processes import running_platform

AMPLE = Quota(10_000, timedelta(milliseconds=10))
AMPLE_FOR_PEERS = Quota(1_000_000, timedelta(seconds=1))  # some accept only whole seconds
PAIRS = 10_000
TURNS = 5
CLIENT_IDS = 100
AT_ONCE = 5  # requests of each client id
ON_RECORD = 20  # by each of these requests, in a turn
REQUESTS = 300
TIMEOUT_S = 10.0

QUICKEST = "aiolimiter"
LEAST_OF_QUICKEST = 0.4
MOST_OF_A_REQUEST = 3.0
MOST_OF_A_REQUEST_ON_RECORD = 7.8

Turn = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Contender:
    """An operation that a turn repeats `times` times."""

    times: int
    turn: Turn


def measure() -> list[Figure]:
    """Measure all contenders in turns."""
    with running_platform({"everyone": HEALTHY}) as (base_url, _):
        turns = anyio.run(take_turns, base_url)
    each = {
        name: Spent(median(turn[name].wall_s for turn in turns), median(turn[name].cpu_s for turn in turns))
        for name in turns[0]
    }
    ours, recorded, request = (each.pop(name) for name in ("adsyncd", "on record", "request"))
    return [
        Figure("pairs a CPU second, adsyncd", round(1 / ours.cpu_s)),
        Figure(
            f"pairs in memory, ratio to the grants of {QUICKEST}",
            round(median(turn[QUICKEST].cpu_s / turn["adsyncd"].cpu_s for turn in turns), 2),
            at_least=LEAST_OF_QUICKEST,
        ),
        *(Figure(f"grants a CPU second, {name}", round(1 / peer.cpu_s)) for name, peer in each.items()),
        Figure("pairs a second, adsyncd, on record", round(1 / recorded.wall_s)),
        Figure("pairs a CPU second, adsyncd, on record", round(1 / recorded.cpu_s)),
        Figure("CPU time of a pair, share of a bare request's", share(ours, request), "%", at_most=MOST_OF_A_REQUEST),
        Figure(
            "CPU time of a pair on record, share of a bare request's",
            share(recorded, request),
            "%",
            at_most=MOST_OF_A_REQUEST_ON_RECORD,
        ),
    ]


def share(part: Spent, whole: Spent) -> float:
    return round(100 * part.cpu_s / whole.cpu_s, 2)


async def take_turns(base_url: str) -> list[dict[str, Spent]]:
    """Return, for each turn, the cost of one pair, grant or request of each contender."""
    with TemporaryDirectory() as folder:
        async with (
            open_store(store_url(Path(folder)), clock=SystemClock(), tracer=NoOpTracer()) as store,
            httpx.AsyncClient(base_url=base_url, trust_env=False) as http,
        ):
            own, others = gate("acme", NoLedger()), {name: make(AMPLE_FOR_PEERS) for name, make in PEERS.items()}
            gates = [gate(client_id, store) for client_id in tenant_ids(CLIENT_IDS)]
            contenders = {
                "adsyncd": Contender(PAIRS, partial(pairs, own)),
                **{name: Contender(PAIRS, partial(grants, peer)) for name, peer in others.items()},
                "on record": Contender(len(gates) * AT_ONCE * ON_RECORD, partial(recorded, gates)),
                "request": Contender(REQUESTS, partial(requests, http)),
            }
            await requests(http)  # opens the connection
            turns = [{name: await timed(one.turn) for name, one in contenders.items()} for _ in range(TURNS)]
    return [
        {
            name: Spent(spent.wall_s / contenders[name].times, spent.cpu_s / contenders[name].times)
            for name, spent in turn.items()
        }
        for turn in turns
    ]


def gate(client_id: str, ledger: PermitLedger) -> Gate:
    return Governor(SystemClock(), ledger, "benchmark").gate(tenant(client_id, AMPLE).client_quota)


async def pairs(of: Gate) -> None:
    for _ in range(PAIRS):
        permit = await of.acquire()
        permit.cool()


async def grants(limiter: Limiter) -> None:
    for _ in range(PAIRS):
        await limiter.send("acme", accepted)


async def accepted() -> float:
    return 0.0


async def recorded(gates: list[Gate]) -> None:
    async def work(of: Gate) -> None:
        for _ in range(ON_RECORD):
            permit = await of.acquire()
            assert await permit.put_on_record(TIMEOUT_S)
            permit.cool()

    async with anyio.create_task_group() as tasks:
        for each in gates:
            for _ in range(AT_ONCE):
                tasks.start_soon(work, each)


async def requests(http: httpx.AsyncClient) -> None:
    for _ in range(REQUESTS):
        (await http.get("/health")).raise_for_status()
