"""What belongs to one tenant, and to no other."""

from dataclasses import dataclass
from datetime import MAXYEAR, datetime, timedelta

from adsyncd.model.run import Outcome, Run
from adsyncd.model.status import Going, State, TenantStatus, progress, remaining_requests
from adsyncd.model.tenant import Tenant
from adsyncd.platforms import Session
from adsyncd.rate import Gate
from adsyncd.rate.retry import RetryBudget


@dataclass(slots=True)
class Bulkhead:
    """What a tenant's runs share, and how they go. One that is `leaving` goes once nothing goes on for it.

    `going`: the run that goes on. `elsewhere`: at the last tick another process was at work on the tenant.
    `unrecorded`: why the database could not even be told that a run begins. `left_open`: why the latest run has no end.
    """

    tenant: Tenant
    session: Session
    gate: Gate
    budget: RetryBudget
    leaving: bool = False
    going: Going | None = None
    last_outcome: Outcome | None = None
    unrecorded: str | None = None
    left_open: str | None = None
    elsewhere: bool = False

    def status(
        self,
        now: datetime,
        *,
        running: bool,
        paused_since: datetime | None,
        last_run: Run | None,
        next_fire_time: datetime | None,
    ) -> TenantStatus:
        """Say how the tenant stands. `running`: a run of it was begun and has not ended yet."""
        failure = self.unrecorded or self.left_open or self.session.failure or (last_run and last_run.error)
        wait = self.going.tally.wait(now) if self.going else None
        return TenantStatus(
            self.tenant.id,
            self._state(running=running, waiting=wait is not None, paused=paused_since is not None),
            self.tenant.client_id,
            self.tenant.platform.name,
            wait=wait,
            run=progress(self.going, self._done_at(self.going, now)) if self.going else None,
            next_fire_time=None if paused_since else next_fire_time,
            paused_since=paused_since,
            last_run=last_run,
            permits=self.tenant.quota.requests,
            permits_free=self.gate.free,
            shape=self.gate.shape,
            error=str(failure) if failure else None,
        )

    def _state(self, *, running: bool, waiting: bool, paused: bool) -> State:
        if self.leaving:
            return State.DRAINING
        if running:
            return State.WAITING if waiting else State.RUNNING
        if paused:
            return State.PAUSED
        return State.ELSEWHERE if self.elsewhere else State.IDLE

    def _done_at(self, going: Going, now: datetime) -> datetime | None:
        """Return when a run will be done if nothing but the quota holds it up; None if no calendar has that date."""
        remaining = remaining_requests(going.tally, self.tenant.sync.page_size)
        if remaining is None:
            return None
        try:
            done_at = now + timedelta(seconds=self.gate.forecast_s(remaining))
        except OverflowError:  # the platform claims to have so many campaigns
            return None
        return done_at if done_at.year < MAXYEAR else None  # readers put it into their own time zone
