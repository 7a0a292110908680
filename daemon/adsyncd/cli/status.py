"""`adsyncd status`: the state of the daemon and its tenants."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer
from pydantic import TypeAdapter
from rich.console import Console, RenderableType
from rich.live import Live

from adsyncd.cli.arguments import CONFIG, Config, Json, Socket, asked_at
from adsyncd.cli.client import Client, path_of, reaching
from adsyncd.cli.output import WIDE, new_console, print_json, styled
from adsyncd.cli.status_view import daemon_view, tenant_view
from adsyncd.clock import SystemClock
from adsyncd.control.paging import MOST
from adsyncd.errors import DaemonBusy, NoDaemon
from adsyncd.model.status import DaemonStatus, TenantStatus

_REFRESH_S = 1.0

_DAEMON = TypeAdapter(DaemonStatus)
_TENANT = TypeAdapter(TenantStatus)
_TENANTS = TypeAdapter(list[TenantStatus])
_ALL = f"/v1/tenants?limit={MOST}"


def status(
    tenant: Annotated[str | None, typer.Argument(metavar="TENANT", help="Details of this tenant.")] = None,
    config: Config = CONFIG,
    at: Socket = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh each second, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Show each tenant's state, what it waits for and until when, and when its run will be done.

    The end of a run is estimated from its remaining requests and the quota alone. Times are local.

    Exits 0; 1 if there is no such tenant, 4 if there is no daemon, 5 if it does not answer in time.
    """
    socket = asked_at(config, at)
    console = new_console()
    if watch and (json or not console.is_terminal):
        raise typer.BadParameter("--watch needs a terminal: drop it, or drop --json and the redirection")
    if json:
        print_json(anyio.run(_values, socket, tenant))
    elif not watch:
        console.print(anyio.run(_look, socket, tenant, console), soft_wrap=not console.is_terminal)
    else:
        with suppress(KeyboardInterrupt):
            anyio.run(_watch, socket, tenant, console)


async def _values(socket: Path, tenant: str | None) -> Any:  # noqa: ANN401 - JSON
    async with reaching(socket) as daemon:
        if tenant is not None:
            return _TENANT.dump_python(await daemon.ask("GET", path_of(tenant), _TENANT), mode="json")
        return {
            "daemon": _DAEMON.dump_python(await daemon.ask("GET", "/v1/status", _DAEMON), mode="json"),
            "tenants": _TENANTS.dump_python(await daemon.ask_all(_ALL, _TENANTS), mode="json"),
        }


async def _look(socket: Path, tenant: str | None, console: Console) -> RenderableType:
    async with reaching(socket) as daemon:
        return await _view(daemon, tenant, console)


async def _watch(socket: Path, tenant: str | None, console: Console) -> None:
    async with reaching(socket) as daemon:
        with Live(await _view(daemon, tenant, console), console=console, auto_refresh=False, screen=True) as live:
            while True:
                await anyio.sleep(_REFRESH_S)
                try:
                    view = await _view(daemon, tenant, console)
                except (NoDaemon, DaemonBusy) as error:  # the daemon may be restarting
                    view = styled(str(error), "red")
                live.update(view, refresh=True)


async def _view(daemon: Client, tenant: str | None, console: Console) -> RenderableType:
    now = SystemClock().now()
    if tenant is not None:
        return tenant_view(await daemon.ask("GET", path_of(tenant), _TENANT), now)
    status = await daemon.ask("GET", "/v1/status", _DAEMON)
    tenants = await daemon.ask_all(_ALL, _TENANTS)
    return daemon_view(status, tenants, now, wide=console.width >= WIDE, cut=console.is_alt_screen)
