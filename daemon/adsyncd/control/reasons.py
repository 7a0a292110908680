"""What failed, by reason across tenants: whole runs, campaigns of last runs, and dead letters."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import anyio

from adsyncd.clock import Clock
from adsyncd.control.overview import Failed, Reason
from adsyncd.model.failure import SharedReason
from adsyncd.model.run import Outcome
from adsyncd.model.verdict import Trouble
from adsyncd.tenants.worker import Worker

MOST = 1000  # reasons of a kind
_NAMED = 5  # tenants of a reason
_KEPT_S = 10.0
_UNKNOWN = "no reason is known"
_THEN = {
    Failed.RUNS: "the next run tries again",
    Failed.PUSHES: "the next run pushes them again",
    Failed.DEAD_LETTERS: "runs skip them until they change upstream or are replayed: adsyncd dead-letters replay",
}


class Failures(Protocol):
    """The part of `adsyncd.store.Store` that reasons are read from."""

    async def reasons(self, limit: int) -> list[SharedReason]:
        """Return the reasons of dead letters."""

    async def last_failures(self, run_ids: Sequence[str], limit: int) -> list[SharedReason]:
        """Return the reasons of campaigns that failed in these runs."""


class Reasons:
    """Reads reasons at most once in some seconds, however many pages ask."""

    def __init__(self, store: Failures, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._reading = anyio.Lock()
        self._known: tuple[float, list[Reason]] | None = None

    async def of(self, workers: Mapping[str, Worker]) -> list[Reason]:
        """Return what failed: runs first, then the reasons of the most campaigns. Raises StoreError."""
        async with self._reading:
            if self._known is None or self._clock.monotonic() - self._known[0] >= _KEPT_S:
                last_runs = [(worker, worker.last_run) for worker in workers.values() if worker.last_run is not None]
                failed = [run.run_id for worker, run in last_runs if run.failed and worker.is_of_account(run)]
                pushes = await self._store.last_failures(failed, MOST)
                letters = await self._store.reasons(MOST)
                campaigns = [*_of(Failed.PUSHES, pushes), *_of(Failed.DEAD_LETTERS, letters)]
                campaigns.sort(key=lambda reason: -(reason.campaigns or 0))
                self._known = self._clock.monotonic(), [*failed_runs(workers), *campaigns]
            return self._known[1]


def failed_runs(workers: Mapping[str, Worker]) -> list[Reason]:
    """Return the reasons for which last runs failed as a whole, those of the most tenants first."""
    groups = defaultdict[str, list[tuple[str, datetime | None]]](list)
    for tenant_id, worker in sorted(workers.items()):
        run, verdict = worker.last_run, worker.verdict
        if verdict is not None and verdict.trouble is Trouble.FAILING:
            groups[verdict.reason].append((tenant_id, verdict.since))
        elif run is not None and worker.is_evidence(run) and run.outcome in {Outcome.FAILED, Outcome.ABANDONED}:
            groups[run.error or _UNKNOWN].append((tenant_id, run.ended_at))
    found = [
        Reason(
            Failed.RUNS,
            reason,
            None,
            [tenant_id for tenant_id, _ in some[:_NAMED]],
            len(some),
            min((since for _, since in some if since), default=None),
            _THEN[Failed.RUNS],
        )
        for reason, some in groups.items()
    ]
    return sorted(found, key=lambda reason: -reason.number)


def _of(failed: Failed, shared: Iterable[SharedReason]) -> list[Reason]:
    return [
        Reason(failed, one.reason or _UNKNOWN, one.campaigns, one.tenants, one.number, one.since, _THEN[failed])
        for one in shared
    ]
