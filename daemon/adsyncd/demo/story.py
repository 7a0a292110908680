"""The demo's story: the real daemon on real parts, against a platform that fails.

OpenBao ── credentials ──► daemon ── requests ──► mock platform     each on 127.0.0.1, and ended
                           │    │                       │           with the story, however that ends
                     database  traces, metrics          │
                           │    └─────► collector       │
                           └──────► evidence ◄──────────┘
"""

import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals

import anyio
from anyio.abc import Process
from opentelemetry.trace import NoOpTracer
from pydantic import SecretStr
from rich.console import Console

from adsyncd.clock import SystemClock
from adsyncd.demo.collector import Collector, open_collector
from adsyncd.demo.evidence import TenantEvidence, judge
from adsyncd.demo.folder import SECRET_ID_VARIABLE, Folder
from adsyncd.demo.openbao import openbao
from adsyncd.demo.platform import MockPlatform, mock_platform
from adsyncd.demo.process import running
from adsyncd.demo.progress import progress, progress_of
from adsyncd.demo.report import print_evidence, print_log, print_page, print_parts, print_places, print_trace
from adsyncd.demo.scene import Scene, secret_path
from adsyncd.errors import AdsyncdError
from adsyncd.model.run import Run
from adsyncd.store import Store, open_store
from adsyncd.tasks import beside
from adsyncd.telemetry.instruments import SPAN_RUN

_INTERRUPTED = 130  # a shell's exit code after Ctrl-C
_POLL_S = 0.2
_LONGEST_S = 150.0  # a run's own deadline is two minutes
_FAREWELL_S = 10.0
_ALL = 100  # more than the demo's runs


Forward = Callable[[Path], AbstractAsyncContextManager[str]]
"""Forwards an address, which it yields, to a Unix socket."""


async def play(scene: Scene, console: Console, command: str, forward: Forward, *, stay: bool = False) -> int:
    """Play the scene, show it on `console`, and return the exit code: 0, or 130 when a signal stopped it.

    `command` is what the user calls adsyncd by. `forward` serves the daemon's page. With `stay`, the daemon and its
    page last until a signal comes. SIGINT, SIGTERM and SIGHUP end everything in order. Raises AdsyncdError when a part
    can't be started or ends by itself, and when anything is not as `judge` wants it.
    """
    judged = anyio.Event()
    with anyio.open_signal_receiver(SIGINT, SIGTERM, SIGHUP) as signals, anyio.CancelScope() as stage:
        async with beside(_cancel_at_first, signals, stage, console):
            await _play(scene, console, command, judged, forward, stay=stay)
            return 0
    return 0 if judged.is_set() else _INTERRUPTED


async def _cancel_at_first(signals: AsyncIterator[Signals], scope: anyio.CancelScope, console: Console) -> None:
    await anext(signals)
    scope.cancel()
    console.print("stopping")


async def _play(
    scene: Scene, console: Console, command: str, judged: anyio.Event, forward: Forward, *, stay: bool
) -> None:
    console.print("Starting OpenBao, a mock platform and a collector on 127.0.0.1")
    credentials = scene.credentials(secrets.token_urlsafe)
    settings = scene.platform(credentials)
    async with (
        openbao() as vault,
        mock_platform(settings) as platform,
        open_collector() as collector,
        AsyncExitStack() as stack,
    ):
        for tenant, content in credentials.items():
            await vault.put_secret(secret_path(tenant), content)
        role = await vault.put_role("adsyncd", secret_path("*"))
        folder = Folder()
        folder.write(scene, vault=vault.address, role_id=role.role_id, platform=platform.base_url)
        page = await stack.enter_async_context(forward(folder.socket))
        print_parts(
            console,
            scene,
            folder,
            vault=vault.address,
            platform=platform.base_url,
            collector=collector.endpoint,
            page=page,
        )
        try:
            runs = await _run_daemon(scene, console, folder, role.secret_id, collector)
            evidence = await _gather(scene, runs, folder, platform, collector)
            print_trace(console, runs[0], collector.spans)
            print_evidence(console, scene, evidence)
            print_places(console, folder, command)
            judge(evidence, scene.campaigns)
            judged.set()
            if stay:
                await _stay(console, folder, role.secret_id, collector, page)
        except AdsyncdError:
            print_log(console, folder)
            raise


async def _run_daemon(
    scene: Scene, console: Console, folder: Folder, secret_id: SecretStr, collector: Collector
) -> list[Run]:
    """Run the daemon until each tenant's run has ended, and return these runs."""
    async with (
        open_store(folder.store_url, clock=SystemClock(), tracer=NoOpTracer()) as store,
        running(_run(folder), folder.log, _environ(secret_id, collector), _FAREWELL_S) as daemon,
    ):
        runs = await _watch(scene, console, store, collector, daemon)
    if daemon.returncode:
        raise AdsyncdError(f"the daemon was asked to stop and ended with {daemon.returncode}")
    return runs


async def _stay(console: Console, folder: Folder, secret_id: SecretStr, collector: Collector, page: str) -> None:
    """Run the daemon again until it ends or this is cancelled."""
    log = folder.path / "page.log"
    async with running(_run(folder), log, _environ(secret_id, collector), _FAREWELL_S) as daemon:
        while daemon.returncode is None and not folder.socket.exists():  # noqa: ASYNC110 - another process makes it
            await anyio.sleep(_POLL_S)
        print_page(console, page)
        raise AdsyncdError(f"the daemon ended by itself, with {await daemon.wait()}: see {log}")


def _run(folder: Folder) -> list[str]:
    return [sys.executable, "-m", "adsyncd", "run", "--config", str(folder.config)]


def _environ(secret_id: SecretStr, collector: Collector) -> dict[str, str]:
    """Return this process's environment for the daemon, without variables that would override its files."""
    others = ("ADSYNCD_", "OTEL_", "VAULT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)} | {
        SECRET_ID_VARIABLE: secret_id.get_secret_value(),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "500",  # the progress is shown from them
        "no_proxy": "127.0.0.1",
    }


async def _watch(scene: Scene, console: Console, store: Store, collector: Collector, daemon: Process) -> list[Run]:
    """Show the progress until each tenant's first run has ended, and return these runs."""
    start = anyio.current_time()
    with progress(console, scene.everybody, scene.campaigns) as show:
        while True:
            newest_first = await store.runs(None, _ALL)
            runs = {run.tenant: run for run in newest_first}  # the first run of each tenant
            elapsed_s = anyio.current_time() - start
            show(progress_of(scene.everybody, runs, collector.points), elapsed_s)
            if len(runs) == len(scene.everybody) and all(run.outcome for run in runs.values()):
                return [runs[tenant] for tenant in scene.everybody]
            if daemon.returncode is not None:
                raise AdsyncdError(f"the daemon ended by itself, with {daemon.returncode}")
            if elapsed_s > _LONGEST_S:
                raise AdsyncdError(f"the runs did not end within {_LONGEST_S:.0f} s")
            await anyio.sleep(_POLL_S)


async def _gather(
    scene: Scene, runs: list[Run], folder: Folder, platform: MockPlatform, collector: Collector
) -> list[TenantEvidence]:
    stored = folder.stored(scene.pulling)
    traced = {span.trace_id for span in collector.spans if span.name == SPAN_RUN}
    return [
        TenantEvidence(
            run,
            stored.get(run.tenant, 0),
            await platform.ledger(run.tenant),
            traced=run.trace_id in traced,
            pulls=run.tenant in scene.pulling,
        )
        for run in runs
    ]
