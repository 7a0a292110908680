"""The statuses of tenants: those in service, the disabled ones, and those that have never had valid files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import anyio
import anyio.lowlevel
import structlog

from adsyncd.errors import NoSuchTenant, StoreError
from adsyncd.model.status import RefusedFile, State, TenantStatus
from adsyncd.model.tenant import Tenant
from adsyncd.model.verdict import Severity, Verdict
from adsyncd.runs.verdict import refused_verdict
from adsyncd.store import Store
from adsyncd.tasks import give_way
from adsyncd.tenants.supervisor import Supervisor
from adsyncd.tenants.ticks import Ticker

_log = structlog.stdlib.get_logger(__name__)

_TURN = 500  # tenants that are looked at in one turn of the event loop: about a millisecond


class TenantFiles(Protocol):
    """The drop-ins that are in force. See `adsyncd.tenants.reload.Reloader`."""

    @property
    def refused(self) -> Sequence[RefusedFile]:
        """The files that the last reload refused."""

    @property
    def disabled(self) -> Sequence[Tenant]:
        """The tenants whose drop-ins disable them."""


class Member(NamedTuple):
    """A tenant as a glance shows it. `tenant`: its settings, if it ever had valid ones."""

    id: str
    state: State
    verdict: Verdict | None
    tenant: Tenant | None


@dataclass(frozen=True, slots=True)
class _Outside:
    """The tenants that no worker has: the disabled ones, and what is wrong with files, by tenant."""

    disabled: Mapping[str, Tenant]
    refused: Mapping[str, RefusedFile]


class Statuses:
    """Looks at tenants. A glance at all of them reads what their workers have at hand; a status costs more."""

    def __init__(self, supervisor: Supervisor, ticker: Ticker, store: Store, files: TenantFiles) -> None:
        self._supervisor = supervisor
        self._ticker = ticker
        self._store = store
        self._files = files
        self._ids: tuple[str, ...] = ()
        self._known: frozenset[str] = frozenset()
        self._broken: set[str] = set()  # tenants whose status can't be shown; that is logged already

    def is_disabled(self, tenant_id: str) -> bool:
        """Return whether a tenant's drop-in disables it."""
        return any(tenant.id == tenant_id for tenant in self._files.disabled)

    async def glance(self) -> list[Member]:
        """Return all tenants, sorted by id; the event loop has turns in between."""
        found = list[Member]()
        for number, member in enumerate(self.members()):
            found.append(member)
            await give_way(number, _TURN)
        return found

    def members(self) -> Iterator[Member]:
        """Yield all tenants, sorted by id."""
        outside, workers, broken = self._outside(), self._supervisor.workers, self._broken
        for tenant_id in self._sorted(outside):
            worker = workers.get(tenant_id)
            if worker is not None and tenant_id not in outside.refused and tenant_id not in broken:
                yield Member(tenant_id, worker.state, worker.verdict, worker.tenant)
                continue
            refusal = outside.refused.get(tenant_id)
            if worker is not None:
                state = State.UNKNOWN if tenant_id in broken else worker.state
                yield Member(tenant_id, state, _worse(worker.verdict, refusal), worker.tenant)
            elif tenant := outside.disabled.get(tenant_id):
                yield Member(tenant_id, State.DISABLED, _worse(None, refusal), tenant)
            elif refusal:
                yield Member(tenant_id, State.REFUSED, _worse(None, refusal), None)

    async def of(self, ids: Iterable[str]) -> list[TenantStatus]:
        """Return the status of each of these tenants that is still known."""
        ids, outside, found = list(ids), self._outside(), list[TenantStatus]()
        letters = await self._letter_counts(ids)
        for tenant_id in ids:
            with suppress(NoSuchTenant):  # removed meanwhile
                found.append(self._status(tenant_id, letters, outside))
            await anyio.lowlevel.checkpoint()  # there may be thousands; let the runs proceed
        return found

    async def one(self, tenant_id: str) -> TenantStatus:
        """Return a tenant's status. Raises NoSuchTenant."""
        return self._status(tenant_id, await self._letter_counts([tenant_id]), self._outside())

    def _sorted(self, outside: _Outside) -> tuple[str, ...]:
        """Return the ids of all tenants, sorted. They are sorted again only if they have changed."""
        workers = self._supervisor.workers
        known = workers.keys() | outside.disabled.keys() | outside.refused.keys()
        if known != self._known:
            self._known, self._ids = frozenset(known), tuple(sorted(known))
        return self._ids

    def _status(self, tenant_id: str, letters: Mapping[str, int] | None, outside: _Outside) -> TenantStatus:
        refusal = outside.refused.get(tenant_id)
        try:
            status = self._supervisor.worker(tenant_id).status(self._ticker.next_fire_time(tenant_id))
            self._broken.discard(tenant_id)
        except NoSuchTenant:
            if tenant := outside.disabled.get(tenant_id):
                status = TenantStatus(tenant_id, State.DISABLED, tenant.client_id, tenant.platform.name)
            elif refusal:
                status = TenantStatus(tenant_id, State.REFUSED, platform=refusal.platform)
            else:
                raise
        except Exception:  # noqa: BLE001 - a bug in one tenant's status must not hide the others
            if tenant_id not in self._broken:
                self._broken.add(tenant_id)
                _log.exception("tenant status failed", tenant=tenant_id)
            status = TenantStatus(
                tenant_id, State.UNKNOWN, error="a bug in adsyncd: the status can't be shown; see the log"
            )
        return replace(
            status,
            dead_letters=None if letters is None else letters.get(tenant_id, 0),
            refused=refusal.problems if refusal else (),
            verdict=_worse(status.verdict, refusal),
        )

    def _outside(self) -> _Outside:
        """Return the tenants without a worker, and what is wrong with files, also of a tenant's platform's profile."""
        files = self._files.refused
        profiles = {one.platform: one.problems for one in files if one.tenant is None and one.platform is not None}
        return _Outside(
            {tenant.id: tenant for tenant in self._files.disabled},
            {
                one.tenant: replace(one, problems=one.problems or profiles.get(one.platform or "", ()))
                for one in files
                if one.tenant is not None
            },
        )

    async def _letter_counts(self, ids: Sequence[str]) -> dict[str, int] | None:
        """Return the number of dead letters by tenant, or None while the database fails or is slow."""
        with suppress(StoreError), anyio.move_on_after(self._store.health.patience_s):
            return await self._store.dead_letter_counts(ids)
        return None


def _worse(verdict: Verdict | None, refusal: RefusedFile | None) -> Verdict | None:
    """Return the worse of a tenant's verdict and that about its files."""
    if refusal is None or refusal.tenant is None:
        return verdict
    if refusal.goes_on and verdict is not None and verdict.severity is Severity.CRITICAL:
        return verdict
    return refused_verdict(refusal.tenant, refusal.problems, goes_on=refusal.goes_on)
