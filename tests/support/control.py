"""What the control socket serves, in this process: a real supervisor and store, and a platform that is always well."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import anyio
import httpx
from anyio.abc import TaskGroup
from opentelemetry.trace import NoOpTracer
from pydantic import TypeAdapter
from starlette.types import ASGIApp

from adsyncd.cli.client import reaching
from adsyncd.clock import SystemClock
from adsyncd.control import wire
from adsyncd.control.access import Access
from adsyncd.control.app import application
from adsyncd.control.attention import Overview
from adsyncd.control.commands import Commands
from adsyncd.control.page.site import Site
from adsyncd.control.server import listening, serve
from adsyncd.credentials import Credentials
from adsyncd.errors import Problem
from adsyncd.host.owner import ProcessOwner
from adsyncd.model.alert import Alert
from adsyncd.model.status import RefusedFile, Reloaded, ReloadPreview
from adsyncd.model.tenant import CredentialsRef, EnvRef, Every, Tenant
from adsyncd.platforms import Connector
from adsyncd.rate import Governor
from adsyncd.rate.quota import Quota
from adsyncd.runs.lease import Leases
from adsyncd.store import Store, open_store
from adsyncd.tasks import beside
from adsyncd.tenants.services import Services
from adsyncd.tenants.supervisor import Supervisor
from adsyncd.tenants.ticks import Ticker
from mock_api.app import create_app
from support.accounts import an_account
from support.metrics import Metrics
from support.migrated import sqlite_file
from support.platform import HEALTHY, accounts
from support.tenants import a_tenant

_TLS = ssl.create_default_context()
RARELY = Every(timedelta(days=300))
WRONG = Problem(Path("/etc/adsyncd/tenants.d/globex.toml"), 3, "quota", "is no table", "write quota = { ... }")
SCARCE = Quota(5, timedelta(hours=1))
HEALTH = TypeAdapter(wire.Health)
UNCHANGED = Reloaded((), (), (), ("acme",), (), 0, 0.01)


class Accounts:
    """Every tenant's credentials: those of its client id."""

    async def read(self, ref: CredentialsRef) -> Credentials:
        assert isinstance(ref, EnvRef)
        return an_account(f"{ref.prefix}@example.com", f"pw-{ref.prefix}")

    def newest(self, ref: CredentialsRef, until: float) -> int | None:  # noqa: ARG002 - the protocol's
        return None


@dataclass(slots=True)
class FakeFiles:
    """Drop-ins of which a test says what a reload comes to."""

    refused: Sequence[RefusedFile] = ()
    disabled: Sequence[Tenant] = ()
    report: Reloaded = UNCHANGED

    async def reload(self) -> Reloaded:
        return self.report

    async def preview(self) -> ReloadPreview:
        return ReloadPreview((), (), {}, 0, (), (), ())


@dataclass(slots=True)
class FakeAlerts:
    """Alerts of which a test says which fire."""

    firing: list[Alert] = field(default_factory=list)


@dataclass(slots=True)
class Inside:
    """The inside of a daemon. `platform` are the mock platform's own endpoints."""

    app: ASGIApp
    commands: Commands
    overview: Overview
    supervisor: Supervisor
    store: Store
    runs: TaskGroup
    platform: httpx.AsyncClient
    files: FakeFiles = field(default_factory=FakeFiles)
    alerts: FakeAlerts = field(default_factory=FakeAlerts)

    async def idle(self) -> None:
        """Return once no run goes on."""
        with anyio.fail_after(20):
            while self.supervisor.runs:  # noqa: ASYNC110 - as an operator would
                await anyio.sleep(0.01)

    async def treat(self, **treatment: object) -> None:
        """Have the platform treat everyone so."""
        (await self.platform.post("/_settings", json={"everyone": treatment})).raise_for_status()


def tenant(name: str, **changes: Any) -> Tenant:  # noqa: ANN401 - a tenant's fields
    ample = Quota(1000, timedelta(seconds=60))
    return a_tenant(
        **{"id": name, "client_id": name, "credentials": EnvRef(name), "quota": ample, "schedule": RARELY, **changes}
    )


@asynccontextmanager
async def an_inside(folder: Path, *tenants: Tenant) -> AsyncIterator[Inside]:
    """Begin a daemon's inside with these tenants, none of which is due, and a database in `folder`."""
    clock, tracer = SystemClock(), NoOpTracer()
    platform = create_app(
        {
            "accounts": accounts(*(one.client_id for one in tenants)),
            "everyone": {**HEALTHY, "campaigns": 12, "push_hang": 0},
        },
        lambda: clock.now().timestamp(),
    )
    instruments = Metrics().instruments
    async with (
        open_store(sqlite_file(folder), clock=clock, tracer=tracer) as store,
        httpx.AsyncClient(transport=httpx.ASGITransport(platform), base_url="http://ads.invalid") as admin,
        anyio.create_task_group() as runs,
    ):
        supervisor = Supervisor(
            Services(
                connector=Connector(
                    tls=_TLS,
                    clock=clock,
                    random=Random(0),
                    tracer=tracer,
                    instruments=instruments,
                    traced=lambda inner: inner,
                    open=lambda _tls, _limits: httpx.ASGITransport(platform),
                ),
                credentials=Accounts(),
                governor=Governor(clock, store, "test", await store.permits(), await store.shapes()),
                store=store,
                leases=Leases(store, ProcessOwner("this process")),
                clock=clock,
                tracer=tracer,
                instruments=instruments,
            )
        )
        ticker = Ticker(lambda tenant_id, fire_time: supervisor.tick(runs, tenant_id, fire_time))
        for one in tenants:
            supervisor.add(one)
            ticker.add(one)
        ticker.start()
        files = FakeFiles()
        commands = Commands(supervisor, ticker, store, files, None, runs, clock)
        alerts = FakeAlerts()
        overview = Overview(supervisor, commands, store, alerts, clock)
        site = Site(commands, overview, store, clock, "a-host", tenants=lambda: supervisor.tenants)
        app = Access(application(commands, overview, site))
        yield Inside(app, commands, overview, supervisor, store, runs, admin, files, alerts)
        ticker.stop()
        runs.cancel_scope.cancel()


async def ask(api: httpx.AsyncClient, path: str) -> Any:  # noqa: ANN401 - JSON
    answer = await api.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def tell(api: httpx.AsyncClient, path: str, order: object = None) -> httpx.Response:
    return await api.post(path, json=order) if order else await api.post(path)


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem that an answer is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    return problem


@asynccontextmanager
async def served(app: ASGIApp, place: Path, group: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Serve at `place`, and yield a client that is connected to it."""
    transport = httpx.AsyncHTTPTransport(uds=str(place))
    with listening(place, group) as listener:
        async with (
            beside(serve, app, listener),
            httpx.AsyncClient(transport=transport, base_url="http://adsyncd") as client,
        ):
            yield client


async def health(place: Path, within_s: float = 10.0) -> wire.Health:
    async with reaching(place) as daemon:
        return await daemon.ask("GET", "/v1/health", HEALTH, within_s=within_s)
