"""A supervisor with all of its real parts, on the virtual clock, and the mock platform in the same process."""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import anyio
import httpx
from anyio.abc import TaskGroup

from adsyncd.credentials import Credentials
from adsyncd.host.owner import ProcessOwner
from adsyncd.model.campaign import DeadLetter
from adsyncd.model.run import Run, Tally
from adsyncd.model.tenant import CredentialsRef, EnvRef, Tenant
from adsyncd.platforms import Connector
from adsyncd.rate import Governor
from adsyncd.rate.quota import Quota
from adsyncd.runs.lease import Leases
from adsyncd.runs.replay import Replayed
from adsyncd.store import Store
from adsyncd.telemetry.instruments import Instruments, Metric
from adsyncd.tenants.services import Services
from adsyncd.tenants.supervisor import Supervisor
from mock_api.app import create_app
from support.accounts import an_account
from support.metrics import Metrics
from support.pipelines import fire_time
from support.platform import HEALTHY, accounts
from support.spans import Spans
from support.tenants import a_tenant
from support.virtual_time import VirtualClock

TLS = ssl.create_default_context()
AMPLE = Quota(1000, timedelta(seconds=60))


def tenant(name: str, **changes: Any) -> Tenant:  # noqa: ANN401 - a tenant's fields
    return a_tenant(**{"id": name, "client_id": name, "credentials": EnvRef(name), "quota": AMPLE, **changes})


class Accounts:
    """Every tenant's credentials: those of its client id. For the prefix `broken`, reading raises KeyError."""

    async def read(self, ref: CredentialsRef) -> Credentials:
        assert isinstance(ref, EnvRef)
        if ref.prefix == "broken":
            raise KeyError("a mistake of ours")
        return an_account(f"{ref.prefix}@example.com", f"pw-{ref.prefix}")

    def newest(self, ref: CredentialsRef, until: float) -> int | None:  # noqa: ARG002 - a source's signature
        return None


@dataclass
class World:
    """A process: its supervisor, and the platform that it speaks to."""

    store: Store
    clock: VirtualClock
    instruments: Instruments
    supervisor: Supervisor
    spans: Spans
    tasks: TaskGroup
    metrics: Metrics
    platform: httpx.AsyncClient

    def tick(self, tenant: str = "acme", number: int = 0) -> None:
        self.supervisor.tick(self.tasks, tenant, fire_time(number))

    async def ended(self, tenant: str = "acme", number: int = 0) -> Run:
        """Wait for the end of a tenant's run, to the second, and return its record."""
        with anyio.fail_after(3600):
            while True:
                for run in await self.store.runs(tenant, 99):
                    if run.fire_time == fire_time(number) and run.outcome:
                        return run
                await anyio.sleep(1)

    async def ledger(self, client_id: str = "acme") -> dict[str, Any]:
        answer = await self.platform.get("/_ledger", params={"client_id": client_id})
        page: dict[str, Any] = answer.json()["clients"][client_id]
        return page

    async def treat(self, client_id: str, **treatment: object) -> None:
        """Let the platform treat a client id in another way."""
        await self.platform.post("/_settings", json={"clients": {client_id: treatment}})

    async def replay(self, letters: Sequence[DeadLetter], replayed: list[Replayed]) -> None:
        """Replay dead letters, and add what became of them to `replayed`."""
        replayed += await self.supervisor.replay_all(letters, Tally(), refuse=lambda _: None)

    def measured(self, metric: Metric) -> dict[str, float]:
        """Return what a metric says, by tenant."""
        return self.metrics.by_tenant(metric)


@asynccontextmanager
async def a_world(store: Store, *tenants: Tenant, **clients: Mapping[str, Any]) -> AsyncIterator[World]:
    """Begin a process with these tenants. `clients`: how the platform treats some, healthy where nothing is said."""
    names = {tenant.client_id for tenant in tenants} | clients.keys()
    document: dict[str, Any] = {
        "accounts": accounts(*names),
        "everyone": {**HEALTHY, "push_latency_s": 2, "campaigns": 20},
        "clients": {name.replace("_", "-"): dict(treatment) for name, treatment in clients.items()},
    }
    clock, spans, metrics = VirtualClock(), Spans(), Metrics()
    app = create_app(document, lambda: clock.now().timestamp())
    instruments = metrics.instruments
    supervisor = Supervisor(
        Services(
            connector=Connector(
                tls=TLS,
                clock=clock,
                random=Random(0),
                tracer=spans.tracer,
                instruments=instruments,
                traced=lambda inner: inner,
                open=lambda _tls, _limits: httpx.ASGITransport(app),
            ),
            credentials=Accounts(),
            governor=Governor(clock, store, "this process", await store.permits(), await store.shapes()),
            store=store,
            leases=Leases(store, ProcessOwner("this process")),
            clock=clock,
            tracer=spans.tracer,
            instruments=instruments,
        )
    )
    for tenant in tenants:
        supervisor.add(tenant)
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ads.invalid") as platform,
        anyio.create_task_group() as tasks,
    ):
        yield World(store, clock, instruments, supervisor, spans, tasks, metrics, platform)
        tasks.cancel_scope.cancel()
