"""The cost of losing nothing: pushes per second with the journal, as a share of those without it.

The daemon's parts at full speed, as in `throughput`, take turns with the same parts without writing pages, outcomes and
permits. The share is the median of the turns.
"""

from statistics import median

from benchmarks.contenders import turn
from benchmarks.figures import Figure
from benchmarks.job import Job
from benchmarks.lean_platform import running
from benchmarks.throughput import MANY, SOME, TURNS, Load


def measure() -> list[Figure]:
    """Compare under each load."""
    return [figure for load in (MANY, SOME) for figure in compare(load)]


def compare(load: Load) -> list[Figure]:
    with running(load.campaigns) as platform:
        job = Job(platform.base_url, load.tenants, load.campaigns)
        spent = [[turn(name, job, {}) for name in ("forgetful", "adsyncd")] for _ in range(TURNS)]
    share = median(without.wall_s / with_it.wall_s for without, with_it in spent)
    cpu = median(with_it.cpu_s / without.cpu_s for without, with_it in spent)
    return [
        Figure(f"pushes a second with the journal, share of those without, {load}", round(share, 2)),
        Figure(f"CPU time of a push with the journal, ratio, {load}", round(cpu, 2)),
    ]
