"""The parts that the daemon and a single sync have in common, built and closed."""

import sys
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from adsyncd.alerts import Alertmanager, AlertWatch, Receiver, Webhook
from adsyncd.clock import Clock, SystemClock, entropy
from adsyncd.config import Settings
from adsyncd.config.settings import ReceiversTable
from adsyncd.credentials import CredentialsReader
from adsyncd.host.garbage import seldom_collecting
from adsyncd.host.owner import open_owner
from adsyncd.model.status import Export
from adsyncd.platforms import Connector
from adsyncd.rate import Governor
from adsyncd.runs.lease import Leases
from adsyncd.store import Store, health, open_store
from adsyncd.store.upkeep import Upkeep
from adsyncd.tasks import beside
from adsyncd.telemetry import open_telemetry
from adsyncd.telemetry.instruments import Instruments
from adsyncd.telemetry.log import configure
from adsyncd.tenants.run_log import RunLog
from adsyncd.tenants.services import Services
from adsyncd.tenants.supervisor import Supervisor

if TYPE_CHECKING:
    from adsyncd.credentials.vault import Vault


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a daemon or of a single sync. A single sync sends no alerts: its `alerts` watch no tenant.

    `exports`: see `adsyncd.telemetry.providers.Telemetry`.
    """

    supervisor: Supervisor
    store: Store
    clock: Clock
    alerts: AlertWatch
    leases: Leases
    instruments: Instruments
    run_log: RunLog
    vault: "Vault | None" = None
    exports: Callable[[], Mapping[str, Export]] = dict


@asynccontextmanager
async def open_parts(
    settings: Settings, environ: MutableMapping[str, str], log_level: str, *, scraped: bool = False
) -> AsyncIterator[Parts]:
    """Build all parts, and close them in reverse order.

    `environ` is `os.environ`; logs go to standard error. `scraped`: Prometheus may read the metrics of this process.
    Raises ConfigError and StoreError.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        log = configure(log_level, sys.stderr, environ.get("JOURNAL_STREAM"))
        telemetry = await stack.enter_async_context(open_telemetry(environ, scraped=scraped))
        log.export(telemetry.logger_provider, telemetry.instruments)
        store = await stack.enter_async_context(
            open_store(settings.store.url, clock=clock, tracer=telemetry.tracer, durations=telemetry.write_durations)
        )
        owner = stack.enter_context(open_owner(clock.boot_id, entropy()))
        upkeep = Upkeep(store, clock, settings.store.keep_runs, settings.store.keep_history)
        await stack.enter_async_context(beside(upkeep.run))
        await stack.enter_async_context(beside(health.keep, store))
        leases = Leases(store, owner)
        await stack.enter_async_context(beside(leases.run))
        vault = None
        if settings.vault:
            from adsyncd.daemon.vault_access import opened  # noqa: PLC0415 - Vault's client is slow to import

            vault = await stack.enter_async_context(opened(settings.vault, environ, clock, telemetry.instruments))
        tls = httpx.create_ssl_context()
        alerts = AlertWatch(
            _receivers(settings.alerts),
            store,
            connect=lambda: httpx.AsyncHTTPTransport(verify=tls, trust_env=False),
            clock=clock,
            random=entropy(),
            instruments=telemetry.instruments,
        )
        governor = Governor(clock, store, owner.id, await store.permits(), await store.shapes())
        stack.callback(governor.stop)
        run_log = RunLog()
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
                governor=governor,
                store=store,
                leases=leases,
                clock=clock,
                tracer=telemetry.tracer,
                instruments=telemetry.instruments,
                watch=alerts,
                run_log=run_log,
            )
        )
        stack.enter_context(seldom_collecting())
        yield Parts(supervisor, store, clock, alerts, leases, telemetry.instruments, run_log, vault, telemetry.exports)


def _receivers(table: ReceiversTable) -> list[Receiver]:
    webhook = [Webhook(table.webhook)] if table.webhook else []
    alertmanager = [Alertmanager(table.alertmanager, table.repeat)] if table.alertmanager else []
    return [*webhook, *alertmanager]
