"""The speed of adsyncd where no quota limits it, and what a request and a run cost where one does, beside bare httpx.

The daemon's parts, with an SQLite file, against a bare httpx loop that does the same sign-ins, pages and pushes with
the same number of clients, connections and pushes at once. All tenants start at the same instant. The platform is a
separate process, which answers at once and without faults, and takes less time for a push than any contender. The
contenders take turns, each time in a fresh process; a ratio is the median of the turns' ratios, adsyncd's to the bare
loop's: at 2, adsyncd does in one second what the loop does in two.

"Exporting" is adsyncd with its traces, metrics and logs going by OTLP/HTTP to a receiver in another process. "TLS":
both trust a private authority, which signed the platform's certificate. "PostgreSQL" is the store, a server on the same
cores.

"The limit" is asyncio's protocols and httptools' parser on the same event loop, with no HTTP client, no quota, no
record and no trace: bytes go out, and the end of each answer is noticed. The difference between adsyncd's CPU time of a
push and the limit's is what all of these cost together, and so the most that can still be gained. On a busy machine,
trust the ratios of CPU time more than those of pushes a second, which also depend on what else runs.

"Bound" is a quota of 10 requests per 8 s, which 20 tenants use up: CPU time of a request, beside a bare loop that sends
as many at the same pace, one after the other, over a kept connection for each tenant. Both run at the same time, and
mostly wait. "Nothing to push" is `push = "changed"` with one page on which nothing has changed, right after a start: a
run signs in, lists the page, and records that it ended well; the bare loop signs in and lists the page.

`python -m benchmarks.throughput 200 --turns 1` measures one case by hand, in some 20 s, and keeps nothing; the cases
are 200, exporting, tls, postgres, 50, 1, bound and unchanged.
"""

import argparse
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.contenders import turn
from benchmarks.figures import Figure
from benchmarks.job import Job, Quota, Spent
from benchmarks.lean_platform import running
from benchmarks.postgres import running_postgres
from benchmarks.processes import lines, started

TURNS = 5
BOUND = Quota(10, 8)
MOST_BOUND = 1.5
MOST_UNCHANGED = 1.2


@dataclass(frozen=True, slots=True)
class Load:
    tenants: int
    campaigns: int  # of each

    def __str__(self) -> str:
        return f"{self.tenants} tenant{'s' * (self.tenants > 1)}"


@dataclass(frozen=True, slots=True)
class Case:
    """A load, and how adsyncd's part of it differs from the others'."""

    load: Load
    at_least: float | None = None
    what: str = ""
    exporting: bool = False
    tls: bool = False
    postgres: bool = False


MANY, SOME, ONE = Load(200, 30), Load(50, 40), Load(1, 1000)
SPEED = {
    "200": Case(MANY, 2.0),
    "exporting": Case(MANY, 1.2, ", exporting", exporting=True),
    "tls": Case(MANY, 1.4, ", TLS", tls=True),
    "postgres": Case(MANY, 1.6, ", PostgreSQL", postgres=True),
    "50": Case(SOME),
    "1": Case(ONE, 1.2),
}


def measure() -> list[Figure]:
    """Measure all cases."""
    return [figure for case in CASES.values() for figure in case(TURNS)]


def compare(case: Case, turns: int) -> list[Figure]:
    """Compare pushes a second, and CPU time."""
    load, environ = case.load, {}
    with ExitStack() as stack:
        platform = stack.enter_context(running(load.campaigns, tls=case.tls))
        job = own = Job(platform.base_url, load.tenants, load.campaigns, platform.ca_file)
        if case.exporting:
            receiver = stack.enter_context(started("benchmarks.receiver"))
            environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": next(lines(receiver)).strip()}
        server = stack.enter_context(running_postgres()) if case.postgres else None
        spent = []
        for _ in range(turns):
            with ExitStack() as of_turn:
                if server:
                    store = of_turn.enter_context(server.database()).set(drivername="postgresql+psycopg")
                    own = replace(job, store=store.render_as_string(hide_password=False))
                before = platform.counts().connections
                bare = turn("bare", job, {})
                between = platform.counts().connections
                ours = turn("adsyncd", own, environ)
                opened = platform.counts().connections - between, between - before
                spent.append((bare, ours, turn("raw", job, {})))
    return figures(case, spent, opened)


def figures(case: Case, spent: list[tuple[Spent, Spent, Spent]], opened: tuple[int, int]) -> list[Figure]:
    """Return a case's figures; `spent` by the bare loop, adsyncd and the limit; `opened` by adsyncd and the loop."""
    what, pushes = f"{case.load}{case.what}", case.load.tenants * case.load.campaigns
    ratio = median(bare.wall_s / ours.wall_s for bare, ours, _ in spent)
    limit = median(bare.wall_s / raw.wall_s for bare, _, raw in spent)
    cpu = median(ours.cpu_s / bare.cpu_s for bare, ours, _ in spent)
    return [
        Figure(f"pushes a second, ratio, {what}", round(ratio, 2), at_least=case.at_least),
        Figure(f"pushes a second, ratio, {what}, the limit", round(limit, 2)),
        Figure(f"CPU time of a push, ratio, {what}", round(cpu, 2)),
        *(
            Figure(
                f"CPU time of a push, {what}, {name}", round(1e6 * median(one.cpu_s for one in turns) / pushes), "us"
            )
            for name, turns in zip(("bare httpx", "adsyncd", "the limit"), zip(*spent, strict=True), strict=True)
        ),
        Figure(f"connections opened, {what}, bare httpx", opened[1]),
        Figure(f"connections opened, {what}, adsyncd", opened[0]),
    ]


def bound(turns: int) -> list[Figure]:
    """Measure the CPU time of a request where the quota binds."""
    load = Load(20, 30)
    with running(load.campaigns) as their, running(load.campaigns) as our, ThreadPoolExecutor() as both:
        jobs = [Job(platform.base_url, load.tenants, load.campaigns, quota=BOUND) for platform in (their, our)]
        spent = [tuple(both.map(turn, ("bare", "adsyncd"), jobs, ({}, {}))) for _ in range(turns)]
        counts = [their.counts(), our.counts()]
    ratio = median(ours.cpu_s / bare.cpu_s for bare, ours in spent) * counts[0].requests / counts[1].requests
    what = f"{load}, bound to {BOUND.requests} per {BOUND.per_s} s"
    named = list(zip(("bare httpx", "adsyncd"), counts, zip(*spent, strict=True), strict=True))
    return [
        Figure(f"CPU time of a request, ratio, {what}", round(ratio, 2), at_most=MOST_BOUND),
        *(
            Figure(
                f"CPU time of a request, {what}, {name}",
                round(1e6 * median(one.cpu_s for one in its) * turns / count.requests),
                "us",
            )
            for name, count, its in named
        ),
        *(
            Figure(f"connections a tenant, {what}, {name}", count.connections / turns / load.tenants)
            for name, count, _ in named
        ),
    ]


def unchanged(turns: int) -> list[Figure]:
    """Measure the CPU time of a run with nothing to push."""
    load = Load(200, 9)
    with running(load.campaigns) as platform:
        job = Job(platform.base_url, load.tenants, load.campaigns, unchanged=True)
        spent = [(turn("bare", job, {}), turn("adsyncd", job, {})) for _ in range(turns)]
    ratio = median(ours.cpu_s / bare.cpu_s for bare, ours in spent)
    return [
        Figure("CPU time of a run with nothing to push, ratio", round(ratio, 2), at_most=MOST_UNCHANGED),
        *(
            Figure(
                f"CPU time of a run with nothing to push, {name}",
                round(1e3 * median(one.cpu_s for one in its) / load.tenants, 2),
                "ms",
            )
            for name, its in zip(("bare httpx", "adsyncd"), zip(*spent, strict=True), strict=True)
        ),
    ]


def _comparing(case: Case) -> Callable[[int], list[Figure]]:
    return lambda turns: compare(case, turns)


CASES: Mapping[str, Callable[[int], list[Figure]]] = {
    **{name: _comparing(case) for name, case in SPEED.items()},
    "bound": bound,
    "unchanged": unchanged,
}


def main() -> None:
    """Measure some cases, print their figures, and keep nothing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description="Measure cases by hand.")
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--turns", type=int, default=TURNS)
    options = parser.parse_args()
    for name in options.cases:
        for figure in CASES[name](options.turns):
            print(figure)


if __name__ == "__main__":
    main()
