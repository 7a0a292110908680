"""One tenant as its worker knows it: what is in progress, what went wrong last, and how that looks to an operator."""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from enum import IntEnum, auto
from typing import NamedTuple

from adsyncd.model.run import Run
from adsyncd.model.status import Going, State, TenantStatus, progress
from adsyncd.model.tenant import Tenant
from adsyncd.model.verdict import Verdict
from adsyncd.platforms.session import Session
from adsyncd.rate import Gate
from adsyncd.runs.facts import Facts
from adsyncd.runs.verdict import verdict as judge
from adsyncd.tenants.diff import Change
from adsyncd.tenants.estimate import done_at
from adsyncd.tenants.services import Services


class Activity(IntEnum):  # whose hash is C's: a status looks at those of ten thousand tenants
    """What may be in progress for a tenant."""

    RUN = auto()
    REPLAY = auto()
    COMMAND = auto()


class Account(NamedTuple):
    """What the requests of a run are sent with: the tenant's settings, its permits and its sign-in."""

    tenant: Tenant
    gate: Gate
    session: Session


class Condition:
    """The state of one tenant, which its worker changes.

    `paused_since` and `last_run`, the latest that ended, are as the store has them. `going`: the run in progress.
    `leaving`: the tenant was removed.
    """

    def __init__(
        self, tenant: Tenant, services: Services, paused_since: datetime | None = None, last_run: Run | None = None
    ) -> None:
        self.tenant = tenant
        self.session = services.connector.session(tenant, services.credentials)
        self.gate = services.governor.gate(tenant.client_quota)
        self.leaving = False
        self.last_run = last_run
        self.going: Going | None = None
        self._used: Account | None = None  # by the run in progress
        self._account_since: datetime | None = None  # when it changed, since the start
        self._turn = services.turns.turn()  # of the run that was started last
        self._evidence = last_run if last_run and self.is_evidence(last_run) else None
        self._services = services
        self._paused_since = paused_since
        self._activities = Counter[Activity]()
        self.elsewhere: str | None = None  # the other process that works on it
        self._excused: Exception | None = None  # a sign-in that failed before another process succeeded
        self._unrecorded: str | None = None  # why the database could not record that a run begins
        self._left_open: str | None = None  # why the latest run has no end
        self._judged: tuple[Verdict | None] | None = None  # None: to be judged anew

    @property
    def account(self) -> Account:
        """The account that is in use: that of the run in progress, which began before it changed, or the present one.

        A changed quota of the same account applies to a run in progress.
        """
        present, used = Account(self.tenant, self.gate, self.session), self._used
        if not self.going or used is None or used.tenant is present.tenant:
            return present
        return used if Change(used.tenant, present.tenant).signs_in_anew else present

    def change_account(self) -> None:
        """Forget what earlier runs said: they had another account, or signed in another way."""
        self._account_since = self._services.clock.now()
        self._evidence = self._left_open = None

    def is_evidence(self, run: Run) -> bool:
        """Return whether an ended run says something about the tenant: no cancelled one, none of another account."""
        return not run.was_cancelled and self.is_of_account(run)

    def is_of_account(self, run: Run) -> bool:
        """Return whether a run had the present account; an earlier version's run did, unless it changed since."""
        if run.account_hash:
            return run.account_hash == self.tenant.account_hash
        return self._account_since is None or run.ended_at is None or run.ended_at > self._account_since

    def note_end(self, run: Run) -> None:
        """Note that a run ended."""
        self.last_run, self._judged = run, None
        if self.is_evidence(run):
            self._evidence = run

    def learn(self, run: Run) -> bool:
        """Note the last run that is on record; return whether another process has ended it."""
        known = self.last_run
        if known and (run.fire_time < known.fire_time or (run.run_id, run.ended_at) == (known.run_id, known.ended_at)):
            return False
        self._left_open, self._excused = None, self.session.failure
        self.note_end(run)
        return True

    def learn_pause(self, since: datetime | None) -> None:
        """Note the pause that is on record, unless a command is about to change it."""
        if not self._activities[Activity.COMMAND]:
            self._paused_since, self._judged = since, None

    @property
    def paused_since(self) -> datetime | None:
        """Since when the tenant is paused, or None."""
        return self._paused_since

    @property
    def verdict(self) -> Verdict | None:
        """What is wrong with the tenant, by what the worker itself knows; judged anew when that has changed."""
        if self._judged is None:
            self._judged = (judge(self.facts()),)
        return self._judged[0]

    def facts(self) -> Facts:
        """Return what the worker itself knows of the tenant: of its ended runs, the last one that says something."""
        now, run = self._services.clock.now(), self.going
        runs = (self._evidence,) if self._evidence else ()
        known = Facts(self.tenant.id, now, self.account.tenant, runs, self._paused_since, self._unrecorded)
        return replace(known, progress=progress(run, None), wait=run.tally.wait(now)) if run else known

    @property
    def busy(self) -> bool:
        """Whether anything is in progress."""
        return bool(self._activities.total())

    @property
    def running(self) -> bool:
        """Whether a run was started by `tick` and has not ended yet."""
        return bool(self._activities[Activity.RUN])

    @property
    def state(self) -> State:
        """What the tenant does."""
        if self.leaving:
            return State.DRAINING
        activities = self._activities
        if activities.get(Activity.RUN) or activities.get(Activity.REPLAY):
            run = self.going
            waits = run.tally.oldest_wait() if run else self._turn.ahead is not None
            return State.WAITING if waits else State.RUNNING
        if self._paused_since:
            return State.PAUSED
        return State.ELSEWHERE if self.elsewhere else State.IDLE

    def status(self, next_fire_time: datetime | None) -> TenantStatus:
        """Return what the tenant does and what went wrong last. `next_fire_time`: when it is due if not paused."""
        now, run = self._services.clock.now(), self.going
        tenant, gate, session = account = self.account
        wait = run.tally.wait(now) if run else None
        last_error = self._evidence.error if self._evidence else None
        refusal = session.failure if session.failure is not self._excused else None
        failure = self._unrecorded or self._left_open or refusal or last_error
        return TenantStatus(
            self.tenant.id,
            self.state,
            tenant.client_id,
            tenant.platform.name,
            next_client_id=self.tenant.client_id if account.tenant is not self.tenant else None,
            wait=wait,
            turn=self._turn.ahead,
            holder=self.elsewhere,
            run=progress(run, done_at(run.tally, tenant, gate, now)) if run else None,
            next_fire_time=None if self._paused_since else next_fire_time,
            paused_since=self._paused_since,
            last_run=self.last_run,
            permits=tenant.quota.requests,
            permits_free=gate.free,
            shape=gate.shape,
            error=str(failure) if failure else None,
            verdict=self.verdict,
        )
