"""The cost of a tenant with nothing to push, and quotas that are kept, beside dlt, airbyte-cdk and singer-sdk.

All of them list the same campaigns of the same platform: 95 of each tenant, in pages of ten. dlt's rest_api source
merges them into SQLite; airbyte-cdk's declarative source and a tap of singer-sdk print records, and leave the rest to a
destination, which is not measured. They push nothing. adsyncd has `push = "changed"`, and nothing has changed: it
lists, compares each campaign with its record, and records the run. Bare httpx and sqlite3 list and replace rows. The
scripts in `peers/` follow each project's documentation, which they name; its versions are in the files beside them.

Fifty tenants: the peers have one process with a resource or a partition for each, and one sign-in for all of them,
which is their best case; in production most have a process for each tenant, so their cost is that of one tenant, fifty
times. adsyncd is a daemon that has just started, and signs in each tenant. Seconds and CPU seconds are those of the
whole process, its start included; contenders take turns, and medians count.

The quota is 10 requests per 2 s on a sliding log, and a listing takes twenty. In one process it can't take less than
2 s, and two processes with one client id can't take less than 6 s for both. Time is from the tenth request that the
platform accepted to the last, as a ratio to that ideal. airbyte-cdk is told the quota, as its API budget; dlt and
singer-sdk have no setting for one, and obey Retry-After. A turn in which a contender gave up has no time.

Each peer has an environment of its own in `build/peers/`, made from a package index. Without one, this benchmark is
skipped and keeps its latest results.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile

import httpx

from benchmarks.config import ACCOUNT, ENVIRON, FROM_ENVIRON, HEALTHY, accounts, store_url, tenant_ids, write_config
from benchmarks.figures import Figure
from benchmarks.job import PAGE_SIZE, Quota, Spent
from benchmarks.lean_platform import running
from benchmarks.processes import clean_environ, running_platform

TURNS = 5
TURNS_OF_QUOTA = 3
CAMPAIGNS = 95
QUOTA, CAMPAIGNS_OF_QUOTA = Quota(10, 2), 195
MOST_OF_AIRBYTE = 0.8
PEERS = {"dlt": "with_dlt.py", "airbyte-cdk": "with_airbyte_cdk.py", "singer-sdk": "with_singer_sdk.py"}

_HERE = Path(__file__).parent
_ENVIRONMENTS = _HERE.parent.parent / "build" / "peers"


@dataclass(frozen=True, slots=True)
class Task:
    """What a script does once: list all campaigns of `tenants` (client id by tenant), and keep them in `folder`."""

    base_url: str
    folder: str
    tenants: Mapping[str, str]
    quota: Quota | None = None
    page_size: int = PAGE_SIZE
    email: str = ACCOUNT["email"]
    password: str = ACCOUNT["password"]


Contender = Callable[[Task], list[str]]  # returns a command


def measure() -> list[Figure]:
    """Measure all contenders, if the peers can be installed."""
    try:
        pythons = {name: environment(name) for name in PEERS}
    except subprocess.CalledProcessError as error:
        print(f"peers: skipped, since its package index has no answer: {error.stderr.strip().splitlines()[-1]}")
        return []
    scripts = {"bare httpx": partial(script, sys.executable, "with_httpx.py")}
    scripts |= {name: partial(script, pythons[name], file) for name, file in PEERS.items()}
    return [*one_tenant(scripts), *many_tenants(scripts), *bound(scripts, 1), *bound(scripts, 2)]


def environment(name: str) -> str:
    """Return the interpreter of a peer's environment, made if its requirements changed."""
    folder, requirements = _ENVIRONMENTS / name, _HERE / f"{name}.txt"
    made, python = folder / "requirements.txt", str(folder / "bin" / "python")
    if not made.exists() or made.read_text() != requirements.read_text():
        run = partial(subprocess.run, check=True, capture_output=True, text=True)
        run([sys.executable, "-m", "venv", "--clear", str(folder)])
        run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)])
        made.write_text(requirements.read_text())
    return python


def script(python: str, file: str, task: Task) -> list[str]:
    return [python, str(_HERE / file), json.dumps(asdict(task))]


def one_tenant(scripts: Mapping[str, Contender]) -> list[Figure]:
    """Measure a process that lists one tenant."""
    with prepared(tenants={"tenant-0000": "tenant-0000"}) as (task, config):
        sync = [sys.executable, "-m", "adsyncd", "sync", "tenant-0000", "--config", str(config)]
        spent = turns({**scripts, "adsyncd": lambda _: sync}, task)
    return [
        *(Figure(f"time, 1 tenant, {name}", round(one.wall_s, 2), "s") for name, one in spent.items()),
        *(Figure(f"CPU time, 1 tenant, {name}", round(one.cpu_s, 2), "s") for name, one in spent.items()),
    ]


def many_tenants(scripts: Mapping[str, Contender]) -> list[Figure]:
    """Measure a process that lists fifty tenants."""
    ids = tenant_ids(50)
    with prepared(tenants=dict(zip(ids, ids, strict=True))) as (task, config):
        spent = turns({**scripts, "adsyncd": lambda _: daemon(config, 0)}, task)
    ratio = spent["adsyncd"].cpu_s / spent["airbyte-cdk"].cpu_s
    return [
        Figure("CPU time, 50 tenants, ratio to airbyte-cdk", round(ratio, 2), at_most=MOST_OF_AIRBYTE),
        *(Figure(f"CPU time, 50 tenants, {name}", round(one.cpu_s, 2), "s") for name, one in spent.items()),
    ]


def turns(contenders: Mapping[str, Contender], task: Task) -> dict[str, Spent]:
    """Let all contenders take turns, and return the medians."""
    spent: dict[str, list[Spent]] = {name: [] for name in contenders}
    for _ in range(TURNS):
        for name, command in contenders.items():
            spent[name].extend(spent_by([command(task)]))
    return {
        name: Spent(median(one.wall_s for one in its), median(one.cpu_s for one in its)) for name, its in spent.items()
    }


def spent_by(commands: list[list[str]]) -> list[Spent]:
    """Run commands side by side, and return what each whole process took. All must succeed."""
    spent, failures = outcomes(commands)
    assert not failures, failures
    return spent


def outcomes(commands: list[list[str]]) -> tuple[list[Spent], str]:
    """Run commands side by side; return what each whole process took, and what they said if one of them failed."""
    with ExitStack() as stack:
        said = stack.enter_context(TemporaryFile("w+"))
        begun_s = time.monotonic()
        environ = {**clean_environ(), **ENVIRON}
        running = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, env=environ) for command in commands
        ]
        spent = []
        for process in running:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            spent.append(Spent(time.monotonic() - begun_s, used.ru_utime + used.ru_stime))
        said.seek(0)
        return spent, said.read() if any(process.returncode for process in running) else ""


def daemon(config: Path, pushes: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.peers.with_adsyncd", str(config), str(pushes)]


@contextmanager
def prepared(tenants: Mapping[str, str]) -> Iterator[tuple[Task, Path]]:
    """Yield a task for the peers and a configuration for adsyncd, all of whose campaigns are pushed."""
    with TemporaryDirectory() as folder, running(CAMPAIGNS) as platform:
        config = configuration(Path(folder), platform.base_url, tenants, Quota(10**6, 1))
        spent_by([daemon(config, CAMPAIGNS)])
        yield Task(platform.base_url, folder, tenants), config


def configuration(folder: Path, base_url: str, tenants: Mapping[str, str], quota: Quota, store: str = "") -> Path:
    """Write the settings and drop-ins of `tenants`, which are client ids by tenant, and return the settings' path."""
    config = write_config(
        folder,
        base_url,
        dict.fromkeys(tenants, ""),
        store=store,
        defaults=f"""
{FROM_ENVIRON}
quota = {{ requests = {quota.requests}, per = "{quota.per_s}s" }}
sync = {{ page_size = {PAGE_SIZE}, push = "changed" }}
""",
    )
    for tenant, client_id in tenants.items():
        (folder / "tenants.d" / f"{tenant}.toml").write_text(f'client_id = "{client_id}"\n')
    return config


def bound(scripts: Mapping[str, Contender], processes: int) -> list[Figure]:
    """Count the 429s of processes that share one client id's quota, and measure their time."""
    tenants = tenant_ids(processes)
    settings = {"accounts": accounts(["shared"]), "everyone": {**HEALTHY, "campaigns": CAMPAIGNS_OF_QUOTA}}
    limit = {"quota_requests": QUOTA.requests, "quota_window_s": QUOTA.per_s}
    with TemporaryDirectory() as name, running_platform(settings) as (base_url, _):
        folder = Path(name)
        shared = dict.fromkeys(tenants, "shared")
        (folder / "ample").mkdir()
        ample = configuration(folder / "ample", base_url, shared, Quota(10**6, 1), store_url(folder))
        config = configuration(folder, base_url, shared, QUOTA)

        def change(**everyone: object) -> None:
            httpx.post(f"{base_url}/_settings", json={"everyone": everyone}, trust_env=False).raise_for_status()

        change(quota_requests=10**9)
        spent_by([daemon(ample, CAMPAIGNS_OF_QUOTA)])
        change(**limit)
        task = Task(base_url, name, shared, QUOTA)
        contenders = {peer: partial(theirs, scripts[peer], task) for peer in PEERS}
        contenders["adsyncd"] = partial(sync, config)
        refused: dict[str, list[int]] = {name: [] for name in contenders}
        spans_s: dict[str, list[float]] = {name: [] for name in contenders}  # of turns in which all was listed
        for _ in range(TURNS_OF_QUOTA):
            for peer, command in contenders.items():
                _, failures = outcomes([command(tenant) for tenant in tenants])
                assert not failures or peer != "adsyncd", failures
                refusals, span_s = ledger(base_url)
                refused[peer].append(refusals)
                spans_s[peer].extend([] if failures else [span_s])
    ideal_s = (processes * ceil(CAMPAIGNS_OF_QUOTA / PAGE_SIZE) / QUOTA.requests - 1) * QUOTA.per_s
    what = f"{processes} process{'es' * (processes > 1)}"
    return [
        *(
            Figure(f"429s, {what}, {name}", max(its), at_most=0 if name == "adsyncd" else None)
            for name, its in refused.items()
        ),
        *(
            Figure(f"turns of {TURNS_OF_QUOTA} in which it gave up, {what}, {name}", TURNS_OF_QUOTA - len(its))
            for name, its in spans_s.items()
            if len(its) < TURNS_OF_QUOTA
        ),
        *(
            Figure(f"time, {what}, ratio to the ideal, {name}", round(median(its) / ideal_s, 2))
            for name, its in spans_s.items()
            if its
        ),
    ]


def theirs(command: Contender, task: Task, tenant: str) -> list[str]:
    """Return the command of a process that lists one of the task's tenants."""
    folder = Path(task.folder, tenant)
    folder.mkdir(exist_ok=True)
    return command(replace(task, folder=str(folder), tenants={tenant: task.tenants[tenant]}))


def sync(config: Path, tenant: str) -> list[str]:
    return [sys.executable, "-m", "adsyncd", "sync", tenant, "--config", str(config)]


def ledger(base_url: str) -> tuple[int, float]:
    """Return the 429s and the seconds from the tenth accepted request to the last, wait a window, and start anew."""
    page = httpx.get(f"{base_url}/_ledger", trust_env=False).json()["clients"]["shared"]
    time.sleep(QUOTA.per_s)  # so that the next contender finds the whole quota
    httpx.post(f"{base_url}/_ledger/reset", trust_env=False).raise_for_status()
    return page["refused"], page["accepted_at"][-1] - page["accepted_at"][QUOTA.requests - 1]
