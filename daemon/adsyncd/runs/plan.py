"""Computes whether tenants can keep their schedules, from their settings and the quotas of their platforms.

A run sends a request for each page and, unless its tenant only pulls, for each push. In the long run a window of N
requests in W allows one request each W / N, whatever the first burst. Where a request costs several permits, a window
has room for fewer. Tenants with the same client id share a quota, and so do all tenants of a platform that has its own
quota. Response times are left out: only the quotas count.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from statistics import median

from adsyncd.duration import format_duration
from adsyncd.model.schedule import intervals
from adsyncd.model.status import counted
from adsyncd.model.tenant import PushPolicy, Tenant
from adsyncd.rate.bucket import cools_for
from adsyncd.rate.quota import Quota, Shape, Window

ASSUMED_CAMPAIGNS = 100  # of a tenant that has never been listed
_SECOND = 1_000_000  # microseconds
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class TenantPlan:
    """The requests and the time that a tenant's runs need. Times are in seconds, shares are of the client id's quota.

    `known`: its campaigns were listed; otherwise their number is assumed. A run takes `most_requests` if it lists and
    pushes all at the first attempt. `usual_requests` is the median of its last runs, None without any. All else is
    computed for `requests`: the usual ones if the settings save some, otherwise the greater of the two. They take
    `permits` of the quota, more than one each if the platform's profile says so.

    `due_s`: the shortest time between two runs. `takes_s`: the duration of a run under the quota; `shortest_s`: the
    shortest interval that the quota allows; both None if other tenants of the client id leave nothing. `share`: the
    part of the quota that the schedules of all tenants of the client id need; above 1 it is not enough. `fix`:
    alternative ways for the tenant to keep its schedule; None if it can keep it. `fixes`: each of them as a setting.
    """

    tenant: str
    platform: str
    client_id: str
    campaigns: int
    known: bool
    most_requests: int
    usual_requests: int | None
    requests: int
    permits: int
    due_s: float
    takes_s: float | None
    shortest_s: float | None
    share: float
    fix: str | None
    fixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlatformPlan:
    """The `share` of a platform's own quota that the schedules of its `tenants` need; above 1 it is not enough.

    `headroom` is the rest. Both are None for a platform without a quota. `fix` is None if the quota is enough.
    """

    platform: str
    tenants: int
    share: float | None
    headroom: float | None
    fix: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The plans of tenants and platforms."""

    tenants: tuple[TenantPlan, ...]
    platforms: tuple[PlatformPlan, ...]

    @property
    def fixes(self) -> dict[str, str]:
        """The fixes of the tenants and platforms that need one, by name."""
        found = {f"tenant {one.tenant}": one.fix for one in self.tenants}
        found |= {f"platform {one.platform}": one.fix for one in self.platforms}
        return {name: fix for name, fix in found.items() if fix}

    def of(self, *tenant_ids: str) -> "Plan":
        """Return the plan of these tenants and their platforms."""
        ids = set(tenant_ids)
        tenants = tuple(one for one in self.tenants if one.tenant in ids)
        names = {one.platform for one in tenants}
        return Plan(tenants, tuple(one for one in self.platforms if one.platform in names))


@dataclass(frozen=True, slots=True)
class _Need:
    """The requests that one tenant's schedule needs, and the permits: `permits` each `due`, exactly `rate` a second."""

    tenant: Tenant
    campaigns: int
    known: bool
    most: int
    usual: int | None
    requests: int
    permits: Fraction
    due: timedelta
    rate: Fraction


class _Sharing:
    """The needs of all tenants of a client id. Sums are made once: thousands of tenants may share one."""

    def __init__(self, needs: Sequence[_Need]) -> None:
        self._needs = needs
        self._rate = sum((need.rate for need in needs), Fraction())
        self._begun: dict[timedelta, int] = {}

    def others(self, need: _Need) -> float:
        """Return the permits a second that all others need."""
        return float(self._rate - need.rate)

    def begun(self, within: timedelta) -> int:
        """Return the permits that the runs that begin within a time need, rounded down."""
        if within not in self._begun:
            self._begun[within] = int(sum(need.permits * math.ceil(within / need.due) for need in self._needs))
        return self._begun[within]


def plan(
    tenants: Iterable[Tenant], campaigns: Mapping[str, int], requests: Mapping[str, Sequence[int]], now: datetime
) -> Plan:
    """Return the plan of the enabled ones of `tenants`.

    By tenant id, if known: the number of `campaigns` in the last listing, and the `requests` of each of the last
    successful runs. Crontabs are judged by their fire times from `now` on.
    """
    needs = [
        _need(tenant, campaigns.get(tenant.id), requests.get(tenant.id, ()), now)
        for tenant in tenants
        if tenant.enabled
    ]
    by_client: dict[tuple[str, str], list[_Need]] = {}
    by_platform: dict[str, list[_Need]] = {}
    for need in needs:
        by_client.setdefault((need.tenant.platform.name, need.tenant.client_id), []).append(need)
        by_platform.setdefault(need.tenant.platform.name, []).append(need)
    sharing = {client: _Sharing(some) for client, some in by_client.items()}
    return Plan(
        tuple(_of_tenant(need, sharing[need.tenant.platform.name, need.tenant.client_id]) for need in needs),
        tuple(_of_platform(some) for _, some in sorted(by_platform.items())),
    )


def takes_s(permits: float | Fraction, quota: Quota) -> float:
    """Return how many seconds this many permits take in the long run, whatever was sent before."""
    return max(float(permits) * _each_s(window, quota.shape) for window in quota.windows)


def fix(
    tenant: Tenant, requests: int, permits: Fraction, needs: timedelta | None, due: timedelta, others: float = 0.0
) -> str:
    """Return in words what a tenant's runs need, one each `due`, and the alternative ways to provide it.

    `needs`: the duration of a run of this many requests, or None if it would never end. They take `permits`. `others`:
    the permits a second that other tenants of the client id need.
    """
    found = [words for words, _ in alternatives(tenant, permits, needs, due, others)]
    time = "more time than there is" if needs is None else format_duration(needs)
    shared = " beside the others of its client id" if others else ""
    cost = "" if permits == requests else f" of {counted(math.ceil(permits), 'permit')}"
    takes = f"a run takes up to {counted(requests, 'request')}{cost} and {time}{shared}"
    need = f"{takes}, and is due every {format_duration(due)}"
    return f"{need}: {', or '.join(found)}"


def alternatives(
    tenant: Tenant, permits: Fraction, needs: timedelta | None, due: timedelta, others: float = 0.0
) -> list[tuple[str, str]]:
    """Return the alternatives of `fix`, each in words and as a setting."""
    deadline = tenant.sync.run_deadline
    found = []
    if needs is not None:
        slower = [f"let it be due every {format_duration(needs)} or less often"] if needs > due else []
        longer = [f"raise sync.run_deadline to {format_duration(needs)}"] if needs > deadline else []
        found = [(" and ".join(slower + longer), setting) for setting in less_often(tenant, needs, due)]
    if more := _enough(tenant.quota, permits, others, due, min(due, deadline)):
        found.append((f"have the platform allow {more}", f"have the platform allow {more}"))
    if tenant.sync.push is PushPolicy.ALL:
        found.append(('push only what changed (sync.push = "changed")', 'sync.push = "changed"'))
    return found


def less_often(tenant: Tenant, needs: timedelta, due: timedelta) -> list[str]:
    """Return the settings with which a run may take this long, as one alternative; none if it may already."""
    slower = [f'schedule = {{ every = "{format_duration(needs)}" }} or less often'] if needs > due else []
    longer = [f'sync.run_deadline = "{format_duration(needs)}"'] if needs > tenant.sync.run_deadline else []
    return [" and ".join(slower + longer)] if slower or longer else []


def whole_minutes(seconds: float) -> timedelta | None:
    """Return a duration of whole minutes that is at least this long; None if it exceeds a timedelta."""
    try:
        return timedelta(minutes=math.ceil(seconds / 60))
    except OverflowError:
        return None


def most_requests(campaigns: int, tenant: Tenant) -> int:
    """Return how many requests a run takes that lists and pushes all, without retries."""
    pages, pushes = _pages_and_pushes(campaigns, tenant)
    return pages + pushes


def permits_of(requests: int, campaigns: int, tenant: Tenant) -> Fraction:
    """Return how many permits requests of a run take, if as many of them are pushes as in one that pushes all.

    A window has room for whole requests: in one of 10, a request that costs 3 takes 10 / 3.
    """
    profile, quota = tenant.platform.profile, tenant.quota
    pages, pushes = _pages_and_pushes(campaigns, tenant)
    costs = profile.listing.cost, profile.push.cost if profile.push else 0
    page, push = (max(_takes(cost, max(costs), window, quota.shape) for window in quota.windows) for cost in costs)
    return requests * (pages * page + pushes * push) / (pages + pushes)


def _takes(cost: int, largest: int, window: Window, shape: Shape) -> Fraction:
    """Return how many permits of a window a request takes, together with those that no other request fits into."""
    if not cost or shape is not Shape.PACED:
        return Fraction(window.requests, max(1, window.requests // cost)) if cost else Fraction()
    in_window = max(
        1, window.requests - 1
    )  # such a quota keeps the largest request's permits back, of two windows at most
    return min(Fraction(cost * in_window, max(1, window.requests - largest)), Fraction(2 * in_window))


def _pages_and_pushes(campaigns: int, tenant: Tenant) -> tuple[int, int]:
    pages = max(1, math.ceil(campaigns / tenant.sync.page_size))
    return pages, 0 if tenant.sync.push is PushPolicy.NONE else campaigns


def _need(tenant: Tenant, listed: int | None, took: Sequence[int], now: datetime) -> _Need:
    campaigns = ASSUMED_CAMPAIGNS if listed is None else listed
    most = most_requests(campaigns, tenant)
    usual = math.ceil(median(took)) if took else None
    spares = tenant.sync.push is PushPolicy.CHANGED or bool(tenant.sync.list_cache)
    requests = most if usual is None else usual if spares else max(most, usual)
    due, _ = intervals(tenant.schedule, now)
    taken = permits_of(requests, campaigns, tenant)
    rate = taken * _SECOND / (due // _MICROSECOND)  # exact, so that a sum without one is that of the others
    return _Need(tenant, campaigns, listed is not None, most, usual, requests, taken, due, rate)


def _of_tenant(need: _Need, sharing: _Sharing) -> TenantPlan:
    tenant, quota = need.tenant, need.tenant.quota
    others = sharing.others(need)
    share = takes_s(others + float(need.rate), quota)
    shortest_s = _beside(others, need.permits, quota, quota.windows)
    run_s = _beside(others, need.permits, quota, [one for one in quota.windows if _binds(one, quota.shape, sharing)])
    kept = share <= 1 and run_s is not None and run_s <= tenant.sync.run_deadline.total_seconds()
    longest_s = shortest_s if share > 1 else run_s
    needs = None if longest_s is None else whole_minutes(longest_s)
    return TenantPlan(
        tenant=tenant.id,
        platform=tenant.platform.name,
        client_id=tenant.client_id,
        campaigns=need.campaigns,
        known=need.known,
        most_requests=need.most,
        usual_requests=need.usual,
        requests=need.requests,
        permits=math.ceil(need.permits),
        due_s=need.due.total_seconds(),
        takes_s=run_s,
        shortest_s=shortest_s,
        share=share,
        fix=None if kept else fix(tenant, need.requests, need.permits, needs, need.due, others),
        fixes=() if kept else _settings(tenant, need.permits, needs, need.due, others),
    )


def _settings(
    tenant: Tenant, permits: Fraction, needs: timedelta | None, due: timedelta, others: float
) -> tuple[str, ...]:
    return tuple(setting for _, setting in alternatives(tenant, permits, needs, due, others))


def _of_platform(needs: Sequence[_Need]) -> PlatformPlan:
    platform = needs[0].tenant.platform
    if platform.quota is None:
        return PlatformPlan(platform.name, len(needs), None, None, None)
    rate = float(sum(need.rate for need in needs))
    share = takes_s(rate, platform.quota)
    advice = None
    if share > 1:
        longest = max(window.per for window in platform.quota.windows)
        enough = _enough(platform.quota, Fraction(), rate, longest, longest)
        slower = f"let them be due {math.ceil(10 * share) / 10:g} times less often"
        advice = f"its tenants need {share:.0%} of its quota: {slower}, or have the platform allow {enough}"
    return PlatformPlan(platform.name, len(needs), share, 1 - share, advice)


def _each_s(window: Window, shape: Shape) -> float:
    """Return the seconds of a window that each permit takes in the long run."""
    return cools_for(window) / (max(1, window.requests - 1) if shape is Shape.PACED else window.requests)


def _binds(window: Window, shape: Shape, sharing: _Sharing) -> bool:
    """Return whether runs wait for a window: the runs that begin within it need more than it allows."""
    return shape is Shape.PACED or sharing.begun(window.per) > window.requests


def _beside(others: float, permits: Fraction, quota: Quota, windows: Iterable[Window]) -> float | None:
    """Return how many seconds permits take while others need `others` a second; None if those leave nothing."""
    longest_s = 0.0
    for window in windows:
        each_s = _each_s(window, quota.shape)
        left = 1 - others * each_s
        if left <= 0:
            return None
        longest_s = max(longest_s, float(permits) * each_s / left)
    return longest_s


def _enough(quota: Quota, permits: Fraction, others: float, due: timedelta, within: timedelta) -> str:
    """Return in words the windows that runs of this many permits need, one each `due`, each to end `within` a time.

    Windows that are large enough are left out.
    """
    found = []
    for window in quota.windows:
        window_s = cools_for(window)
        whole = max(1, math.floor(within.total_seconds() / window_s) - 1)  # one for the answers to come back
        number = float(permits) * max(1 / whole, window_s / due.total_seconds()) + others * window_s
        enough = math.ceil(number) + (quota.shape is Shape.PACED)
        if enough > window.requests:
            found.append(f"{counted(enough, 'request')} per {format_duration(window.per)}")
    return " and ".join(found)
