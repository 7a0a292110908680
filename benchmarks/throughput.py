"""The share of httpx's speed that is left if many tenants run at once and no quota limits them.

The daemon's parts, with an SQLite file, against a bare httpx loop that does the same sign-ins, pages and pushes with
the same number of clients, connections and pushes at once. All tenants start at the same instant. The mock platform is
a separate process, which responds at once and without faults. The contenders take turns, each time in a fresh process;
a ratio is the median of the turns' ratios, adsyncd's to the bare loop's. "Exporting" is adsyncd with its traces,
metrics and logs going by OTLP/HTTP to a receiver in another process.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from benchmarks.config import HEALTHY, accounts, tenant_ids
from benchmarks.contenders import Spent
from benchmarks.figures import Figure
from benchmarks.processes import lines, running_platform, started

LEAST_RATIO = 0.7


@dataclass(frozen=True, slots=True)
class Load:
    tenants: int
    campaigns: int  # of each
    turns: int
    least_ratio: float | None = None


LOADS = (Load(200, 30, turns=3, least_ratio=LEAST_RATIO), Load(50, 40, turns=1), Load(1, 1000, turns=1))


def measure() -> list[Figure]:
    """Compare under each load."""
    with started("benchmarks.receiver") as receiver:
        exporting = {"OTEL_EXPORTER_OTLP_ENDPOINT": next(lines(receiver)).strip()}
        return [figure for load in LOADS for figure in compare(load, exporting)]


def compare(load: Load, exporting: Mapping[str, str]) -> list[Figure]:
    settings = {
        "accounts": accounts(tenant_ids(load.tenants)),
        "everyone": {**HEALTHY, "campaigns": load.campaigns, "quota_requests": 10**9},
    }
    contenders: list[tuple[str, Mapping[str, str]]] = [("bare", {}), ("adsyncd", {}), ("adsyncd", exporting)]
    with running_platform(settings) as (base_url, _):
        spent = [[turn(name, base_url, load, environ) for name, environ in contenders] for _ in range(load.turns)]
    ratio = median(bare.wall_s / ours.wall_s for bare, ours, _ in spent)
    exporting_ratio = median(bare.wall_s / ours.wall_s for bare, _, ours in spent)
    cpu_ratio = median(ours.cpu_s / bare.cpu_s for bare, ours, _ in spent)
    at_work = f"{load.tenants} tenant{'s' * (load.tenants > 1)} at work"
    return [
        Figure(f"pushes a second, ratio, {at_work}", round(ratio, 2), at_least=load.least_ratio),
        Figure(f"pushes a second, ratio, {at_work}, exporting", round(exporting_ratio, 2)),
        Figure(f"CPU time of a push, ratio, {at_work}", round(cpu_ratio, 2)),
    ]


def turn(contender: str, base_url: str, load: Load, environ: Mapping[str, str]) -> Spent:
    command = ("benchmarks.contenders", contender, base_url, str(load.tenants), str(load.campaigns))
    with started(*command, environ=environ) as process:
        return Spent(**json.loads("".join(lines(process))))
