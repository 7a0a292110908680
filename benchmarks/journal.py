"""The cost of losing nothing: pushes per second with the journal, as a share of those without it.

The daemon's parts at full speed, as in `throughput`, take turns with the same parts without writing pages, outcomes and
permits. The share is the median of the turns.
"""

from statistics import median

from benchmarks.config import HEALTHY, accounts, tenant_ids
from benchmarks.figures import Figure
from benchmarks.processes import running_platform
from benchmarks.throughput import Load, turn

LOADS = (Load(200, 30, turns=3), Load(50, 40, turns=3))


def measure() -> list[Figure]:
    """Compare under each load."""
    return [figure for load in LOADS for figure in compare(load)]


def compare(load: Load) -> list[Figure]:
    settings = {
        "accounts": accounts(tenant_ids(load.tenants)),
        "everyone": {**HEALTHY, "campaigns": load.campaigns, "quota_requests": 10**9},
    }
    with running_platform(settings) as (base_url, _):
        spent = [[turn(name, base_url, load, {}) for name in ("forgetful", "adsyncd")] for _ in range(load.turns)]
    share = median(without.wall_s / with_it.wall_s for without, with_it in spent)
    cpu = median(with_it.cpu_s / without.cpu_s for without, with_it in spent)
    return [
        Figure(f"pushes a second with the journal, share of those without, {load.tenants} tenants", round(share, 2)),
        Figure(f"CPU time of a push with the journal, ratio, {load.tenants} tenants", round(cpu, 2)),
    ]
