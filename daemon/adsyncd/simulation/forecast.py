"""Forecasts for an operator's tenants from a simulation: how long runs take, and which tenants miss their schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median

from adsyncd.config.profile_file import shipped_profile
from adsyncd.model.run import Outcome
from adsyncd.model.schedule import intervals
from adsyncd.model.tenant import CredentialsRef, Platform, Tenant
from adsyncd.rate.bucket import cools_for
from adsyncd.runs.plan import fix, most_requests, permits_of, takes_s, whole_minutes
from adsyncd.simulation.behaviours import FAULTS, HEALTHY
from adsyncd.simulation.invariants import RunSeen
from adsyncd.simulation.network import Link
from adsyncd.simulation.simulation import Course
from adsyncd.simulation.virtual_time import START
from adsyncd.simulation.world import CampaignTimeline, End, Life, World


@dataclass(frozen=True, slots=True)
class Forecast:
    """A tenant's runs in the simulated time. Times are those of completed runs, in seconds.

    `skipped` counts ticks while the last run was in progress, `cut_short` the runs that ran out of time, `failed` the
    other runs that did not list all campaigns. `quota_left` is the unused share of the client id's quota. `fix` says
    what lets the tenant keep its schedule, None if it keeps it.
    """

    tenant: str
    campaigns: int
    runs: int
    typical_s: float | None
    longest_s: float | None
    requests_a_run: int | None
    skipped: int
    cut_short: int
    failed: int
    quota_left: float
    fix: str | None

    @property
    def keeps_schedule(self) -> bool:
        """Whether each run ended before the next was due."""
        return self.fix is None


def tenants_world(
    tenants: Sequence[Tenant], campaigns: Mapping[str, int], *, seed: int, lasts: timedelta, faults: bool
) -> World:
    """Return a world with only these tenants and no events; `campaigns`: their number of campaigns, by tenant id.

    Each platform speaks the built-in API, on which a tenant needs the same requests and permits as on its own. With
    `faults` a fifth of the listings answers 503 and a tenth never. A listing takes about 0.3 s and a push 2 s.
    """
    tenants = [_on_the_built_in_api(tenant) for tenant in tenants]
    sizes = {tenant.client_id: campaigns[tenant.id] for tenant in tenants}
    accounts = {
        ref: f"account-{n}@example.com" for n, ref in enumerate({tenant.credentials: None for tenant in tenants})
    }
    return World(
        seed=seed,
        platforms={
            base_url: _platform([one for one in tenants if one.platform.base_url == base_url], accounts, sizes, faults)
            | {"seed": seed}
            for base_url in {tenant.platform.base_url: None for tenant in tenants}
        },
        accounts={ref: (email, "simulated") for ref, email in accounts.items()},
        lives=(Life(tuple(tenants), lasts.total_seconds(), End.KILL, catches_up=False),),
        links={client_id: Link() for client_id in sizes},
        campaigns={client_id: CampaignTimeline(((0.0, size, frozenset()),)) for client_id, size in sizes.items()},
        sick=dict.fromkeys(sizes, "as it is"),  # the longest run of a real tenant is unknown
    )


def _on_the_built_in_api(tenant: Tenant) -> Tenant:
    """Return a tenant whose platform pushes if its own does, with the costs of its own."""
    own, built_in = tenant.platform.profile, shipped_profile()
    push = replace(built_in.push, cost=own.push.cost) if built_in.push and own.push else None
    profile = replace(built_in, listing=replace(built_in.listing, cost=own.listing.cost), push=push)
    base_url = f"http://{tenant.platform.name}.simulated"
    return replace(tenant, platform=Platform(tenant.platform.name, base_url, profile, tenant.platform.quota))


def _platform(
    tenants: Sequence[Tenant], emails: Mapping[CredentialsRef, str], sizes: Mapping[str, int], faults: bool
) -> dict[str, object]:
    profile = tenants[0].platform.profile
    opens: dict[str, set[str]] = {}
    for tenant in tenants:
        opens.setdefault(emails[tenant.credentials], set()).add(tenant.client_id)
    return {
        "accounts": {email: {"password": "simulated", "clients": sorted(ids)} for email, ids in opens.items()},
        "everyone": {
            **HEALTHY,
            **(FAULTS if faults else {}),
            "list_latency_s": 0.3,
            "push_latency_s": 2.0,
            "latency_jitter": 0.3,
            "list_cost": profile.listing.cost,
            "push_cost": profile.push.cost if profile.push else 1,
        },
        "clients": {
            tenant.client_id: {
                "campaigns": sizes[tenant.client_id],
                "page_size": tenant.sync.page_size,
                "quota_requests": tenant.quota.requests,
                "quota_window_s": tenant.quota.per.total_seconds(),
            }
            for tenant in tenants
        },
    }


def forecasts(course: Course) -> list[Forecast]:
    """Return the forecast of each tenant from the course of their world, in their order."""
    [life] = course.world.lives
    used: dict[tuple[str, str], int] = {}
    for tenant in life.tenants:
        key = tenant.platform.name, tenant.client_id
        used[key] = used.get(key, 0) + sum(run.requests for run in course.runs if run.tenant == tenant.id)
    found = []
    for tenant in life.tenants:
        allowed = life.lasts_s / tenant.quota.per.total_seconds() * tenant.quota.requests
        left = max(0.0, 1 - used[tenant.platform.name, tenant.client_id] / allowed)
        found.append(_forecast(tenant, course, left))
    return found


def _forecast(tenant: Tenant, course: Course, quota_left: float) -> Forecast:
    runs = [run for run in course.runs if run.tenant == tenant.id]
    whole = [run for run in runs if run.outcome in {Outcome.SUCCEEDED, Outcome.PARTIAL}]
    cut_short = [run for run in runs if _is_cut_short(run, tenant)]
    took_s = [run.took_s for run in whole]
    skipped = course.overlapped.get(tenant.id, 0)
    campaigns = len(course.world.campaigns[tenant.client_id].at(0.0))
    return Forecast(
        tenant=tenant.id,
        campaigns=campaigns,
        runs=len(runs),
        typical_s=median(took_s) if took_s else None,
        longest_s=max(took_s, default=None),
        requests_a_run=round(median(run.requests for run in whole)) if whole else None,
        skipped=skipped,
        cut_short=len(cut_short),
        failed=sum(run.outcome is not None for run in runs) - len(whole) - len(cut_short),
        quota_left=quota_left,
        fix=_fix(tenant, campaigns, whole) if skipped or cut_short else None,
    )


def _is_cut_short(run: RunSeen, tenant: Tenant) -> bool:
    """Return whether a run ran out of time: its deadline came, or would have come before the next permit."""
    longest_s = tenant.sync.run_deadline.total_seconds() - cools_for(tenant.quota)
    return run.outcome in {Outcome.FAILED, Outcome.ABANDONED} and run.took_s >= longest_s


def _fix(tenant: Tenant, campaigns: int, whole: Sequence[RunSeen]) -> str:
    requests = max([most_requests(campaigns, tenant), *(run.requests for run in whole)])
    taken = permits_of(requests, campaigns, tenant)
    needs = whole_minutes(max([takes_s(taken, tenant.quota), *(run.took_s for run in whole)]))
    due, _ = intervals(tenant.schedule, START)
    return fix(tenant, requests, taken, needs, due)
