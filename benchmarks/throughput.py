"""How much of httpx's speed is left when many tenants are at work at once and quota is no limit.

The daemon's parts, with an SQLite file, against a bare httpx loop that does the same sign-ins, pages and pushes with
as many clients, connections and pushes at once. All tenants start at one instant. The mock platform is a process of
its own, which answers at once and without faults. The contenders take turns, each time in a fresh process; a ratio is
the median of the turns' ratios, adsyncd's to the bare loop's. "Exporting" is adsyncd with its traces, metrics and logs
going by OTLP/HTTP to a receiver in another process.
"""

import json
from collections.abc import Mapping
from statistics import median

from benchmarks.config import HEALTHY, accounts, tenant_ids
from benchmarks.contenders import Spent
from benchmarks.figures import Figure
from benchmarks.processes import lines, running_platform, started

LEAST_RATIO = 0.7
TURNS = {200: 3, 50: 1, 1: 1}  # by the number of tenants
PUSHES = 4000  # in a turn, of all tenants together


def measure() -> list[Figure]:
    """Compare with each number of tenants; the first is the one that has a target."""
    figures = []
    with started("benchmarks.receiver") as receiver:
        exporting = {"OTEL_EXPORTER_OTLP_ENDPOINT": next(lines(receiver)).strip()}
        for tenants, turns in TURNS.items():
            figures += compare(tenants, turns, exporting)
    return figures


def compare(tenants: int, turns: int, exporting: Mapping[str, str]) -> list[Figure]:
    campaigns = PUSHES // tenants
    everyone = {**HEALTHY, "campaigns": campaigns, "quota_requests": 10**9}
    settings = {"accounts": accounts(tenant_ids(tenants)), "everyone": everyone}
    contenders: list[tuple[str, Mapping[str, str]]] = [("bare", {}), ("adsyncd", {}), ("adsyncd", exporting)]
    with running_platform(settings) as (base_url, _):
        spent = [
            [turn(name, base_url, tenants, campaigns, environ) for name, environ in contenders] for _ in range(turns)
        ]
    ratio = median(bare.wall_s / ours.wall_s for bare, ours, _ in spent)
    exporting_ratio = median(bare.wall_s / ours.wall_s for bare, _, ours in spent)
    cpu_ratio = median(ours.cpu_s / bare.cpu_s for bare, ours, _ in spent)
    at_work = f"{tenants} tenant{'s' * (tenants > 1)} at work"
    return [
        Figure(f"pushes a second, ratio, {at_work}", round(ratio, 2), at_least=LEAST_RATIO if tenants == 200 else None),
        Figure(f"pushes a second, ratio, {at_work}, exporting", round(exporting_ratio, 2)),
        Figure(f"CPU time of a push, ratio, {at_work}", round(cpu_ratio, 2)),
    ]


def turn(contender: str, base_url: str, tenants: int, campaigns: int, environ: Mapping[str, str]) -> Spent:
    command = ("benchmarks.contenders", contender, base_url, str(tenants), str(campaigns))
    with started(*command, environ=environ) as process:
        return Spent(**json.loads("".join(lines(process))))
