"""The daemon: all parts, the control API, ticks and reloads, from its start to its stop."""

import resource
from collections.abc import MutableMapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from signal import SIG_IGN, SIGHUP, SIGINT, SIGTERM, signal
from socket import gethostname, socket

import anyio
import structlog

from adsyncd.config import Settings, load_guarded_settings
from adsyncd.control import app, server
from adsyncd.control.access import Access
from adsyncd.control.attention import Overview
from adsyncd.control.commands import Commands
from adsyncd.control.page.site import Site
from adsyncd.daemon.hourly import look_hourly
from adsyncd.daemon.once import cancel_at_next
from adsyncd.daemon.parts import Parts, open_parts
from adsyncd.daemon.process_metrics import process_metrics
from adsyncd.host.loop_lag import LoopLag
from adsyncd.host.sd_notify import open_notifier, status_line
from adsyncd.tasks import beside, side_by_side
from adsyncd.tenants.elsewhere import Elsewhere
from adsyncd.tenants.file_watch import watch
from adsyncd.tenants.gauges import keep_letters
from adsyncd.tenants.registry import Registry
from adsyncd.tenants.reload import Reloader
from adsyncd.tenants.ticks import Ticker

_log = structlog.stdlib.get_logger(__name__)


async def serve(config: Path, environ: MutableMapping[str, str], log_level: str) -> None:
    """Run the daemon with the settings at `config` until SIGTERM or SIGINT; SIGHUP makes it read its files again.

    Requests in flight may finish within `shutdown_grace`; a second signal ends that wait. Tenants with invalid drop-ins
    are left out and logged. Raises ConfigError and StoreError before it is ready.
    """
    settings = load_guarded_settings(config, environ)
    _raise_file_limit()
    with (
        server.listening(settings.control.socket, settings.control.group) as control_listener,
        _listening_for_readers(settings) as page_listener,
        anyio.open_signal_receiver(SIGHUP) as hangups,
        anyio.open_signal_receiver(SIGTERM, SIGINT) as signals,
        open_notifier(environ) as notifier,
    ):
        async with open_parts(settings, environ, log_level, scraped=True) as parts:
            supervisor = parts.supervisor
            await parts.alerts.recall()
            ticker = Ticker(lambda tenant_id, fire_time: supervisor.tick(runs, tenant_id, fire_time))
            registry = Registry(supervisor, ticker, parts.alerts, parts.store, parts.clock)
            load, telling = partial(load_guarded_settings, config, environ), partial(notifier.reloading, parts.clock)
            reloader = Reloader(settings, load, registry, parts.clock, parts.instruments, telling)
            elsewhere = Elsewhere(
                parts.store, parts.leases, lambda: supervisor.workers, parts.alerts, parts.instruments
            )
            await elsewhere.begin()
            lag = LoopLag(parts.clock)
            parts.instruments.observe(process_metrics(parts.clock, lag))
            first = await reloader.reload()
            vault = beside(parts.vault.run) if parts.vault else nullcontext()
            async with beside(parts.alerts.run), vault, anyio.create_task_group() as runs:
                ticker.start()
                commands = Commands(
                    supervisor, ticker, parts.store, reloader, parts.vault, runs, parts.clock, parts.exports
                )
                overview = Overview(supervisor, commands, parts.store, parts.alerts, parts.clock)
                application = app.application(commands, overview, _site(commands, overview, parts, reloader))
                controlled = Access(application, lambda: reloader.settings.page.hosts)
                read = Access(application, lambda: reloader.settings.page.hosts, reads_only=True)
                async with (
                    beside(server.serve, controlled, control_listener),
                    beside(server.serve, read, page_listener) if page_listener else nullcontext(),
                    beside(
                        notifier.keep,
                        lambda: _status_line(parts, tenants=len(registry.tenants), refused=len(reloader.refused)),
                        lambda: ticker.is_punctual(parts.clock.now()),
                    ),
                ):
                    await notifier.ready()
                    _log.info("ready", tenants=len(first.added), due=first.due)
                    async with beside(
                        side_by_side,
                        overview.run,
                        partial(registry.catch_up, runs),
                        elsewhere.run,
                        partial(look_hourly, overview.current_causes, parts.run_log),
                        partial(reloader.obey, hangups),
                        reloader.forget_gone,
                        partial(watch, reloader, config),
                        partial(ticker.keep_time, parts.clock),
                        lag.run,
                        partial(keep_letters, parts.store, parts.instruments, lambda: supervisor.tenants),
                    ):
                        await anext(signals)
                    ticker.stop()
                    grace = reloader.settings.shutdown_grace
                    await notifier.stopping(grace)
                    _log.info("stopping", grace_s=grace.total_seconds())
                    with anyio.CancelScope() as draining:
                        async with beside(cancel_at_next, signals, draining):
                            await supervisor.drain(grace)
                    commands.cut_short()
                    runs.cancel_scope.cancel()
            _log.info("stopped")  # while telemetry still exports
    for late in (SIGTERM, SIGINT, SIGHUP):
        signal(late, SIG_IGN)  # all is done; a late signal would make the exit look like a failure


def _site(commands: Commands, overview: Overview, parts: Parts, reloader: Reloader) -> Site:
    return Site(
        commands,
        overview,
        parts.store,
        parts.clock,
        gethostname(),
        tenants=lambda: parts.supervisor.tenants,
        folders=lambda: reloader.settings.tenants_dirs,
        alerts=lambda: parts.alerts.firing,
        trace_url=lambda: reloader.settings.page.trace_url,
    )


def _listening_for_readers(settings: Settings) -> AbstractContextManager[socket | None]:
    page = settings.page
    return nullcontext() if page.socket is None else server.listening(page.socket, page.group, "page")


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
