"""How long ten thousand tenants that are due at once take to begin: the real daemon with an SQLite file.

No tenant ever ran, so each is due at the start. A run signs in, lists a page of 9 campaigns and pushes them; the quota
of each client id has room for that. The platform answers at once. From `ready` on, `health` is asked each second; the
longest answer shows how well the event loop turns meanwhile. Seconds are those of the machine, which everything else on
it slows down; the CPU seconds of the daemon are not.
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from benchmarks import lean_platform
from benchmarks.config import ENVIRON, FAR_AWAY, FROM_ENVIRON, tenant_ids, write_config
from benchmarks.figures import Figure
from benchmarks.processes import cpu_s, running_daemon

TENANTS = 10_000
CAMPAIGNS = 9
MOST_S = 60
PATIENCE_S = 600


def measure() -> list[Figure]:
    """Measure one start."""
    quota = "quota = { requests = 1000, per = '60s' }\n"
    with TemporaryDirectory() as name, lean_platform.running(CAMPAIGNS) as platform:
        folder, tenants = Path(name), dict.fromkeys(tenant_ids(TENANTS), "")
        config = write_config(folder, platform.base_url, tenants, defaults=FAR_AWAY + FROM_ENVIRON + "\n" + quota)
        with running_daemon(config, ENVIRON) as (events, pid):
            _until_ready(events)
            before_s, ready_at = cpu_s(pid), time.monotonic()
            answers_s = list[float]()
            while (begun := _begun(folder / "adsyncd.db")) < TENANTS:
                assert time.monotonic() - ready_at < PATIENCE_S, begun
                answers_s.append(_health_s(folder / "control.sock"))
                time.sleep(1)  # between two looks: more of them would take the daemon's CPU
            return [
                Figure("the last begins after", round(time.monotonic() - ready_at, 1), "s", at_most=MOST_S),
                Figure("CPU until then", round(cpu_s(pid) - before_s, 1), "s"),
                Figure("longest answer of health meanwhile", round(1000 * max(answers_s)), "ms"),
            ]


def _until_ready(events: Iterator[dict[str, Any]]) -> None:
    for event in events:
        if event["event"] == "ready":
            assert event["due"] == TENANTS, json.dumps(event)
            return


def _begun(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        [(begun,)] = connection.execute("SELECT count(*) FROM runs")
    return int(begun)


def _health_s(socket: Path) -> float:
    began_at = time.monotonic()
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket), verify=False), timeout=PATIENCE_S) as client:
        client.get("http://adsyncd/v1/health").raise_for_status()
    return time.monotonic() - began_at
