"""How much of their quotas client ids and platforms need and use: computed in the background, a few at a time.

A full plan of ten thousand tenants takes seconds, so only client ids of which something has changed are planned again,
and the rest of the process has most of the time in between.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import anyio

from adsyncd.clock import Clock
from adsyncd.control.overview import CLOSE, Load, PlatformRow
from adsyncd.duration import format_duration
from adsyncd.model.status import counted
from adsyncd.model.tenant import Every, Tenant
from adsyncd.platforms.requests import address
from adsyncd.rate.quota import Quota
from adsyncd.runs.plan import plan, takes_s
from adsyncd.tasks import OffLoop, give_way
from adsyncd.tenants.worker import Worker

_HOUR_S = 3600.0
_PPM = 1_000_000
_BATCH_S = 0.02  # of planning at a time
_REST = 4  # times as long nothing is planned
_SELDOM = 100  # times as long the same client id is not planned again
_ALIKE = 0.1  # a change of a run's campaigns or requests by less changes no plan

Client = tuple[str, str]  # platform, client id
Rank = tuple[int, str, str, str]  # how far from its limit in millionths, platform, client id, tenant


@dataclass(frozen=True, slots=True)
class _Basis:
    """What a tenant's plan is made from: its settings, and the campaigns and requests of its last run, if any."""

    tenant: Tenant
    campaigns: int | None
    requests: int | None

    def is_like(self, other: "_Basis") -> bool:
        """Return whether the plan would be about the same."""
        return self.tenant is other.tenant and all(
            (one is None) == (two is None) and abs((one or 0) - (two or 0)) <= _ALIKE * (one or 0)
            for one, two in ((self.campaigns, other.campaigns), (self.requests, other.requests))
        )


@dataclass(frozen=True, slots=True)
class _Need:
    """What the schedules of a client id need: permits a second, the share of its quota, and fixes by tenant."""

    bases: Mapping[str, _Basis]
    rate: float
    share: float
    fixes: Mapping[str, Sequence[str]]
    again_at: float

    @property
    def known(self) -> bool:
        """Whether all of its tenants were listed."""
        return all(basis.campaigns is not None for basis in self.bases.values())


@dataclass(slots=True)
class _Known:
    """The loads as they were computed last. `ranked`: the tenants, the one nearest to its limit first; `near`: to it.

    `over`, `close`: how many tenants need more than the quota of their client id, or more than 85 % of it.
    """

    clients: dict[Client, Load] = field(default_factory=dict)
    platforms: list[tuple[PlatformRow, str]] = field(default_factory=list)  # each with one of its tenants
    ranked: list[Rank] = field(default_factory=list)
    near: set[str] = field(default_factory=set)
    over: int = 0
    close: int = 0

    def rank(self, client: Client, load: Load, tenants: Collection[str]) -> None:
        """Take the tenants of a client id."""
        share, needed = share_of(load), load.needed or 0.0
        self.ranked += [(-round(share * _PPM), *client, tenant_id) for tenant_id in tenants]
        if share > CLOSE:
            self.near.update(tenants)
        if needed > CLOSE:
            self.over += len(tenants) if needed > 1 else 0
            self.close += len(tenants) if needed <= 1 else 0


class Loads:
    """The loads of client ids and platforms. `workers`: those in service, by tenant."""

    def __init__(self, workers: Callable[[], Mapping[str, Worker]], clock: Clock, off_loop: OffLoop) -> None:
        self._workers = workers
        self._off_loop = off_loop
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self._clock = clock
        self._needs: dict[Client, _Need] = {}
        self._known = _Known()

    def of(self, tenant: Tenant) -> Load | None:
        """Return the load of a tenant's client id; None if it is not known yet."""
        return self._known.clients.get(_client(tenant))

    def fixes(self, tenant: Tenant) -> Sequence[str]:
        """Return what would let a tenant keep its schedule; nothing if it can."""
        need = self._needs.get(_client(tenant))
        return need.fixes.get(tenant.id, ()) if need else ()

    def is_near(self, tenant_id: str) -> bool:
        """Return whether a tenant's client id needs or uses more than 85 % of its quota."""
        return tenant_id in self._known.near

    @property
    def ranked(self) -> Sequence[Rank]:
        """The tenants, the one nearest to its limit first."""
        return self._known.ranked

    @property
    def over(self) -> int:
        """How many tenants need more than the quota of their client id."""
        return self._known.over

    @property
    def close(self) -> int:
        """How many of the others need more than 85 % of it."""
        return self._known.close

    def platforms(self, breakers: Sequence[str]) -> list[PlatformRow]:
        """Return each platform, the one nearest to its limit first. `breakers`: why circuit breakers are open."""
        now, found = self._clock.monotonic(), list[PlatformRow]()
        for row, tenant_id in self._known.platforms:
            worker = self._workers().get(tenant_id)
            if worker is None:
                found.append(row)
                continue
            host = address(worker.tenant.platform.base_url).netloc.decode("ascii")
            breaker = next((one for one in breakers if one.startswith((f"{host}: ", f"{host} via "))), None)
            pool = worker.gate.pool
            found.append(replace(row, free=pool.limiter.free(now) if pool else None, breaker=breaker))
        return found

    async def refresh(self, requests: Callable[[str], float]) -> None:
        """Compute what has changed. `requests`: how many requests a tenant's ended runs of the last hour sent."""
        groups = dict[Client, dict[str, _Basis]]()
        for number, (tenant_id, worker) in enumerate(list(self._workers().items())):
            groups.setdefault(_client(worker.tenant), {})[tenant_id] = self._basis(worker)
            await give_way(number)
        for client in self._needs.keys() - groups.keys():
            del self._needs[client]
        due = dict[Client, Mapping[str, _Basis]]()
        for number, (client, bases) in enumerate(groups.items()):
            if self._is_due(client, bases):
                due[client] = bases
            await give_way(number)
        await self._plan(due)
        await self._sum_up(groups, requests)

    def _basis(self, worker: Worker) -> _Basis:
        run = worker.last_run
        need = self._needs.get(_client(worker.tenant))
        before = need.bases.get(worker.tenant.id) if need else None
        if run is None or not run.listed or run.outcome is None:
            return replace(before, tenant=worker.tenant) if before else _Basis(worker.tenant, None, None)
        return _Basis(worker.tenant, run.listed, run.requests)

    def _is_due(self, client: Client, bases: Mapping[str, _Basis]) -> bool:
        need = self._needs.get(client)
        if need is None or need.bases.keys() != bases.keys():
            return True
        changed = [basis for tenant_id, basis in bases.items() if not need.bases[tenant_id].is_like(basis)]
        return bool(changed) and (
            self._clock.monotonic() >= need.again_at
            or any(basis.tenant is not need.bases[basis.tenant.id].tenant for basis in changed)
        )

    async def _plan(self, due: Mapping[Client, Mapping[str, _Basis]]) -> None:
        """Plan client ids, in a thread and with rests."""
        waiting = list(due.items())
        while waiting:
            began = self._clock.monotonic()
            planned = await self._off_loop(lambda: self._plan_some(waiting), limiter=self._one_at_a_time)
            self._needs.update(planned)
            await anyio.sleep(_REST * (self._clock.monotonic() - began))

    def _plan_some(self, waiting: list[tuple[Client, Mapping[str, _Basis]]]) -> dict[Client, _Need]:
        """Plan client ids for a moment, and take them off the list."""
        began, now, planned = self._clock.monotonic(), self._clock.now(), dict[Client, _Need]()
        while waiting and self._clock.monotonic() - began < _BATCH_S:
            client, bases = waiting.pop()
            planned[client] = _need(bases, now, self._clock)
        return planned

    async def _sum_up(self, groups: Mapping[Client, Mapping[str, _Basis]], requests: Callable[[str], float]) -> None:
        """Compute the loads anew from what is known of each client id."""
        known, by_platform = _Known(), dict[str, list[Client]]()
        used = dict[Client, float]()
        for number, (client, bases) in enumerate(groups.items()):
            by_platform.setdefault(client[0], []).append(client)
            used[client] = sum(
                (requests(tenant_id) + self._running(tenant_id)) * basis.tenant.usual_cost
                for tenant_id, basis in bases.items()
            )
            need, one = self._needs[client], next(iter(bases.values())).tenant
            used_share = takes_s(used[client], one.quota) / _HOUR_S
            load = known.clients[client] = Load(need.share if need.known else None, used_share)
            known.rank(client, load, bases)
            await give_way(number)
        known.ranked.sort()
        for platform, clients in sorted(by_platform.items()):
            tenant = next(iter(groups[clients[0]].values())).tenant
            whole = None
            if (shared := tenant.platform.quota) is not None:
                needs = [self._needs[client] for client in clients]
                needed = takes_s(sum(need.rate for need in needs), shared) if all(n.known for n in needs) else None
                whole = Load(needed, takes_s(sum(used[client] for client in clients), shared) / _HOUR_S)
            tenants = sum(len(groups[client]) for client in clients)
            quota = in_words(shared) if shared else None
            known.platforms.append((PlatformRow(platform, tenants, quota, whole, free=None, breaker=None), tenant.id))
        known.platforms.sort(key=lambda one: (one[0].load is None, -share_of(one[0].load)))
        self._known = known

    def _running(self, tenant_id: str) -> float:
        """Return how many requests a tenant's run in progress sent in the last hour, about."""
        worker = self._workers().get(tenant_id)
        if worker is None or (going := worker.going) is None:
            return 0.0
        lasts_s = (self._clock.now() - going.since).total_seconds()
        return going.tally.requests * min(1.0, _HOUR_S / max(lasts_s, 1.0))


def share_of(load: Load | None) -> float:
    """Return how near a load is to its limit: the greater of its shares."""
    return max(load.needed or 0.0, load.used) if load else 0.0


def _client(tenant: Tenant) -> Client:
    return tenant.platform.name, tenant.client_id


def _need(bases: Mapping[str, _Basis], now: datetime, clock: Clock) -> _Need:
    began = clock.monotonic()
    campaigns = {tenant_id: basis.campaigns for tenant_id, basis in bases.items() if basis.campaigns is not None}
    requests = {tenant_id: [basis.requests] for tenant_id, basis in bases.items() if basis.requests is not None}
    found = plan([basis.tenant for basis in bases.values()], campaigns, requests, now).tenants
    return _Need(
        dict(bases),
        sum(one.permits / one.due_s for one in found),
        max((one.share for one in found), default=0.0),
        {one.tenant: one.fixes for one in found if one.fixes},
        clock.monotonic() + _SELDOM * (clock.monotonic() - began),
    )


def in_words(quota: Quota) -> str:
    """Return a quota in words: `10 requests per 60s, 1000 per 1d`."""
    first, *others = quota.windows
    also = [f"{window.requests} per {format_duration(window.per)}" for window in others]
    return ", ".join([f"{counted(first.requests, 'request')} per {format_duration(first.per)}", *also])


def schedule_of(tenant: Tenant) -> str:
    """Return a tenant's schedule in words."""
    schedule = tenant.schedule
    if isinstance(schedule, Every):
        return f"every {format_duration(schedule.interval)}"
    return f"{schedule.expression} ({schedule.timezone})"
