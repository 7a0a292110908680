"""The longest that a run, and a wait for the end of one, may take in a world if nothing is wrong with the daemon."""

import math

from adsyncd.model.schedule import intervals
from adsyncd.model.tenant import Tenant
from adsyncd.rate.bucket import cools_for
from adsyncd.rate.quota import Quota, Shape, Window
from adsyncd.simulation.virtual_time import START
from adsyncd.simulation.world import World


def longest_run_s(world: World, tenant: Tenant, requests: int) -> float:
    """Return the longest duration of a run with so many requests: windows full of quota, each emptied in turn.

    Of a platform's quota the tenant gets at least the share that is left if all tenants have as much to do.
    """
    permits = requests * tenant.client_quota.costs[1]  # at most
    each_s = 2 * world.links[tenant.client_id].longest_s + 4.5 + 4 * world.store_s
    longest_s = sum(_windows_s(window, permits, each_s) for window in tenant.quota.windows) + 10
    if tenant.quota.shape is Shape.PACED:
        longest_s += permits * tenant.quota.per.total_seconds()
    if tenant.platform.quota:
        everybody = len(world.tenants) * 3  # by weight
        longest_s += _windows_s(tenant.platform.quota, permits * everybody, each_s)
    return longest_s


def longest_wait_s(world: World, tenant: Tenant, lives: int) -> float:
    """Return how much of its daemon's time, over so many lives, may pass without the end of a run of a tenant.

    A resumed run has its whole deadline again, and its permits may have to cool first.
    """
    schedules = {one.schedule for life in world.lives for one in life.tenants if one.id == tenant.id}
    a_run_s = tenant.sync.run_deadline.total_seconds() + tenant.quota.per.total_seconds() + 60
    trouble_s = sum(max(0.0, -jump.by_s) for jump in world.jumps)
    trouble_s += sum(span.to_s - span.from_s for span in (*world.failures, *world.stalls))
    interval_s = max(intervals(schedule, START)[1] for schedule in schedules).total_seconds()
    return interval_s + (lives + 1) * a_run_s + trouble_s


def _windows_s(window: Window | Quota, permits: int, each_s: float) -> float:
    permits_a_window = (window.requests + 1) // 2  # as the drop-in may have been edited
    return (math.ceil(permits / permits_a_window) + 1) * (cools_for(window) + permits_a_window * each_s)
