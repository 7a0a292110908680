"""Removes in the background what the database does not keep, one bounded piece after the other.

each minute ──► pushes of ended runs, which a large run or a crash has left
each day    ──► of tenant after tenant: runs of days that are over for `keep_runs` become sums of these days,
                and sums of days that are over for `keep_history` are removed
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

import anyio
import structlog

from adsyncd.clock import Clock
from adsyncd.store.pruning import Old, RollUp
from adsyncd.telemetry.repetition import again_and_again

_log = structlog.stdlib.get_logger(__name__)

_EACH_S = 60.0
_PAUSE_S = 0.05  # between two pieces: ten thousand tenants take ten minutes a day


class Pruned(Protocol):
    """The store, as far as it is pruned. See `adsyncd.store.Store`."""

    async def ended_with_pushes(self) -> list[str]:
        """Return the runs that have ended and still have pushes."""

    async def remove_pushes(self, run_id: str) -> None:
        """Remove some of the pushes of a run that has ended."""

    async def old(self, after: str, before: datetime, first_day: date) -> Old | None:
        """Return what is old of a tenant after `after`, or None after the last tenant."""

    async def roll_up(self, runs: RollUp) -> None:
        """Replace old runs of a tenant by sums of their days, and remove sums that are too old."""


class Upkeep:
    """Prunes a store. `keep_runs` and `keep_history`: how long runs and the sums of days are kept after their day."""

    def __init__(self, store: Pruned, clock: Clock, keep_runs: timedelta, keep_history: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._keep_runs = keep_runs
        self._keep_history = keep_history
        self._rolled_up: date | None = None  # runs before this day

    async def run(self) -> None:
        """Prune until cancelled. A failing database is tried again."""
        await again_and_again(self.prune, _EACH_S, _log, "history not pruned")

    async def prune(self) -> None:
        """Remove all that is not kept, after a pause between any two pieces. Raises StoreError."""
        while left := await self._store.ended_with_pushes():
            for run_id in left:
                await self._store.remove_pushes(run_id)
                await anyio.sleep(_PAUSE_S)
        first_kept = self._day(self._keep_runs)
        if self._rolled_up != first_kept:
            await self._roll_up(first_kept, self._day(self._keep_history))
            self._rolled_up = first_kept

    async def _roll_up(self, first_kept: date, first_day: date) -> None:
        after, before = "", datetime.combine(first_kept, time(), UTC)
        while old := await self._store.old(after, before, first_day):
            if old.run_ids or old.outdated:
                await self._store.roll_up(RollUp(old.tenant, old.run_ids, first_day))
            if not old.more:
                after = old.tenant
            await anyio.sleep(_PAUSE_S)

    def _day(self, ago: timedelta) -> date:
        """Return the day in UTC on which a time ago was; all earlier days are over for longer."""
        return (self._clock.now() - ago).astimezone(UTC).date()
