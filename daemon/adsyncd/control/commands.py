"""The questions and commands that the daemon answers, as calls without HTTP."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import anyio
import anyio.lowlevel
import structlog
from anyio.abc import TaskGroup

import adsyncd
from adsyncd.clock import Clock
from adsyncd.control.paging import Listed, key_of, page_of, position
from adsyncd.errors import CommandRefused, NoSuchTenant, StoreError
from adsyncd.model.campaign import DeadLetter, PushState
from adsyncd.model.run import Run, Tally
from adsyncd.model.status import DaemonStatus, RefusedFile, Reloaded, State, TenantStatus
from adsyncd.model.tenant import Tenant
from adsyncd.runs.plan import Plan, plan
from adsyncd.runs.replay import Replayed
from adsyncd.store import Store
from adsyncd.store.dead_letters import LetterKey
from adsyncd.tenants.supervisor import Supervisor
from adsyncd.tenants.ticks import Ticker

if TYPE_CHECKING:
    from adsyncd.credentials.vault import Vault

_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)
_log = structlog.stdlib.get_logger(__name__)


class Files(Protocol):
    """The drop-ins that are in force. See `adsyncd.tenants.reload.Reloader`."""

    @property
    def refused(self) -> Sequence[RefusedFile]:
        """The files that the last reload refused."""

    @property
    def disabled(self) -> Sequence[Tenant]:
        """The tenants whose drop-ins disable them."""

    async def reload(self) -> Reloaded:
        """Reload the files, and return the changes."""


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
    ) -> None:
        self._supervisor = supervisor
        self._ticker = ticker
        self._store = store
        self._files = files
        self._vault = vault
        self._runs = runs
        self._clock = clock
        self._since = clock.now()
        self._replays: set[anyio.CancelScope] = set()
        self._logged: set[str] = set()  # tenants whose error is logged already

    def check_ready(self) -> None:
        """Raise Stopping if the daemon no longer starts runs."""
        self._supervisor.refuse_if_stopping()

    async def status(self) -> DaemonStatus:
        """Return the daemon's status."""
        store = None
        try:
            await self._store.pauses()  # any query shows whether the database works
        except StoreError as error:
            store = str(error)
        states = [tenant.state for tenant in await self.tenants()]
        return DaemonStatus(
            version=adsyncd.__version__,
            since=self._since,
            stopping=self._supervisor.stopping,
            tenants={state: states.count(state) for state in State if state in states},
            runs=self._supervisor.runs,
            refused=[problem for refusal in self._files.refused for problem in refusal.problems],
            vault=self._vault.status if self._vault else None,
            breakers=self._supervisor.open_breakers,
            store=store,
        )

    async def tenants(self) -> list[TenantStatus]:
        """Return the status of each tenant, sorted by id."""
        return await self.statuses(self.ids())

    def ids(self) -> list[str]:
        """Return the ids of all tenants, sorted."""
        return sorted({*self._supervisor.tenants, *self._disabled(), *self._refused()})

    async def tenants_page(self, limit: int, after: str | None) -> Listed[TenantStatus]:
        """Return a page of the tenants' statuses, sorted by id."""
        ids = self.ids()
        start = bisect_right(ids, str(key_of(after, str)[0])) if after else 0
        page = page_of(ids[start : start + limit + 1], limit, position)
        return Listed(await self.statuses(page.items), page.next)

    async def statuses(self, ids: Iterable[str]) -> list[TenantStatus]:
        """Return the status of each of these tenants that is still known."""
        letters = await self._letter_counts()
        disabled, refused = self._disabled(), self._refused()
        found = []
        for tenant_id in ids:
            with suppress(NoSuchTenant):  # removed meanwhile
                found.append(self._status(tenant_id, letters, disabled, refused))
            await anyio.lowlevel.checkpoint()  # there may be thousands; let the runs proceed
        return found

    async def tenant(self, tenant_id: str) -> TenantStatus:
        """Return a tenant's status."""
        return self._status(tenant_id, await self._letter_counts(), self._disabled(), self._refused())

    async def runs(self, tenant_id: str | None, limit: int) -> list[Run]:
        """Return the latest runs, of one tenant or of all, newest first."""
        return await self._store.runs(tenant_id, limit)

    async def dead_letters(
        self, tenant_id: str | None, reason: str | None, limit: int, after: str | None = None
    ) -> Listed[DeadLetter]:
        """Return a page of the dead letters that match the given filters, the oldest first."""
        found = await self._store.dead_letters(
            tenant_id, None, reason, limit + 1, after=letter_key(after) if after else None
        )
        return page_of(found, limit, letter_position)

    async def plan(self) -> Plan:
        """Compute how much of their quotas the tenants in service need."""
        tenants = self._supervisor.tenants
        campaigns = await self._store.campaign_counts(list(tenants))
        requests = await self._store.recent_requests(list(tenants))
        return plan(tenants.values(), campaigns, requests, self._clock.now())

    def trigger(self, tenant_id: str) -> datetime:
        """Start a run of a tenant, and return its fire time."""
        self._refuse_disabled(tenant_id)
        worker = self._supervisor.worker(tenant_id)
        self.check_ready()
        return worker.trigger(self._runs)

    async def pause(self, tenant_id: str) -> TenantStatus:
        """Pause a tenant until it is resumed, and return its status."""
        self._refuse_disabled(tenant_id)
        await self._supervisor.worker(tenant_id).pause()
        return await self.tenant(tenant_id)

    async def resume(self, tenant_id: str) -> TenantStatus:
        """Resume a tenant, and return its status."""
        self._refuse_disabled(tenant_id)
        await self._supervisor.worker(tenant_id).resume()
        return await self.tenant(tenant_id)

    async def reload(self) -> Reloaded:
        """Reload the files, and return the changes."""
        self.check_ready()
        return await self._files.reload()

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

    def _status(
        self,
        tenant_id: str,
        letters: Mapping[str, int] | None,
        disabled: Mapping[str, Tenant],
        refused: Mapping[str, RefusedFile],
    ) -> TenantStatus:
        try:
            status = self._supervisor.worker(tenant_id).status(self._ticker.next_fire_time(tenant_id))
        except NoSuchTenant:
            if tenant := disabled.get(tenant_id):
                status = TenantStatus(tenant_id, State.DISABLED, tenant.client_id, tenant.platform.name)
            elif tenant_id in refused:
                status = TenantStatus(tenant_id, State.REFUSED)
            else:
                raise
        except Exception:  # noqa: BLE001 - a bug in one tenant's status must not hide the others
            if tenant_id not in self._logged:
                self._logged.add(tenant_id)
                _log.exception("tenant status failed", tenant=tenant_id)
            status = TenantStatus(
                tenant_id, State.UNKNOWN, error="a bug in adsyncd: the status can't be shown; see the log"
            )
        return replace(
            status,
            dead_letters=None if letters is None else letters.get(tenant_id, 0),
            refused=refused[tenant_id].problems if tenant_id in refused else (),
        )

    def _disabled(self) -> dict[str, Tenant]:
        return {tenant.id: tenant for tenant in self._files.disabled}

    def _refused(self) -> dict[str, RefusedFile]:
        """Return what is wrong with the files of each refused tenant, or with its platform's profile."""
        files = self._files.refused
        profiles = {one.platform: one.problems for one in files if one.tenant is None and one.platform is not None}
        return {
            one.tenant: replace(one, problems=one.problems or profiles.get(one.platform or "", ()))
            for one in files
            if one.tenant is not None
        }

    def _refuse_disabled(self, tenant_id: str) -> None:
        if tenant_id in self._disabled():
            raise CommandRefused(f"{tenant_id} is disabled", "enable it in its drop-in, and run: adsyncd reload")

    async def _letter_counts(self) -> dict[str, int] | None:
        """Return the number of dead letters by tenant, or None while the database can't be used."""
        try:
            return await self._store.dead_letter_counts()
        except StoreError:
            return None


def letter_position(letter: DeadLetter) -> str:
    """Return the position of a dead letter in the list of all."""
    return position((letter.dead_at - _EPOCH) // _MICROSECOND, letter.tenant, letter.campaign_id)


def letter_key(after: str) -> LetterKey:
    """Return the sort key of a position in the list of dead letters. Raises CommandRefused."""
    at, tenant_id, campaign_id = key_of(after, int, str, str)
    return _EPOCH + int(at) * _MICROSECOND, str(tenant_id), str(campaign_id)
