"""Ticks by the virtual clock: as `adsyncd.ticks`, whose scheduler reads the machine's."""

from collections.abc import Callable, Iterable
from datetime import datetime
from heapq import heapify, heapreplace

import anyio
from apscheduler.triggers.base import BaseTrigger

from adsyncd.clock import Clock
from adsyncd.schedule import next_fire, trigger
from adsyncd.tenant import Tenant


async def tick(tenants: Iterable[Tenant], clock: Clock, emit: Callable[[str, datetime], None]) -> None:
    """Call `emit(tenant id, fire time)` at each fire time, until cancelled.

    As with APScheduler: who wakes up finds out what the wall says, fire times that were missed come as one tick for the
    latest of them, and none comes twice though the clock is set back.
    """
    triggers = {tenant.id: trigger(tenant.schedule, tenant.id) for tenant in tenants}
    now = clock.now()
    line = [(_next(of, now), tenant_id) for tenant_id, of in triggers.items()]
    heapify(line)
    while line:
        due, tenant_id = line[0]
        if (wait_s := (due - clock.now()).total_seconds()) > 0:
            await anyio.sleep(wait_s)
            continue
        following = due
        while following <= clock.now():
            due, following = following, _next(triggers[tenant_id], following)
        emit(tenant_id, due)
        heapreplace(line, (following, tenant_id))


def _next(of: BaseTrigger, after: datetime) -> datetime:
    fire_time = next_fire(of, after)
    assert fire_time is not None  # noqa: S101 - no schedule of ours ever ends
    return fire_time
