"""The composition root: builds every part, owns the exit stack and the task group, starts and stops.

settings ─► telemetry ─► store ─► Vault ─► supervisor ─► ticks          stop: the same, backwards
"""

import resource
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from signal import SIG_IGN, SIGINT, SIGTERM, Signals, signal
from typing import Any, TypeVarTuple

import anyio
import httpx
import structlog
from anyio.abc import TaskGroup
from pydantic import SecretStr

from adsyncd import logs
from adsyncd.alerts import Alertmanager, Receiver, Watch, Webhook
from adsyncd.campaign import DeadLetter
from adsyncd.clock import Clock, SystemClock, entropy
from adsyncd.config import SecretRef, Settings
from adsyncd.config.settings import AppRoleAuth, ReceiversTable, VaultTable
from adsyncd.credentials import (
    AppRole,
    CredentialsReader,
    InCredential,
    InFile,
    InVariable,
    Vault,
    VaultAccess,
    VaultToken,
    open_vault,
    resolve_secret,
)
from adsyncd.dropins import read_tenants
from adsyncd.errors import Problem, Stopping
from adsyncd.governor import Governor
from adsyncd.owner import open_owner
from adsyncd.platforms import Connector
from adsyncd.replay import Replayed
from adsyncd.run import Run, Tally, whole_ms
from adsyncd.schedule import missed, share, trigger
from adsyncd.sd_notify import open_notifier, status_line
from adsyncd.store import Store, open_store
from adsyncd.supervisor import Supervisor
from adsyncd.telemetry import open_telemetry
from adsyncd.tenant import Tenant
from adsyncd.ticks import Ticker

Arguments = TypeVarTuple("Arguments")

_log = structlog.stdlib.get_logger(__name__)

_CATCH_UP_GAP_S = 0.05  # between the first runs after a start, so that they don't sign in all at once


@dataclass(frozen=True, slots=True)
class Parts:
    """What a daemon and a single sync are both made of. A single sync has nobody watched over, and so no alerts."""

    supervisor: Supervisor
    store: Store
    clock: Clock
    alerts: Watch
    vault: Vault | None = None


@asynccontextmanager
async def open_parts(settings: Settings, environ: MutableMapping[str, str], log_level: str) -> AsyncIterator[Parts]:
    """Build all parts, and take them down in the opposite order.

    `environ` is `os.environ`; logs go to standard error. Raises ConfigError and StoreError.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        journal = environ.get("JOURNAL_STREAM")
        logs.configure(log_level, sys.stderr, journal_stream=journal)  # for what is said while telemetry opens
        telemetry = await stack.enter_async_context(open_telemetry(environ))
        logs.configure(log_level, sys.stderr, telemetry.logger_provider, journal)
        store = await stack.enter_async_context(open_store(settings.store.url, clock=clock, tracer=telemetry.tracer))
        owner = stack.enter_context(open_owner(clock.boot_id, entropy()))
        vault = None
        if settings.vault:
            vault = await stack.enter_async_context(
                open_vault(_access(settings.vault, environ), clock, entropy(), telemetry.instruments)
            )
        tls = httpx.create_ssl_context()
        alerts = Watch(
            _receivers(settings.alerts),
            store,
            connect=lambda: httpx.AsyncHTTPTransport(verify=tls, trust_env=False),
            clock=clock,
            random=entropy(),
            instruments=telemetry.instruments,
        )
        supervisor = Supervisor(
            connector=Connector(
                tls=tls,
                clock=clock,
                random=entropy(),
                tracer=telemetry.tracer,
                instruments=telemetry.instruments,
                traced=telemetry.traced,
            ),
            credentials=CredentialsReader(vault, environ, telemetry.tracer),
            governor=Governor(clock, store, owner.id, await store.permits(), await store.shapes()),
            store=store,
            clock=clock,
            tracer=telemetry.tracer,
            instruments=telemetry.instruments,
            watch=alerts,
        )
        yield Parts(supervisor, store, clock, alerts, vault)


async def serve(settings: Settings, environ: MutableMapping[str, str], log_level: str) -> None:
    """Run the daemon until SIGTERM or SIGINT. A second signal, or `shutdown_grace`, cuts its farewell short.

    Tenants whose drop-ins are wrong are left out and logged. Raises ConfigError and StoreError before it is ready.
    """
    _raise_file_limit()
    with anyio.open_signal_receiver(SIGTERM, SIGINT) as signals, open_notifier(environ) as notifier:
        async with open_parts(settings, environ, log_level) as parts:
            supervisor = parts.supervisor
            tenants, due, problems = await _load(settings, parts)
            await parts.alerts.recall()
            vault = beside(parts.vault.run) if parts.vault else nullcontext()
            async with beside(parts.alerts.run), vault, anyio.create_task_group() as runs:
                ticker = Ticker(lambda tenant_id, fire_time: supervisor.tick(runs, tenant_id, fire_time))
                for tenant in tenants:
                    parts.alerts.add(tenant)
                    ticker.add(tenant)
                ticker.start()
                async with beside(
                    notifier.keep,
                    lambda: status_line(tenants=len(tenants), runs=supervisor.runs, refused=len(problems)),
                    lambda: ticker.is_punctual(parts.clock.now()),
                ):
                    await notifier.ready()
                    _log.info("ready", tenants=len(tenants), due=len(due))
                    async with beside(catch_up, supervisor, runs, due):
                        await anext(signals)
                    ticker.stop()
                    await notifier.stopping(settings.shutdown_grace)
                    _log.info("stopping", grace_s=settings.shutdown_grace.total_seconds())
                    with anyio.CancelScope() as farewell:
                        async with beside(_cancel_at_next, signals, farewell):
                            await supervisor.drain(settings.shutdown_grace)
                    runs.cancel_scope.cancel()
            _log.info("stopped")  # while telemetry still takes it
    for late in (SIGTERM, SIGINT):
        signal(late, SIG_IGN)  # all is done, and the process would seem to have died of it


async def sync_once(parts: Parts, tenant: Tenant, tally: Tally) -> Run:
    """Run one tenant now, without a daemon, counting in `tally`; what a run before this one left open comes first.

    SIGTERM or SIGINT lets what is on its way come back; the run stays open then. Raises Stopping when a second one cuts
    that short, and StoreError.
    """
    parts.supervisor.add(tenant)
    with anyio.open_signal_receiver(SIGTERM, SIGINT) as signals, anyio.CancelScope() as patience:
        async with beside(_stop_at_next, signals, parts.supervisor, patience):
            return await parts.supervisor.sync(tenant.id, whole_ms(parts.clock.now()), tally)
    raise Stopping("cut short: the run stays open, and the tenant's next one goes on with it")


async def replay_once(
    parts: Parts, work: Iterable[tuple[Tenant, Sequence[DeadLetter]]], tally: Tally
) -> list[Replayed]:
    """Replay dead letters of tenants now, without a daemon, counting in `tally`, and return what became of each.

    SIGTERM or SIGINT lets what is on its way come back; the others are left. Raises Stopping when a second one cuts
    that short.
    """
    replayed: list[Replayed] = []

    async def replay(tenant: Tenant, letters: Sequence[DeadLetter]) -> None:
        replayed.extend(await parts.supervisor.replay(tenant.id, letters, tally))

    with anyio.open_signal_receiver(SIGTERM, SIGINT) as signals, anyio.CancelScope() as patience:
        async with beside(_stop_at_next, signals, parts.supervisor, patience), anyio.create_task_group() as tenants:
            for tenant, letters in work:
                parts.supervisor.add(tenant)
                tenants.start_soon(replay, tenant, letters)
        return replayed
    raise Stopping("cut short: what was not known to be pushed is still a dead letter, and can be replayed")


@asynccontextmanager
async def beside(
    task: Callable[[*Arguments], Coroutine[Any, Any, None]], *arguments: *Arguments
) -> AsyncIterator[None]:
    """Let a task run for as long as the block lasts. What the block raises leaves it as it is, in no group."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(task, *arguments)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised below, where no task group wraps it
            failure = error
        tasks.cancel_scope.cancel()
    if failure:
        raise failure


async def _load(
    settings: Settings, parts: Parts
) -> tuple[list[Tenant], list[tuple[Tenant, datetime]], Sequence[Problem]]:
    """Hand all good and enabled tenants to the supervisor.

    Returns them, those of them that are due, since when, and what is wrong with the others.
    """
    read = await anyio.to_thread.run_sync(read_tenants, settings)
    for problem in read.problems:
        _log.error("drop-in refused", problem=str(problem))
    tenants = [tenant for tenant in read.good.values() if tenant.enabled]
    return tenants, await take_charge(parts, tenants), read.problems


async def take_charge(parts: Parts, tenants: Iterable[Tenant]) -> list[tuple[Tenant, datetime]]:
    """Hand tenants to the supervisor, and return those that are due already, since when, in the order to begin in."""
    now = whole_ms(parts.clock.now())
    open_runs = {run.tenant: run.fire_time for run in await parts.store.open_runs()}
    last_fires = await parts.store.last_fire_times()
    letters = await parts.store.dead_letter_counts()
    due = []
    for tenant in tenants:
        parts.supervisor.add(tenant, letters.get(tenant.id, 0))
        since = open_runs.get(tenant.id) or missed(trigger(tenant.schedule, tenant.id), last_fires.get(tenant.id), now)
        if since is not None:
            due.append((tenant, since))
    return sorted(due, key=lambda pair: share(pair[0].id))


async def catch_up(supervisor: Supervisor, runs: TaskGroup, due: Iterable[tuple[Tenant, datetime]]) -> None:
    """Begin the runs that are due, one soon after the other."""
    for tenant, fire_time in due:
        supervisor.tick(runs, tenant.id, fire_time)
        await anyio.sleep(_CATCH_UP_GAP_S)


async def _cancel_at_next(signals: AsyncIterator[Signals], scope: anyio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


async def _stop_at_next(signals: AsyncIterator[Signals], supervisor: Supervisor, scope: anyio.CancelScope) -> None:
    await anext(signals)
    supervisor.stop()
    await _cancel_at_next(signals, scope)


def _raise_file_limit() -> None:
    """Allow as many open files as the system lets us: a thousand tenants at work hold some thousands of sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _receivers(table: ReceiversTable) -> list[Receiver]:
    webhook = [Webhook(table.webhook)] if table.webhook else []
    alertmanager = [Alertmanager(table.alertmanager, table.repeat)] if table.alertmanager else []
    return [*webhook, *alertmanager]


def _access(table: VaultTable, environ: Mapping[str, str]) -> VaultAccess:
    def secret(ref: SecretRef) -> Callable[[], SecretStr]:
        return lambda: resolve_secret(_place(ref), environ)

    auth = (
        AppRole(table.auth.role_id, secret(table.auth.secret_id), wrapped=table.auth.secret_id.wrapped)
        if isinstance(table.auth, AppRoleAuth)
        else VaultToken(secret(table.auth.token))
    )
    return VaultAccess(
        address=table.address,
        mount=table.mount,
        namespace=table.namespace,
        ca_file=table.ca_file,
        timeout=table.timeout,
        poll=table.poll,
        auth=auth,
    )


def _place(ref: SecretRef) -> InCredential | InVariable | InFile:
    if ref.credential is not None:
        return InCredential(ref.credential)
    if ref.env is not None:
        return InVariable(ref.env)
    assert ref.file is not None  # noqa: S101 - the settings hold one of the three
    return InFile(ref.file)
