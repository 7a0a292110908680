"""The effect of ten sick tenants on ten healthy ones in the same daemon: none that is measurable.

The real daemon with ten healthy tenants takes turns with the same daemon that also has ten sick ones, each with a
fault of its own and due again every second: wrong password, unknown Vault path, hanging server, endless `has_more`,
100 MB body, HTML for JSON, 401 to every second call, a quota of 1 per 10 s, a host that does not exist, an expired
certificate. The healthy tenants are limited by their quota (10 requests per 2 s), like real ones. A ratio compares a
tenant's run beside the sick ones with its run without them in the same turn.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import anyio
import trustme

from adsyncd.demo.openbao import openbao
from benchmarks.config import ACCOUNT, FAR_AWAY, HEALTHY, accounts, write_config
from benchmarks.figures import Figure
from benchmarks.processes import running_daemon, running_platform

TURNS = 4
MOST_RATIO = 1.1

WELL = {f"well-{number}": "" for number in range(10)}
SICK = {
    "wrong-password": 'credentials = { env = "WRONG" }',
    "unknown-vault-path": 'credentials = { vault = "adsyncd/nowhere" }',
    "hang": "",
    "endless": "",
    "huge": "",
    "html": "",
    "unauthorized": "",
    "small-quota": 'quota = { requests = 1, per = "10s" }',
    "no-such-host": 'platform = "nowhere"',
    "expired-certificate": 'platform = "expired"',
}
DUE_AGAIN = 'schedule = { every = "1s" }'
DEFAULTS = f"""
{FAR_AWAY}
credentials = {{ vault = "adsyncd/bench" }}
quota = {{ requests = 10, per = "2s" }}
sync = {{ timeout = "2s" }}
"""
TABLES = """
[platforms.nowhere]
base_url = "http://platform.invalid"
[platforms.expired]
base_url = "{expired}"
[vault]
address = "{vault}"
auth = {{ method = "token", token = {{ env = "BENCH_VAULT_TOKEN" }} }}
"""
PLATFORM = {
    "accounts": accounts([*WELL, *SICK]),
    "everyone": {**HEALTHY, "campaigns": 40, "quota_requests": 10, "quota_window_s": 2, "push_latency_s": 0.05},
    "clients": {
        "small-quota": {"quota_requests": 1, "quota_window_s": 10},
        **{name: {"fault": name} for name in ("hang", "endless", "huge", "html", "unauthorized")},
    },
}


def measure() -> list[Figure]:
    """Run daemons without and with sick tenants in turns."""
    return anyio.run(compare)


async def compare() -> list[Figure]:
    everybody = WELL | {name: f"{DUE_AGAIN}\n{fault}" for name, fault in SICK.items()}
    async with openbao() as vault:
        await vault.put_secret("adsyncd/bench", ACCOUNT)
        with expired_platform() as (expired, ca_file):
            tables = TABLES.format(expired=expired, vault=vault.address)
            environ = {
                "BENCH_VAULT_TOKEN": vault.root_token.get_secret_value(),
                "WRONG_EMAIL": ACCOUNT["email"],
                "WRONG_PASSWORD": "wrong",
                "SSL_CERT_FILE": str(ca_file),
            }
            turns = [(durations(WELL, tables, environ), durations(everybody, tables, environ)) for _ in range(TURNS)]
    ratios = [together[tenant] / alone[tenant] for alone, together in turns for tenant in WELL]
    slowest = [max(together.values()) / max(alone.values()) for alone, together in turns]
    return [
        Figure("duration of a healthy tenant's run, ratio", round(median(ratios), 3), at_most=MOST_RATIO),
        Figure("duration of the slowest healthy run, ratio", round(median(slowest), 3), at_most=MOST_RATIO),
    ]


@contextmanager
def expired_platform() -> Iterator[tuple[str, Path]]:
    """Start a platform whose certificate has expired; yields its address and the file of the CA that issued it."""
    ca = trustme.CA()
    certificate = ca.issue_cert(
        "127.0.0.1", not_before=datetime(2020, 1, 1, tzinfo=UTC), not_after=datetime(2021, 1, 1, tzinfo=UTC)
    )
    with TemporaryDirectory() as name:
        folder = Path(name)
        ca.cert_pem.write_to_path(folder / "ca.pem")
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        server = str(folder / "server.pem")
        with running_platform({}, "--certfile", server, "--keyfile", server) as (base_url, _):
            yield base_url, folder / "ca.pem"


def durations(tenants: Mapping[str, str], tables: str, environ: Mapping[str, str]) -> dict[str, float]:
    """Run a daemon until all healthy tenants are done, and return how long each took, in seconds."""
    with TemporaryDirectory() as folder, running_platform(PLATFORM) as (base_url, _):
        config = write_config(Path(folder), base_url, tenants, defaults=DEFAULTS, more=tables)
        with running_daemon(config, environ) as (events, _):
            busy = set(WELL)
            while busy:
                event = next(events)
                if event["event"] == "run ended":
                    busy.discard(event["tenant"])
        command = [sys.executable, "-m", "adsyncd", "runs", "--json", "--limit", "10000", "--config", str(config)]
        runs = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    for run in runs:
        assert (run["outcome"] == "succeeded" and not run["refused"]) == (run["tenant"] in WELL), run
    assert {run["tenant"] for run in runs} == set(tenants)
    return {
        run["tenant"]: (
            datetime.fromisoformat(run["ended_at"]) - datetime.fromisoformat(run["started_at"])
        ).total_seconds()
        for run in runs
        if run["tenant"] in WELL
    }
