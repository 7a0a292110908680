"""The faults that trials inject into the real daemon.

A seed chooses the fault and its time: after so many requests, and so many seconds later. What the process does at that
instant depends on the machine, so a seed repeats the plan and not the course of events.
"""

import fcntl
import os
import resource
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import anyio

from adsyncd.demo.collector import open_collector
from adsyncd.demo.openbao import openbao_binary
from adsyncd.errors import AdsyncdError
from support.orbit import orbit_accounts, secrets_of
from support.otlp import PROMPTLY
from support.platform import Platform, accounts, running_platform
from support.program import Daemon, Program
from support.trial import LOCK_TIMEOUT_S, PLATFORM, QUOTA_REQUESTS, REQUESTS, TOKEN_LIVES_S, Losses, Trial
from support.vault import real_openbao

AT_A_TIME = 13
LONGEST_S = 180
OFTEN = {"every": "3s"}  # a run that a database in trouble left open is taken up without a restart
DISK_MB = 16


async def kill(trial: Trial) -> None:
    """Kill it three times in a run, the first time perhaps before it is ready."""
    trial.install()
    for requests in sorted(trial.random.sample(range(REQUESTS), 3)):
        async with trial.program.started() as daemon:
            await trial.reach(daemon, trial.moment([requests], 0.4 if requests else 1.5))
            daemon.process.send_signal(SIGKILL)
    await trial.finish()


async def freeze(trial: Trial) -> None:
    """Stop it for longer than its token lives, and let it go on, twice."""
    trial.install()
    async with trial.program.started() as daemon:
        for moment in trial.moments():
            await trial.reach(daemon, moment)
            daemon.process.send_signal(SIGSTOP)
            await anyio.sleep(TOKEN_LIVES_S + trial.random.uniform(0.1, 2))
            daemon.process.send_signal(SIGCONT)
        await trial.settle(daemon)
        await trial.stop(daemon)


async def terminate(trial: Trial, requests: Sequence[int], within_s: float, *, impatient: bool = False) -> None:
    """Tell it to stop at a moment drawn from those that are given; the impatient tell it again."""
    trial.install()
    async with trial.program.started() as daemon:
        await trial.reach(daemon, trial.moment(requests, within_s))
        if impatient:
            daemon.process.send_signal(SIGTERM)
            await anyio.sleep(trial.random.uniform(0, 0.3))
        await trial.stop(daemon)
    await trial.finish()


async def seal(trial: Trial) -> None:
    """Seal Vault before it starts, and again in the middle of its run, when it is killed and started anew."""
    async with real_openbao() as vault:
        role = await vault.put_role("adsyncd", "adsyncd/*")
        for tenant in trial.tenants:
            secret = {"email": f"{tenant}@example.com", "password": f"pw-{tenant}"}
            await vault.put_secret(f"adsyncd/{tenant}", secret)
        await vault.put_secret(f"adsyncd/{trial.puller}", secrets_of(trial.puller))
        trial.program.environ["SECRET_ID"] = role.secret_id.get_secret_value()
        auth = {"method": "approle", "role_id": role.role_id, "secret_id": {"env": "SECRET_ID"}}
        trial.install(vault={"address": vault.address, "auth": auth})
        for last in (False, True):
            await vault.seal()
            async with trial.program.started() as daemon:
                await daemon.logs("ready", 2 if last else 1)
                await anyio.sleep(trial.random.uniform(0, 3))
                await vault.unseal()
                if last:
                    await trial.settle(daemon)
                    await trial.stop(daemon)
                else:
                    await trial.reach(daemon, trial.moment())
                    daemon.process.send_signal(SIGKILL)


async def hang_collector(trial: Trial) -> None:
    """Let the collector take what is exported and never answer, also when the daemon is told to stop."""
    async with open_collector() as collector:
        collector.hanging = True
        trial.program.environ.update(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **PROMPTLY)
        trial.install()
        async with trial.program.started() as daemon:
            await trial.reach(daemon, trial.moment())
            await trial.stop(daemon)
        await trial.finish()
    if not collector.requests:
        trial.problems.append("nothing was exported")


async def stall_log(trial: Trial) -> None:
    """Let the reader of its log stand still, twice, while it logs all that it can."""
    trial.install()
    with log_reader(trial.program.folder / "daemon.log") as (pipe, reader):
        async with trial.program.started("--log-level", "debug", output=pipe) as daemon:
            for moment in trial.moments():
                await trial.reach(daemon, moment)
                reader.send_signal(SIGSTOP)
                await anyio.sleep(trial.random.uniform(1, 4))
                reader.send_signal(SIGCONT)
            await trial.settle(daemon)
            await trial.stop(daemon)


async def lock_briefly(trial: Trial) -> None:
    """Lock the database twice, for less than the store waits."""
    trial.install()
    async with trial.program.started() as daemon:
        for moment in trial.moments():
            await trial.reach(daemon, moment)
            with locked(trial.database):
                await anyio.sleep(trial.random.uniform(0.2, LOCK_TIMEOUT_S - 0.5))
        await trial.settle(daemon)
        await trial.stop(daemon)


async def lock_long(trial: Trial) -> None:
    """Lock the database until the daemon has given up waiting."""

    async def until_noticed(daemon: Daemon) -> None:
        with locked(trial.database):
            await trial.hear(daemon, "another process keeps it locked")
            await anyio.sleep(trial.random.uniform(0, 2))

    await _trouble(trial, until_noticed)


async def move_database(trial: Trial) -> None:
    """Move the database away until the daemon has noticed, and put it back."""

    async def until_noticed(daemon: Daemon) -> None:
        elsewhere = trial.database.rename(trial.database.with_suffix(".moved"))
        await trial.hear(daemon, "it was deleted or replaced")
        await anyio.sleep(trial.random.uniform(0, 2))
        elsewhere.rename(trial.database)

    await _trouble(trial, until_noticed)


async def fill_disk(trial: Trial) -> None:
    """Fill the disk that the database is on until the daemon has noticed."""

    async def until_noticed(daemon: Daemon) -> None:
        with filled(trial.database.parent):
            await trial.hear(daemon, "the disk is full")
            await anyio.sleep(trial.random.uniform(0, 2))

    with small_disk(trial.database.parent):
        await _trouble(trial, until_noticed)


async def starve(trial: Trial) -> None:
    """Leave it none or few of the file descriptors that it does not hold already."""

    async def for_a_while(daemon: Daemon) -> None:
        with starved(daemon.process.pid, trial.random.random()):
            await anyio.sleep(trial.random.uniform(2, 5))

    await _trouble(trial, for_a_while)


async def _trouble(trial: Trial, trouble: Callable[[Daemon], Awaitable[None]]) -> None:
    """Get a daemon that runs its tenants often into trouble, and see it recover without a restart."""
    trial.install(OFTEN)
    async with trial.program.started() as daemon:
        await trial.reach(daemon, trial.moment())
        await trouble(daemon)
        await trial.recover(daemon)
        await trial.stop(daemon)
    if not trial.settled():
        trial.install()
        await trial.finish()


@contextmanager
def log_reader(log: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Start a process that takes from a pipe what is to be logged, and yield the pipe's other end."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)  # a page is the least: so it is soon full
    try:
        with log.open("ab") as file, subprocess.Popen(["cat"], stdin=reading, stdout=file) as reader:
            try:
                yield writing, reader
            finally:
                reader.send_signal(SIGCONT)
                os.close(writing)
    finally:
        os.close(reading)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Keep others from writing to a database."""
    with closing(sqlite3.connect(database, timeout=LOCK_TIMEOUT_S, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of a few megabytes; in the end what is on it stays in the folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        files = {path: path.read_bytes() for path in folder.iterdir()}
        subprocess.run(["umount", "--lazy", folder], check=True)
        for path, content in files.items():
            path.write_bytes(content)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave no byte free."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def starved(pid: int, share: float) -> Iterator[None]:
    """Let a process open no file but those of the lowest numbers: up to this share of as many as it has open."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    few = 3 + int(share * len(list(Path(f"/proc/{pid}/fd").iterdir())))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, hard))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


_SEALED, _FULL_DISK = "Vault sealed while it starts, and again while it is killed", "the database's disk full"

FAULTS: Mapping[str, Callable[[Trial], Awaitable[None]]] = {
    "kill -9, three times in a run": kill,
    "SIGSTOP for longer than the token lives, then SIGCONT, twice in a run": freeze,
    _SEALED: seal,
    "a collector that never answers, also at a SIGTERM": hang_collector,
    "a log whose reader stands still, twice in a run": stall_log,
    "the database locked for less than the store waits, twice in a run": lock_briefly,
    "the database locked for longer": lock_long,
    "the database moved away, then put back": move_database,
    _FULL_DISK: fill_disk,
    "no or few file descriptors free": starve,
    "SIGTERM while it starts": partial(terminate, requests=[0], within_s=1.5),
    "SIGTERM while it lists": partial(terminate, requests=[1], within_s=0.2),
    "SIGTERM while it pushes": partial(terminate, requests=range(3, 9), within_s=0.3),
    "SIGTERM while it waits for quota": partial(terminate, requests=[QUOTA_REQUESTS], within_s=1.5),
    "SIGTERM twice: while it pushes, and while it drains": partial(
        terminate, requests=range(3, 9), within_s=0.3, impatient=True
    ),
}


def missing(fault: str) -> str | None:
    """Return what keeps a fault from being tried here, or None."""
    if fault == _FULL_DISK:
        probe = subprocess.run(["unshare", "--mount", "true"], check=False, stderr=subprocess.DEVNULL)
        return "nobody but root may mount a small disk" if probe.returncode else None
    if fault == _SEALED:
        try:
            openbao_binary()
        except AdsyncdError as error:
            return str(error)
    return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a trial. `problems`: what is not as it has to be, besides losses."""

    fault: str
    seed: int
    losses: Losses
    problems: tuple[str, ...]


async def hold_trials(folder: Path, faults: Iterable[str], seeds: Iterable[int]) -> list[Verdict]:
    """Hold a trial of each fault by each seed, some at a time, and return the verdicts."""
    verdicts = []
    at_a_time = anyio.CapacityLimiter(AT_A_TIME)

    async def hold(platform: Platform, fault: str, seed: int, number: int) -> None:
        async with at_a_time:
            place = folder / str(number)
            place.mkdir()
            tenants = f"t{number}-a", f"t{number}-b"
            puller = f"t{number}-c"
            await platform.change(accounts=accounts(*tenants) | orbit_accounts(puller))
            trial = Trial(Program(place), platform, tenants, puller, Random(f"{fault}/{seed}"))
            verdicts.append(await _hold(trial, fault, seed))
            print(verdicts[-1])  # noqa: T201 - who soaks for a quarter of an hour wants to see something

    async with running_platform(PLATFORM) as platform, anyio.create_task_group() as trials:
        for number, (seed, fault) in enumerate(product(seeds, faults)):
            trials.start_soon(hold, platform, fault, seed, number)
    return verdicts


async def _hold(trial: Trial, fault: str, seed: int) -> Verdict:
    try:
        with anyio.fail_after(LONGEST_S):
            await FAULTS[fault](trial)
    except Exception as error:  # noqa: BLE001 - a trial that breaks down is a verdict, too
        trial.problems.append(f"the trial broke down: {error!r}")
    return Verdict(fault, seed, await trial.losses(), tuple(trial.complaints()))
