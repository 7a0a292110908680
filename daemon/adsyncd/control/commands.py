"""The questions and commands that the daemon answers, as calls without HTTP."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import anyio
import structlog
from anyio.abc import TaskGroup

import adsyncd
from adsyncd.clock import Clock
from adsyncd.control.paging import LIMIT, MOST, Listed, key_of, page_of, position
from adsyncd.control.statuses import Statuses, TenantFiles
from adsyncd.errors import CommandRefused, NoSuchRun, NoSuchTenant, StoreError
from adsyncd.model.campaign import DeadLetter, PushState
from adsyncd.model.failure import RunDetails, SharedReason, unpushed_of
from adsyncd.model.run import Outcome, Run, Tally
from adsyncd.model.selection import Show
from adsyncd.model.status import DaemonStatus, Export, Reloaded, ReloadPreview, State, TenantStatus
from adsyncd.model.tenant import Tenant
from adsyncd.model.verdict import Trouble
from adsyncd.runs.facts import Facts
from adsyncd.runs.plan import Plan, plan
from adsyncd.runs.replay import Replayed
from adsyncd.runs.verdict import verdict
from adsyncd.store import Store
from adsyncd.store.dead_letters import LetterKey
from adsyncd.store.history import RunKey
from adsyncd.tenants.supervisor import Supervisor
from adsyncd.tenants.ticks import Ticker
from adsyncd.tenants.worker import Worker

if TYPE_CHECKING:
    from adsyncd.credentials.vault import Vault

_log = structlog.stdlib.get_logger(__name__)

_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)
_RECORDS_S = 6.0  # a command; the command line waits for 10 s
_UNREAD = "the database is busy: it has not answered within 1 s; ask again"
_FEW = 20  # tenants whose plan takes some milliseconds
_JUDGED = 10  # runs by which a tenant is judged


class Files(TenantFiles, Protocol):
    """The drop-ins that are in force. See `adsyncd.tenants.reload.Reloader`."""

    async def reload(self) -> Reloaded:
        """Reload the files, and return the changes."""

    async def preview(self) -> ReloadPreview:
        """Return what a reload would change now."""


class Commands:
    """Answers questions and executes commands. Triggered runs go into the task group `runs`.

    Its methods raise NoSuchTenant, CommandRefused, Stopping and StoreError.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        ticker: Ticker,
        store: Store,
        files: Files,
        vault: "Vault | None",
        runs: TaskGroup,
        clock: Clock,
        exports: Callable[[], Mapping[str, Export]] = dict,
    ) -> None:
        self._supervisor = supervisor
        self._store = store
        self._files = files
        self._vault = vault
        self._runs = runs
        self._clock = clock
        self._exports = exports
        self._since = clock.now()
        self._replays: set[anyio.CancelScope] = set()
        self.statuses = Statuses(supervisor, ticker, store, files)

    def check_ready(self) -> None:
        """Raise Stopping if the daemon no longer starts runs."""
        self._supervisor.refuse_if_stopping()

    def check_recording(self) -> None:
        """Raise Stopping or StoreError unless runs begin and are recorded now, as far as known."""
        self.check_ready()
        if problem := self._store.health.problem or self._supervisor.begin_problem:
            raise StoreError(problem)

    def status(self, states: Mapping[State, int], counts: Mapping[Show, int]) -> DaemonStatus:
        """Return the daemon's status. `states` and `counts`: how many tenants there are by state and of each kind."""
        return DaemonStatus(
            version=adsyncd.__version__,
            since=self._since,
            stopping=self._supervisor.stopping,
            tenants={state: states[state] for state in State if state in states},
            runs=sum(states.get(state, 0) for state in (State.RUNNING, State.WAITING)),
            counts=counts,
            refused=[problem for refusal in self._files.refused for problem in refusal.problems],
            vault=self._vault.status if self._vault else None,
            breakers=self._supervisor.open_breakers,
            store=self._store.health.problem,
            telemetry=self._exports(),
        )

    async def tenant(self, tenant_id: str) -> TenantStatus:
        """Return a tenant's status, with a verdict by its latest runs and, if it is late, by its plan.

        What the database does not answer in time is left out; `unread` says so.
        """
        status = await self.statuses.one(tenant_id)
        try:
            with anyio.fail_after(self._store.health.patience_s):
                facts = await self._facts(self._supervisor.worker(tenant_id), status)
        except NoSuchTenant:
            return status
        except StoreError as error:
            return replace(status, unread=str(error))
        except TimeoutError:
            return replace(status, unread=self._store.health.problem or _UNREAD)
        return replace(status, verdict=verdict(facts))

    async def _facts(self, worker: Worker, status: TenantStatus) -> Facts:
        """Return all that is known of a tenant. Its plan is made only if it matters: it reads from the store."""
        going = worker.going.run_id if worker.going else None
        known = await self._store.runs(status.id, _JUDGED + 1, going=going)
        runs = [run for run in known if run.ended_at and worker.is_evidence(run)][:_JUDGED]
        facts = replace(worker.facts(), runs=runs, refused=status.refused)
        found = verdict(facts)
        if found is None or found.trouble not in {Trouble.LATE, Trouble.FAILING}:
            return facts
        of, tenants = worker.tenant, self._supervisor.tenants.values()
        sharing = [one for one in tenants if (one.platform.name, one.client_id) == (of.platform.name, of.client_id)]
        [plan_of] = (await self._plan(sharing)).of(of.id).tenants
        return replace(facts, plan=plan_of)

    async def runs(self, tenant_id: str | None, limit: int) -> list[Run]:
        """Return the latest runs, of one tenant or of all, newest first."""
        return await self._store.runs(tenant_id, limit)

    async def all_runs(self, limit: int, after: str | None) -> Listed[Run]:
        """Return a page of the runs of all tenants, newest first."""
        found = await self._store.runs_after(limit + 1, _run_key(after) if after else None)
        return page_of(found, limit, lambda run: position(_micros(run.fire_time), run.run_id))

    async def reasons(self, limit: int) -> list[SharedReason]:
        """Return the reasons of dead letters, those of the most campaigns first."""
        return await self._store.reasons(limit)

    async def runs_of(
        self,
        tenant_id: str,
        since: datetime | None = None,
        before: datetime | None = None,
        outcome: Outcome | None = None,
        limit: int = LIMIT,
    ) -> Listed[Run]:
        """Return a page of a tenant's runs, newest first, with fire times from `since` on and before `before`."""
        found = await self._store.runs_of(tenant_id, since=since, before=before, outcome=outcome, limit=limit + 1)
        return replace(page_of(found, limit, run_position), by="before")

    async def run(self, tenant_id: str, run_id: str, limit: int = LIMIT) -> RunDetails:
        """Return a tenant's run with the first campaigns that it did not push. Raises NoSuchRun."""
        run = await self._store.run(run_id)
        if run is None or run.tenant != tenant_id:
            raise NoSuchRun(
                f"{tenant_id} has no run {run_id}", f"see /v1/tenants/{tenant_id}/runs; older ones are not kept"
            )
        lost = await self._store.unpushed(run_id, limit)
        return RunDetails(run, lost, max(unpushed_of(run) - len(lost), 0))

    async def dead_letters(
        self, tenant_id: str | None, reason: str | None, limit: int, after: str | None = None
    ) -> Listed[DeadLetter]:
        """Return a page of the dead letters that match the given filters, the oldest first."""
        found = await self._store.dead_letters(
            tenant_id, None, reason, limit + 1, after=letter_key(after) if after else None
        )
        return page_of(found, limit, letter_position)

    async def plan(self) -> Plan:
        """Compute how much of their quotas the tenants in service need. Raises CommandRefused for too many tenants."""
        tenants = list(self._supervisor.tenants.values())
        if len(tenants) > MOST:
            raise CommandRefused(
                f"a plan of {len(tenants)} tenants takes this process too long: the most are {MOST}",
                "run adsyncd plan, which asks no daemon; /v1/quotas has each tenant's need",
            )
        return await self._plan(tenants)

    def worker(self, tenant_id: str) -> Worker:
        """Return the worker of a tenant in service."""
        return self._supervisor.worker(tenant_id)

    def trigger(self, tenant_id: str) -> datetime:
        """Start a run of a tenant, and return its fire time."""
        self._refuse_disabled(tenant_id)
        worker = self._supervisor.worker(tenant_id)
        self.check_ready()
        return worker.trigger(self._runs)

    async def cancel(self, tenant_id: str, *, resumable: bool) -> str | None:
        """End a tenant's run in progress; return its id, or None if it has not begun. See `Worker.cancel`."""
        self._refuse_disabled(tenant_id)
        worker = self._supervisor.worker(tenant_id)
        self.check_ready()
        return worker.cancel(resumable=resumable)

    async def pause(self, tenant_id: str) -> TenantStatus:
        """Pause a tenant until it is resumed, and return its status."""
        self._refuse_disabled(tenant_id)
        await self.in_time(self._supervisor.worker(tenant_id).pause)
        return await self.tenant(tenant_id)

    async def resume(self, tenant_id: str) -> TenantStatus:
        """Resume a tenant, and return its status."""
        self._refuse_disabled(tenant_id)
        await self.in_time(self._supervisor.worker(tenant_id).resume)
        return await self.tenant(tenant_id)

    async def in_time(self, write: Callable[[], Awaitable[None]]) -> None:
        """Execute a command that is recorded before it takes effect. Raises StoreError if that takes too long.

        It goes on then, and takes effect once it is recorded.
        """
        outcome = anyio.Event()
        failed = list[Exception]()

        async def execute() -> None:
            try:
                await write()
            except Exception as error:  # noqa: BLE001 - raised below, or if that is too late, logged
                failed.append(error)
                if waited.cancel_called:
                    _log.error("command not recorded", error=str(error))
            outcome.set()

        self._runs.start_soon(execute)
        with anyio.move_on_after(_RECORDS_S) as waited:
            await outcome.wait()
        if failed:
            raise failed[0]
        if not outcome.is_set():
            raise StoreError(
                f"the database has not recorded it within {_RECORDS_S:g} s; it takes effect as soon as it has: "
                "see adsyncd status"
            )

    async def reload(self) -> Reloaded:
        """Reload the files, and return the changes."""
        self.check_ready()
        return await self._files.reload()

    async def preview(self) -> ReloadPreview:
        """Return what a reload would change now. Nothing is applied."""
        return await self._files.preview()

    async def meant(
        self, tenant_id: str | None, campaign_ids: Sequence[str] | None, reason: str | None
    ) -> list[DeadLetter]:
        """Return the dead letters that match the filters. Raises CommandRefused if a named campaign has none."""
        found = await self._store.dead_letters(tenant_id, None, reason)
        if campaign_ids is None:
            return found
        if missing := set(campaign_ids) - {letter.campaign_id for letter in found}:
            raise CommandRefused(
                f"no such dead letters of {tenant_id}: {', '.join(sorted(missing))}",
                f"see adsyncd dead-letters list --tenant {tenant_id}",
            )
        return [letter for letter in found if letter.campaign_id in campaign_ids]

    async def replay(self, letters: Sequence[DeadLetter]) -> list[Replayed]:
        """Push dead letters again, the tenants concurrently, and return the outcome of each."""
        self.check_ready()

        def refuse(tenant_id: str) -> None:
            self._refuse_disabled(tenant_id)
            self._supervisor.worker(tenant_id).refuse_if_paused()

        with anyio.CancelScope() as scope:
            self._replays.add(scope)
            try:
                return await self._supervisor.replay_all(letters, Tally(), refuse=refuse)
            finally:
                self._replays.remove(scope)
        cut = "cut short by the stop; if it was pushed, it is no longer a dead letter"
        return [Replayed(letter, PushState.PENDING, cut) for letter in letters]

    def cut_short(self) -> None:
        """Cancel the replays. Pushes without a recorded success stay dead letters."""
        for scope in self._replays:
            scope.cancel()

    async def _plan(self, tenants: Sequence[Tenant]) -> Plan:
        ids = [tenant.id for tenant in tenants]
        campaigns = await self._store.campaign_counts(ids)
        requests = await self._store.recent_requests(ids)
        now = self._clock.now()
        if len(tenants) <= _FEW:
            return plan(tenants, campaigns, requests, now)
        return await anyio.to_thread.run_sync(lambda: plan(tenants, campaigns, requests, now))

    def _refuse_disabled(self, tenant_id: str) -> None:
        if self.statuses.is_disabled(tenant_id):
            raise CommandRefused(f"{tenant_id} is disabled", "enable it in its drop-in, and run: adsyncd reload")


def run_position(run: Run) -> str:
    """Return the instant before which the runs of the next page of a tenant are."""
    return f"{run.fire_time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def letter_position(letter: DeadLetter) -> str:
    """Return the position of a dead letter in the list of all."""
    return position(_micros(letter.dead_at), letter.tenant, letter.campaign_id)


def letter_key(after: str) -> LetterKey:
    """Return the sort key of a position in the list of dead letters. Raises CommandRefused."""
    at, tenant_id, campaign_id = key_of(after, int, str, str)
    return _EPOCH + int(at) * _MICROSECOND, str(tenant_id), str(campaign_id)


def _run_key(after: str) -> RunKey:
    at, run_id = key_of(after, int, str)
    return _EPOCH + int(at) * _MICROSECOND, str(run_id)


def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND
