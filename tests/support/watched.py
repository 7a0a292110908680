"""An alert watch with a real store in memory, real receivers, and a clock that a test turns."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Any

import anyio
import httpx

from adsyncd.alerts import Alertmanager, AlertWatch, Receiver, Webhook
from adsyncd.model.run import Outcome, Run, run_id
from adsyncd.store import Store
from adsyncd.telemetry.instruments import ALERT, ALERTS, TENANT
from support.alertmanager import Receivers
from support.inline_store import Disk
from support.metrics import Metrics
from support.tenants import a_tenant
from support.virtual_time import VirtualClock

HOOK = Webhook("http://receiver.invalid/hook/secret")
MANAGER = Alertmanager("http://receiver.invalid", timedelta(minutes=1))
QUARTER = timedelta(minutes=15)
FAILED, PARTIAL, SUCCEEDED = Outcome.FAILED, Outcome.PARTIAL, Outcome.SUCCEEDED


@dataclass
class World:
    """A store, receivers, and one daemon's watch after another."""

    store: Store
    disk: Disk
    clock: VirtualClock = field(default_factory=VirtualClock)
    receivers: Receivers = field(default_factory=Receivers)
    metrics: Metrics = field(default_factory=Metrics)

    @asynccontextmanager
    async def daemon(self, *receivers: Receiver, tenants: tuple[str, ...] = ("acme",)) -> AsyncIterator[AlertWatch]:
        self.metrics = Metrics()
        watch = AlertWatch(
            receivers,
            self.store,
            connect=lambda: httpx.ASGITransport(self.receivers.app),
            clock=self.clock,
            random=Random(1),
            instruments=self.metrics.instruments,
        )
        await watch.recall()
        for tenant in tenants:
            watch.add(a_tenant(id=tenant))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.run)
            yield watch
            tasks.cancel_scope.cancel()

    async def run(
        self,
        watch: AlertWatch | None,  # None: it is another process's
        outcome: Outcome,
        tenant: str = "acme",
        after: timedelta = QUARTER,
        took: timedelta = timedelta(),
        times: int = 1,
        **counts: Any,  # noqa: ANN401 - a run's fields
    ) -> None:
        """Let as many of a tenant's runs end so, each a quarter of an hour after the last."""
        for _ in range(times):
            await anyio.sleep(after.total_seconds())
            now = self.clock.now()
            run = Run(tenant, run_id(tenant, now), now, now - took, "0" * 32)
            ended = replace(run, outcome=outcome, ended_at=now, error=None if outcome is SUCCEEDED else "503", **counts)
            await self.store.begin(run)
            await self.store.finish(ended)
            if watch:
                await watch.ended(ended, None)

    async def kept(self) -> set[tuple[str, str]]:
        return {(alert.tenant, alert.name) for alert in await self.store.alerts()}

    def hooked(self) -> list[tuple[str, str, str]]:
        return [(alert["tenant"], alert["alert"], alert["status"]) for alert in self.receivers.hooked]

    def gauge(self) -> dict[tuple[str, str], float]:
        [metric] = self.metrics.exported()
        assert metric["name"] == ALERTS.name
        points = metric["data"]["data_points"]
        return {(point["attributes"][TENANT], point["attributes"][ALERT]): point["value"] for point in points}
