"""The store's queries, and a reader for commands that only read."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from functools import partial
from typing import TypeVar

import anyio
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from adsyncd.clock import Clock
from adsyncd.model.alert import Alert
from adsyncd.model.campaign import DeadLetter, Page
from adsyncd.model.day import Day
from adsyncd.model.failure import MOST_UNPUSHED, SharedReason, Unpushed
from adsyncd.model.half_hour import HalfHour
from adsyncd.model.lease import Lease
from adsyncd.model.run import Outcome, Run
from adsyncd.rate.ledger import PermitRecord, ShapeRecord
from adsyncd.store import (
    alerts,
    dead_letters,
    failures,
    half_hours,
    history,
    leases,
    listings,
    pauses,
    permits,
    pruning,
    run_selection,
    schema,
    search,
    sql,
    stored_campaigns,
    tenancy,
    unpushed,
)
from adsyncd.store.health import Health
from adsyncd.tasks import OffLoop, in_thread

READERS = 4  # at the same time

Answer = TypeVar("Answer")


@asynccontextmanager
async def open_reader(url: str, *, clock: Clock) -> AsyncIterator["Reader"]:
    """Open the database at `url` for reading. Creates, migrates and changes nothing, not even files beside it.

    Raises StoreError if there is no database or its schema is not this version's; the message says what is missing.
    """
    engine = sql.reading_engine(url)
    await anyio.to_thread.run_sync(schema.see_that_it_is_ours, engine)
    yield Reader(engine, clock, in_thread)


class Reader:
    """Queries for runs, campaigns, dead letters, permits, pauses and alerts.

    Every method raises StoreError if the database can't be used.
    """

    def __init__(self, engine: Engine, clock: Clock, off_loop: OffLoop, health: Health | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._off_loop = off_loop
        self._readers = anyio.CapacityLimiter(READERS)
        self.health = health or Health(engine.url, clock.monotonic)

    async def runs(self, tenant: str | None, limit: int, *, going: str | None = None) -> list[Run]:
        """Return the latest runs, of one tenant or of all, newest first; open runs have their current counts.

        The run `going` has not: the caller knows them.
        """
        return await self._read(lambda connection: history.runs(connection, tenant, limit, going))

    async def latest_runs(self, selection: run_selection.RunSelection, limit: int) -> list[Run]:
        """Return the latest of the selected runs, newest first; open runs have their current counts."""
        return await self._read(lambda connection: run_selection.latest(connection, selection, limit))

    async def runs_after(self, limit: int, after: history.RunKey | None = None) -> list[Run]:
        """Return the runs of all tenants, newest first; `after`: only those that follow this sort key."""
        return await self._read(lambda connection: history.runs_after(connection, limit, after))

    async def run(self, run_id: str, *, going: str | None = None) -> Run | None:
        """Return a run, or None if there is no such run; an open run has its current counts, but for `going`."""
        return await self._read(lambda connection: history.run(connection, run_id, going))

    async def runs_of(
        self,
        tenant: str,
        *,
        since: datetime | None = None,
        before: datetime | None = None,
        outcome: Outcome | None = None,
        limit: int = 20,
        going: str | None = None,
    ) -> list[Run]:
        """Return a tenant's runs, newest first: with fire times from `since` on and before `before`, and an outcome.

        Each of them may be left out. The next page is that before the fire time of the last run. Open runs have their
        current counts, but for the run `going`.
        """
        return await self._read(
            lambda connection: history.runs_of(connection, tenant, since, before, outcome, limit, going)
        )

    async def find_runs(self, text: str, limit: int = 20) -> list[Run]:
        """Return the runs whose trace id or run id is `text` or begins with it, newest first.

        The beginning of a trace id is at least 8 digits, and that of a run id has its year. None match any other text.
        """
        return await self._read(lambda connection: search.find_runs(connection, text, limit))

    async def records(self, tenant: str) -> tenancy.Records:
        """Count what is stored of a tenant."""
        return await self._read(lambda connection: tenancy.count(connection, tenant))

    async def spent_permits(self, in_use: Collection[tenancy.Client]) -> tenancy.Permits:
        """Count the permits on record of client ids that are not in use: see `tenancy.spent_permits`."""
        at = self._clock.boot_id, self._clock.since_boot()
        return await self._read(lambda connection: tenancy.spent_permits(connection, in_use, *at)[1])

    async def stored_tenants(self) -> list[str]:
        """Return the tenants that have campaigns or runs, sorted."""
        return await self._read(search.stored_tenants)

    async def campaigns(
        self,
        tenant: str,
        wanted: stored_campaigns.CampaignFilter,
        limit: int,
        after: str | None = None,
        *,
        payload: bool = False,
    ) -> list[stored_campaigns.StoredCampaign]:
        """Return stored campaigns of a tenant, by id; `after`: only those that follow this id."""
        return await self._read(
            lambda connection: stored_campaigns.page(connection, tenant, wanted, after, limit, payload=payload)
        )

    async def campaign_count(self, tenant: str, wanted: stored_campaigns.CampaignFilter) -> int:
        """Count the stored campaigns of a tenant that match."""
        return await self._read(lambda connection: stored_campaigns.count(connection, tenant, wanted))

    async def find_campaign(self, campaign_id: str, limit: int = 20) -> list[str]:
        """Return the first tenants that have a campaign of exactly this id, also a deleted one."""
        return await self._read(lambda connection: search.find_campaign(connection, campaign_id, limit))

    async def unpushed(self, run_id: str, limit: int = MOST_UNPUSHED, after: str | None = None) -> list[Unpushed]:
        """Return campaigns that a run did not push, the latest failure first; at most 1000 are kept of a run.

        `after`: the id of the last campaign of the page before.
        """
        return await self._read(lambda connection: unpushed.of_run(connection, run_id, limit, after))

    async def reasons(self, limit: int) -> list[SharedReason]:
        """Return the reasons of the latest 10,000 dead letters, those of the most campaigns first."""
        return await self._read(lambda connection: failures.reasons(connection, limit))

    async def last_failures(self, run_ids: Sequence[str], limit: int) -> list[SharedReason]:
        """Return the reasons of campaigns that failed in these runs, without dead letters, as `reasons` does.

        `run_ids`: the last run of each tenant.
        """
        return await self._read(lambda connection: failures.of_runs(connection, run_ids, limit))

    async def open_runs(self, tenant: str | None = None) -> list[Run]:
        """Return the runs that have not ended, of one tenant or of all, oldest first: those to be resumed."""
        return await self._read(lambda connection: history.open_runs(connection, tenant))

    async def days(self, tenant: str) -> list[Day]:
        """Return a tenant's history by day, oldest first: of its runs that are kept, and of those that were summed up.

        Open runs are left out.
        """
        return await self._read(lambda connection: history.days(connection, tenant))

    async def old(self, after: str, before: datetime, first_day: date) -> pruning.Old | None:
        """Return what is old of a tenant after `after`: runs before an instant, and sums of days before a day.

        Tenants of which nothing is old are passed over. None after the last tenant. Latest runs are never old.
        """
        return await self._read(lambda connection: pruning.old(connection, after, before, first_day))

    async def ended_with_pushes(self) -> list[str]:
        """Return the runs that have ended and still have pushes, which nobody owes."""
        return await self._read(pruning.ended_with_pushes)

    async def last_runs(self) -> dict[str, Run]:
        """Return, by tenant, the latest run that ended."""
        return await self._read(history.last_runs)

    async def last_runs_of(self, tenants: Collection[str]) -> dict[str, Run]:
        """Return, by tenant, the latest run that ended, of these tenants."""
        return await self._read(lambda connection: history.last_runs_of(connection, tenants))

    async def leases_of_others(self, owner: str) -> tuple[list[Lease], int]:
        """Return the leases that others than `owner` hold, and the sum of all fences."""
        return await self._read(lambda connection: leases.of_others(connection, owner))

    async def fences(self) -> dict[str, int]:
        """Return the fence of each tenant that ever had a lease: it grows with each change of hands."""
        return await self._read(leases.fences)

    async def last_regular_runs(self, tenants: Sequence[str]) -> dict[str, list[Run]]:
        """Return, by tenant, its last ten runs that succeeded or succeeded in part, newest first."""
        return await self._read(lambda connection: history.last_regular_runs(connection, tenants))

    async def last_fire_times(self) -> dict[str, datetime]:
        """Return, by tenant, the latest fire time with a run."""
        return await self._read(history.last_fire_times)

    async def half_hour(self, start: datetime) -> list[HalfHour]:
        """Return, for each tenant with a run whose fire time is in the half hour from `start` on, their sums."""
        return await self._read(lambda connection: half_hours.half_hour(connection, start))

    async def recent_requests(self, tenants: Sequence[str]) -> dict[str, list[int]]:
        """Return, by tenant, the number of requests of each of its last ten successful runs."""
        return await self._read(lambda connection: history.recent_requests(connection, tenants))

    async def campaign_counts(self, tenants: Sequence[str]) -> dict[str, int]:
        """Return the number of campaigns by tenant; tenants that have never been listed are left out."""
        return await self._read(lambda connection: history.campaign_counts(connection, tenants))

    async def kept_listing(self, tenant: str, source: str, max_age: timedelta) -> Page | None:
        """Return a tenant's listing as one page, if its last run listed all of `source` less than `max_age` ago."""
        now = self._clock.now()
        return await self._read(lambda connection: listings.whole(connection, tenant, source, now - max_age, now))

    async def kept_page(self, tenant: str, source: str, number: int) -> Page | None:
        """Return a page as it was listed last, if its `etag` is known and its campaigns are unchanged in the store."""
        return await self._read(lambda connection: listings.page(connection, tenant, source, number))

    async def dead_letters(
        self,
        tenant: str | None = None,
        campaign_id: str | None = None,
        reason: str | None = None,
        limit: int | None = None,
        *,
        after: dead_letters.LetterKey | None = None,
    ) -> list[DeadLetter]:
        """Return the dead letters that match all given filters, oldest first; `reason` is a text that it contains.

        `after`: only those that follow this sort key.
        """
        return await self._read(
            lambda connection: dead_letters.find(connection, tenant, campaign_id, reason, limit, after)
        )

    async def dead_letter_counts(self, tenants: Sequence[str] | None = None) -> dict[str, int]:
        """Return the number of dead letters by tenant, of all or of these; tenants without any are left out."""
        return await self._read(lambda connection: dead_letters.count_all(connection, tenants))

    async def oldest_dead_letters(self) -> dict[str, tuple[int, datetime]]:
        """Return, by tenant, the number of its dead letters and since when the oldest of them is one."""
        return await self._read(dead_letters.oldest_of_all)

    async def oldest_dead_letter(self, tenant: str) -> datetime | None:
        """Return when a tenant's oldest dead letter was written, or None if it has none."""
        return await self._read(lambda connection: alerts.oldest_dead_letter(connection, tenant))

    async def alerts(self) -> list[Alert]:
        """Return all kept alerts."""
        return await self._read(alerts.all_alerts)

    async def pauses(self) -> dict[str, datetime]:
        """Return, by paused tenant, since when it is paused."""
        return await self._read(pauses.all_pauses)

    async def permits(self) -> list[PermitRecord]:
        """Return all permits on record."""
        return await self._read(permits.all_permits)

    async def read_permits(self, platform: str, client_id: str) -> list[PermitRecord]:
        """Return the permits on record of a client id, or of a platform's own quota if that is empty."""
        return await self._read(lambda connection: permits.permits_of(connection, platform, client_id))

    async def shapes(self) -> list[ShapeRecord]:
        """Return all learned shapes of quotas."""
        return await self._read(permits.all_shapes)

    async def _read(self, query: Callable[[Connection], Answer]) -> Answer:
        try:
            return await self._off_loop(partial(sql.look, self._engine, query), limiter=self._readers)
        except SQLAlchemyError as error:
            self.health.failed(error)
            raise sql.store_error(self._engine.url, error) from error
