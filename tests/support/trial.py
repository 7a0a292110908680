"""A trial of the real daemon: its installation with three tenants, and what others say in the end of what it did."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, field
from pathlib import Path
from random import Random
from signal import SIGTERM
from typing import Any

import anyio

from mock_api.description import orbit
from support.orbit import orbit_environ, orbit_table
from support.platform import HEALTHY, Platform
from support.program import ONCE, Daemon, Program

CAMPAIGNS = 16  # of each tenant
PULLED_PAGE = 4  # campaigns on a page of the tenant that only pulls
REQUESTS = 18  # the least that a run takes: two pages, and a push each
QUOTA_REQUESTS = 10
QUOTA_WINDOW_S = 4  # longer than a restart takes: a daemon that forgets its permits is found out
TOKEN_LIVES_S = 3
LOCK_TIMEOUT_S = 2
POLL_S = 0.1

# Not in the best of health, so that there is always something to be tried again.
PLATFORM: Mapping[str, Any] = {
    "token_lifetime_s": TOKEN_LIVES_S,
    "everyone": {
        **HEALTHY,
        "campaigns": CAMPAIGNS,
        "quota_requests": QUOTA_REQUESTS,
        "quota_window_s": QUOTA_WINDOW_S,
        "list_latency_s": 0.3,
        "push_latency_s": 0.3,
        "latency_jitter": 0.5,
        "list_503": 0.1,
        "push_503": 0.05,
        "push_drop": 0.05,
        "push_hang": 0.02,
        "list_error_code": 0.05,
    },
    "apis": {"orbit": orbit()},
}


@dataclass(frozen=True, slots=True)
class Moment:
    """`later_s` seconds after the platform has accepted so many requests of a trial's first tenant."""

    requests: int
    later_s: float


@dataclass(frozen=True, slots=True)
class Losses:
    """What the platform's ledger and the database say.

    `pushes`: those that took effect. `lost`: campaigns that are not stored, and pushes that a run owed and that never
    took effect. `doubled`: effects beyond one for each campaign and run. `refused`: requests, for quota.
    """

    pushes: int = 0
    lost: int = 0
    doubled: int = 0
    refused: int = 0

    def __add__(self, other: "Losses") -> "Losses":
        return Losses(*map(sum, zip(astuple(self), astuple(other), strict=True)))


def count_losses(campaigns: int, stored: int, runs: int, page: Mapping[str, Any]) -> Losses:
    """Compare what a tenant has, in so many runs, with what is stored and with its client id's page of the ledger."""
    keys = [len(times) for times in page["effects"].values()]  # by campaign: one for each run
    return Losses(
        pushes=page["effects_total"],
        lost=campaigns - stored + (campaigns - len(keys)) * runs + sum(max(0, runs - count) for count in keys),
        doubled=page["effects_total"] - sum(keys) + sum(max(0, count - runs) for count in keys),
        refused=page["refused"],
    )


@dataclass(slots=True)
class Trial:
    """The daemon's installation. `random` chooses the faults; `problems` collects what went wrong.

    `puller`: a tenant of the second platform, from which it only pulls.
    """

    program: Program
    platform: Platform
    tenants: tuple[str, str]
    puller: str
    random: Random
    problems: list[str] = field(default_factory=list)
    _once: bool = True  # it has one run a tenant, and no more

    @property
    def everybody(self) -> tuple[str, ...]:
        """All tenants."""
        return *self.tenants, self.puller

    @property
    def database(self) -> Path:
        """The daemon's, in a folder of its own."""
        return self.program.folder / "disk" / "adsyncd.db"

    def install(self, schedule: Mapping[str, Any] = ONCE, **tables: Any) -> None:  # noqa: ANN401 - of the settings
        """Write settings and drop-ins. The credentials are in Vault if `tables` have one, else in the environment."""
        self.database.parent.mkdir(exist_ok=True)
        base_url = self.platform.base_url
        self.program.settings(
            platforms={"mixo": {"base_url": base_url}, "orbit": orbit_table(self.program, base_url)},
            shutdown_grace="5s",
            store={"url": f"sqlite:///{self.database}?timeout={LOCK_TIMEOUT_S}"},
            defaults={
                "quota": {"requests": QUOTA_REQUESTS, "per": f"{QUOTA_WINDOW_S}s"},
                "sync": {"timeout": "2s", "max_attempts": 20},
            },
            **tables,
        )
        self._once = self._once and schedule is ONCE
        for tenant in self.tenants:
            name = tenant.replace("-", "_").upper()
            self.program.environ[f"{name}_EMAIL"] = f"{tenant}@example.com"
            self.program.environ[f"{name}_PASSWORD"] = f"pw-{tenant}"
            credentials = {"vault": f"adsyncd/{tenant}"} if "vault" in tables else {"env": name}
            self.program.tenant(tenant, schedule=schedule, credentials=credentials)
        self.program.environ.update(orbit_environ("PULLER", self.puller))
        credentials = {"vault": f"adsyncd/{self.puller}"} if "vault" in tables else {"env": "PULLER"}
        pages = {"page_size": PULLED_PAGE}
        self.program.tenant(self.puller, platform="orbit", schedule=schedule, credentials=credentials, sync=pages)

    def moment(self, requests: Sequence[int] = range(1, REQUESTS), within_s: float = 0.4) -> Moment:
        """Draw a moment: after one of these numbers of requests, and up to so many seconds later."""
        return Moment(self.random.choice(requests), self.random.uniform(0, within_s))

    def moments(self) -> list[Moment]:
        """Draw two moments, the earlier one first."""
        return sorted((self.moment(), self.moment()), key=lambda moment: moment.requests)

    async def reach(self, daemon: Daemon, moment: Moment) -> None:
        """Return at a moment of the daemon's life."""
        while moment.requests and not self._has_died(daemon):
            if (await self.platform.ledger(self.tenants[0]))["accepted"] >= moment.requests:
                break
            await anyio.sleep(POLL_S)
        await anyio.sleep(moment.later_s)

    async def hear(self, daemon: Daemon, words: str) -> None:
        """Return when the daemon has said these words once more than it has now."""
        before = self.said().count(words)
        await self._until(daemon, lambda: self.said().count(words) > before)

    async def recover(self, daemon: Daemon) -> None:
        """Return when each tenant has one more run that ended than it has now."""
        before = {tenant: self._ended(tenant) for tenant in self.everybody}
        await self._until(daemon, lambda: all(self._ended(tenant) > before[tenant] for tenant in self.everybody))

    async def settle(self, daemon: Daemon) -> None:
        """Return when there is nothing left to do."""
        await self._until(daemon, self.settled)

    def settled(self) -> bool:
        """Whether each tenant has a run, and none is open."""
        return all(self._runs(tenant) and self._ended(tenant) == len(self._runs(tenant)) for tenant in self.everybody)

    async def stop(self, daemon: Daemon) -> None:
        """See the daemon stop cleanly. While it has not said a word, the signal itself may end it."""
        code = await daemon.stop()
        if code and (code != -SIGTERM or self.said()):
            self.problems.append(f"told to stop, it ended with exit code {code}")

    async def finish(self) -> None:
        """Let the daemon live once more, until there is nothing left to do."""
        async with self.program.started() as daemon:
            await self.hear(daemon, '"ready"')
            await self.settle(daemon)
            await self.stop(daemon)

    async def losses(self) -> Losses:
        """Count them, when all is over."""
        total = Losses()
        for tenant in self.tenants:
            stored = self._rows("SELECT 1 FROM campaigns WHERE tenant = ? AND synced_at AND deleted_at IS NULL", tenant)
            runs = self._runs(tenant)
            total += count_losses(CAMPAIGNS, len(stored), len(runs), await self.platform.ledger(tenant))
        pulled = self._rows("SELECT 1 FROM campaigns WHERE tenant = ? AND deleted_at IS NULL", self.puller)
        page = await self.platform.ledger(self.puller)
        return total + Losses(page["effects_total"], CAMPAIGNS - len(pulled), page["effects_total"], page["refused"])

    def complaints(self) -> Iterator[str]:
        """Say what else is not as it has to be, when all is over."""
        yield from self.problems
        for tenant in self.everybody:
            done = [CAMPAIGNS, 0] if tenant in self.tenants else [0, CAMPAIGNS]  # pushed, stored
            runs = self._runs(tenant)
            if self._once and len(runs) != 1:
                yield f"{tenant} has {len(runs)} runs: what was cut off was not taken up"
            for run_id, outcome, error, *counts in runs:
                if (outcome, *counts) != ("succeeded", CAMPAIGNS, *done, 0, 0, 0):
                    yield f"{run_id} is {outcome} with the counts {counts}: {error}"
        for line in self.said().splitlines():
            if not line.startswith("{") or "exception" in json.loads(line):
                yield f"it said {line}"

    def said(self) -> str:
        """Return all that the daemon has said."""
        log = self.program.folder / "daemon.log"
        return log.read_text() if log.exists() else ""

    async def _until(self, daemon: Daemon, ready: Callable[[], bool]) -> None:
        while not ready() and not self._has_died(daemon):  # noqa: ASYNC110 - files of another process
            await anyio.sleep(POLL_S)

    def _has_died(self, daemon: Daemon) -> bool:
        code = daemon.process.returncode
        if code is not None:
            self.problems.append(f"it ended by itself, with exit code {code}")
        return code is not None

    def _ended(self, tenant: str) -> int:
        return sum(outcome is not None for _, outcome, *_ in self._runs(tenant))

    def _runs(self, tenant: str) -> list[tuple[Any, ...]]:
        columns = "run_id, outcome, error, listed, pushed, stored, skipped, dead_lettered, failed"
        return self._rows(f"SELECT {columns} FROM runs WHERE tenant = ?", tenant)

    def _rows(self, query: str, tenant: str) -> list[tuple[Any, ...]]:
        """Ask the database without writing to it. Before it has tables there are no rows."""
        try:
            with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
                return database.execute(query, [tenant]).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname not in {"SQLITE_CANTOPEN", "SQLITE_ERROR"}:
                raise
            return []
