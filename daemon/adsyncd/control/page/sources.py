"""What the pages ask of all tenants and of the database."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from adsyncd.control.overview import Bucket, Cause, QuotasPage, Reason, TenantRow, TenantsPage
from adsyncd.model.failure import Unpushed
from adsyncd.model.run import Outcome, Run
from adsyncd.model.selection import Selection
from adsyncd.model.status import DaemonStatus


class Lists(Protocol):
    """What the pages ask of all tenants. See `adsyncd.control.attention.Overview`."""

    async def tenants(self, selection: Selection, *, worst: bool, limit: int, after: str | None) -> TenantsPage:
        """Return a page of tenants."""

    async def tenant(self, tenant_id: str) -> TenantRow:
        """Return a tenant. Raises NoSuchTenant."""

    def free_permits(self, tenant_id: str) -> Sequence[tuple[datetime, float]]:
        """Return the share of a tenant's permits that was free at instants of the last hour, oldest first."""

    async def daemon(self) -> DaemonStatus:
        """Return the daemon's status."""

    def causes(self) -> Sequence[Cause]:
        """Return what is wrong, by cause."""

    def history(self, since: datetime, bucket: timedelta) -> Sequence[Bucket]:
        """Return the runs since an instant, summed up by buckets."""

    async def quotas(self, limit: int, after: str | None) -> QuotasPage:
        """Return the platforms and a page of client ids."""

    async def reasons(self) -> Sequence[Reason]:
        """Return what failed, by reason."""


class Records(Protocol):
    """What the pages ask of the database. See `adsyncd.store.reader.Reader`."""

    async def run(self, run_id: str, *, going: str | None = None) -> Run | None:
        """Return a run; without its counts if it is `going`."""

    async def unpushed(self, run_id: str, limit: int, after: str | None = None) -> list[Unpushed]:
        """Return the campaigns that a run did not push."""

    async def runs_of(
        self,
        tenant_id: str,
        *,
        since: datetime | None = None,
        outcome: Outcome | None = None,
        before: datetime | None = None,
        limit: int = 20,
        going: str | None = None,
    ) -> list[Run]:
        """Return a tenant's runs, the newest first; the run `going` without its counts."""

    async def find_runs(self, text: str, limit: int) -> list[Run]:
        """Return the runs with this id or trace id."""

    async def dead_letter_counts(self) -> dict[str, int]:
        """Return the number of dead letters by tenant."""

    async def find_campaign(self, campaign_id: str, limit: int) -> list[str]:
        """Return the tenants that have this campaign."""
