"""The composition root: builds all parts, owns the exit stack and the task group, starts and stops.

settings ─► telemetry ─► store ─► Vault ─► supervisor ─► ticks ─► drop-ins          stop: in reverse order
"""

import resource
import sys
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIG_IGN, SIGHUP, SIGINT, SIGTERM, Signals, signal

import anyio
import httpx
import structlog
from pydantic import SecretStr

from adsyncd.alerts import Alertmanager, AlertWatch, Receiver, Webhook
from adsyncd.clock import Clock, SystemClock, entropy
from adsyncd.config import SecretRef, Settings, load_guarded_settings
from adsyncd.config.settings import AppRoleAuth, ReceiversTable, VaultTable
from adsyncd.control import app, server
from adsyncd.control.commands import Commands
from adsyncd.credentials import AppRole, CredentialsReader, Vault, VaultAccess, VaultToken, open_vault, resolve_secret
from adsyncd.errors import Stopping
from adsyncd.host.owner import open_owner
from adsyncd.host.sd_notify import open_notifier, status_line
from adsyncd.model.campaign import DeadLetter
from adsyncd.model.run import Run, Tally, whole_ms
from adsyncd.model.tenant import Tenant
from adsyncd.platforms import Connector
from adsyncd.rate import Governor
from adsyncd.runs.lease import Leases
from adsyncd.runs.replay import Replayed
from adsyncd.store import Store, open_store
from adsyncd.tasks import beside
from adsyncd.telemetry import open_telemetry
from adsyncd.telemetry.instruments import Instruments
from adsyncd.telemetry.log import configure
from adsyncd.tenants.file_watch import watch
from adsyncd.tenants.registry import Registry
from adsyncd.tenants.reload import Reloader
from adsyncd.tenants.supervisor import Supervisor
from adsyncd.tenants.ticks import Ticker
from adsyncd.tenants.worker import Services

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a daemon or of a single sync. A single sync sends no alerts: its `alerts` watch no tenant."""

    supervisor: Supervisor
    store: Store
    clock: Clock
    alerts: AlertWatch
    instruments: Instruments
    vault: Vault | None = None


@asynccontextmanager
async def open_parts(settings: Settings, environ: MutableMapping[str, str], log_level: str) -> AsyncIterator[Parts]:
    """Build all parts, and close them in reverse order.

    `environ` is `os.environ`; logs go to standard error. Raises ConfigError and StoreError.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        log = configure(log_level, sys.stderr, environ.get("JOURNAL_STREAM"))
        telemetry = await stack.enter_async_context(open_telemetry(environ))
        log.export(telemetry.logger_provider, telemetry.instruments)
        store = await stack.enter_async_context(open_store(settings.store.url, clock=clock, tracer=telemetry.tracer))
        owner = stack.enter_context(open_owner(clock.boot_id, entropy()))
        leases = Leases(store, owner)
        await stack.enter_async_context(beside(leases.run))
        vault = None
        if settings.vault:
            vault = await stack.enter_async_context(
                open_vault(_access(settings.vault, environ), clock, entropy(), telemetry.instruments)
            )
        tls = httpx.create_ssl_context()
        alerts = AlertWatch(
            _receivers(settings.alerts),
            store,
            connect=lambda: httpx.AsyncHTTPTransport(verify=tls, trust_env=False),
            clock=clock,
            random=entropy(),
            instruments=telemetry.instruments,
        )
        supervisor = Supervisor(
            Services(
                connector=Connector(
                    tls=tls,
                    environ=environ,
                    clock=clock,
                    random=entropy(),
                    tracer=telemetry.tracer,
                    instruments=telemetry.instruments,
                    traced=telemetry.traced,
                ),
                credentials=CredentialsReader(vault, environ, telemetry.tracer),
                governor=Governor(clock, store, owner.id, await store.permits(), await store.shapes()),
                store=store,
                leases=leases,
                clock=clock,
                tracer=telemetry.tracer,
                instruments=telemetry.instruments,
                watch=alerts,
            )
        )
        yield Parts(supervisor, store, clock, alerts, telemetry.instruments, vault)


async def serve(config: Path, environ: MutableMapping[str, str], log_level: str) -> None:
    """Run the daemon with the settings at `config` until SIGTERM or SIGINT; SIGHUP makes it read its files again.

    Requests in flight may finish within `shutdown_grace`; a second signal ends that wait. Tenants with invalid drop-ins
    are left out and logged. Raises ConfigError and StoreError before it is ready.
    """
    settings = load_guarded_settings(config, environ)
    _raise_file_limit()
    with (
        server.listening(settings.control.socket, settings.control.group) as listener,
        anyio.open_signal_receiver(SIGHUP) as hangups,
        anyio.open_signal_receiver(SIGTERM, SIGINT) as signals,
        open_notifier(environ) as notifier,
    ):
        async with open_parts(settings, environ, log_level) as parts:
            supervisor = parts.supervisor
            await parts.alerts.recall()
            ticker = Ticker(lambda tenant_id, fire_time: supervisor.tick(runs, tenant_id, fire_time))
            registry = Registry(supervisor, ticker, parts.alerts, parts.store, parts.clock)
            load, telling = partial(load_guarded_settings, config, environ), partial(notifier.reloading, parts.clock)
            reloader = Reloader(settings, load, registry, parts.clock, parts.instruments, telling)
            first = await reloader.reload()
            vault = beside(parts.vault.run) if parts.vault else nullcontext()
            async with beside(parts.alerts.run), vault, anyio.create_task_group() as runs:
                ticker.start()
                commands = Commands(supervisor, ticker, parts.store, reloader, parts.vault, runs, parts.clock)
                async with (
                    beside(server.serve, app.application(commands), listener),
                    beside(
                        notifier.keep,
                        lambda: _status_line(parts, tenants=len(registry.tenants), refused=len(reloader.refused)),
                        lambda: ticker.is_punctual(parts.clock.now()),
                    ),
                ):
                    await notifier.ready()
                    _log.info("ready", tenants=len(first.added), due=first.due)
                    async with (
                        beside(registry.catch_up, runs),
                        beside(reloader.obey, hangups),
                        beside(reloader.forget_gone),
                        beside(watch, reloader, config),
                        beside(ticker.keep_time, parts.clock),
                    ):
                        await anext(signals)
                    ticker.stop()
                    grace = reloader.settings.shutdown_grace
                    await notifier.stopping(grace)
                    _log.info("stopping", grace_s=grace.total_seconds())
                    with anyio.CancelScope() as draining:
                        async with beside(_cancel_at_next, signals, draining):
                            await supervisor.drain(grace)
                    commands.cut_short()
                    runs.cancel_scope.cancel()
            _log.info("stopped")  # while telemetry still exports
    for late in (SIGTERM, SIGINT, SIGHUP):
        signal(late, SIG_IGN)  # all is done; a late signal would make the exit look like a failure


async def sync_once(parts: Parts, tenant: Tenant, tally: Tally) -> Run:
    """Run one tenant now, without a daemon, counting in `tally`; an open run is resumed instead.

    After SIGTERM or SIGINT, requests in flight finish and the run stays open. Raises Stopping if a second signal ends
    that wait, LeaseHeld while another process works on the tenant, and StoreError.
    """
    parts.supervisor.add(tenant)
    with anyio.open_signal_receiver(SIGTERM, SIGINT) as signals, anyio.CancelScope() as patience:
        async with beside(_stop_at_next, signals, parts.supervisor, patience):
            return await parts.supervisor.worker(tenant.id).sync(whole_ms(parts.clock.now()), tally)
    raise Stopping("cut short: the run stays open, and the tenant's next run resumes it")


async def replay_once(
    parts: Parts, letters: Sequence[DeadLetter], tally: Tally, find: Callable[[str], Tenant]
) -> list[Replayed]:
    """Replay dead letters now, without a daemon, counting in `tally`, and return the outcome of each.

    `find` returns a tenant by its id; its error leaves that tenant's letters as they are. After SIGTERM or SIGINT,
    pushes in flight finish and the other letters are left. Raises Stopping if a second signal ends that wait.
    """

    def refuse(tenant_id: str) -> None:
        parts.supervisor.add(find(tenant_id))

    with anyio.open_signal_receiver(SIGTERM, SIGINT) as signals, anyio.CancelScope() as patience:
        async with beside(_stop_at_next, signals, parts.supervisor, patience):
            return await parts.supervisor.replay_all(letters, tally, refuse=refuse)
    raise Stopping("cut short: letters without a known outcome are still dead letters, and can be replayed")


async def _cancel_at_next(signals: AsyncIterator[Signals], scope: anyio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


async def _stop_at_next(signals: AsyncIterator[Signals], supervisor: Supervisor, scope: anyio.CancelScope) -> None:
    await anext(signals)
    supervisor.stop()
    await _cancel_at_next(signals, scope)


def _status_line(parts: Parts, tenants: int, refused: int) -> str:
    """Return the state of the daemon in one line, for `systemctl status`."""
    vault = parts.vault and parts.vault.status
    return status_line(
        tenants=tenants,
        runs=parts.supervisor.runs,
        refused=refused,
        vault=f"Vault: {vault.state}" if vault and vault.error else None,
    )


def _raise_file_limit() -> None:
    """Raise the limit of open files to its maximum: a thousand running tenants hold some thousands of sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _receivers(table: ReceiversTable) -> list[Receiver]:
    webhook = [Webhook(table.webhook)] if table.webhook else []
    alertmanager = [Alertmanager(table.alertmanager, table.repeat)] if table.alertmanager else []
    return [*webhook, *alertmanager]


def _access(table: VaultTable, environ: Mapping[str, str]) -> VaultAccess:
    def secret(ref: SecretRef) -> Callable[[], SecretStr]:
        return lambda: resolve_secret(ref.place(), environ)

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
