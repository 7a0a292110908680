"""Two processes with one client id: how long they take together, beside what its quota allows.

`adsyncd sync` in two processes at once, for two tenants with the same client id and one SQLite file. Each lists one
page and pushes 19 campaigns, so that 40 requests share a quota of 10 per 2 s. The mock platform, in a third process,
counts in a sliding log and takes 20 ms for a push.

The ideal is 6.0 s, three windows, from the tenth request that the platform accepted to the last: no rule can do it in
less. The time before the tenth is that of two processes that start, and is shown beside it.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx

from benchmarks.config import ENVIRON, FROM_ENVIRON, HEALTHY, accounts, write_config
from benchmarks.figures import Figure
from benchmarks.processes import lines, running_platform, started

TURNS = 5
TENANTS = ("one", "two")
CLIENT_ID = "shared"
CAMPAIGNS = 19
QUOTA, WINDOW_S = 10, 2
REQUESTS = len(TENANTS) * (1 + CAMPAIGNS)
IDEAL_S = (REQUESTS / QUOTA - 1) * WINDOW_S
MOST = 1.1

PLATFORM = {
    "accounts": accounts([CLIENT_ID]),
    "everyone": {
        **HEALTHY,
        "campaigns": CAMPAIGNS,
        "quota_requests": QUOTA,
        "quota_window_s": WINDOW_S,
        "push_latency_s": 0.02,
    },
}
DEFAULTS = f"""
{FROM_ENVIRON}
quota = {{ requests = {QUOTA}, per = "{WINDOW_S}s" }}
sync = {{ page_size = {CAMPAIGNS + 1} }}
"""


def measure() -> list[Figure]:
    """Run both tenants at once, several times."""
    turns = [turn() for _ in range(TURNS)]
    ratios = [(max(turn.accepted_at) - turn.accepted_at[QUOTA - 1]) / IDEAL_S for turn in turns]
    firsts_s = [turn.accepted_at[QUOTA - 1] - turn.accepted_at[0] for turn in turns]
    refused = sum(turn.refused for turn in turns)
    return [
        Figure(
            "from the tenth request to the last, ratio to the ideal, longest turn", round(max(ratios), 3), at_most=MOST
        ),
        Figure("from the tenth request to the last, ratio to the ideal, median", round(median(ratios), 3)),
        Figure("from the first request to the tenth", round(median(firsts_s), 2), "s"),
        Figure(f"429s of {TURNS * REQUESTS} requests", refused, at_most=0),
    ]


@dataclass(frozen=True, slots=True)
class Turn:
    """When the platform accepted each request, in seconds since the epoch, and how many it refused."""

    accepted_at: Sequence[float]
    refused: int


def turn() -> Turn:
    """Run both tenants at once."""
    with TemporaryDirectory() as name, running_platform(PLATFORM) as (base_url, _):
        config = write_config(Path(name), base_url, dict.fromkeys(TENANTS, ""), defaults=DEFAULTS, client_id=CLIENT_ID)
        with ExitStack() as stack:
            commands = [("adsyncd", "sync", tenant, "--config", str(config)) for tenant in TENANTS]
            for process in [stack.enter_context(started(*command, environ=ENVIRON)) for command in commands]:
                output = "".join(lines(process))
                assert process.wait() == 0, output
        pages = httpx.get(f"{base_url}/_ledger", params={"client_id": CLIENT_ID}, trust_env=False).json()["clients"]
    book = pages[CLIENT_ID]
    assert book["accepted"] == REQUESTS
    return Turn(sorted(book["accepted_at"]), book["refused"])
