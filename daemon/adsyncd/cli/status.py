"""`adsyncd status`: the state of the daemon and its tenants."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import anyio
import typer
from pydantic import TypeAdapter
from rich.console import Console, RenderableType

from adsyncd.cli.arguments import CONFIG, Config, Json, Socket, asked_at
from adsyncd.cli.client import Client, Page, path_of, reaching
from adsyncd.cli.output import new_console, print_json
from adsyncd.cli.selection import refuse_none, selecting
from adsyncd.cli.status_view import tenant_view
from adsyncd.cli.tenants_view import Seen, tenants_view
from adsyncd.clock import SystemClock
from adsyncd.control.overview import Cause
from adsyncd.control.paging import MOST
from adsyncd.model.selection import EVERYTHING, Selection
from adsyncd.model.status import DaemonStatus, TenantStatus

_WITHOUT_TERMINAL = 100  # tenants that are shown
_LEAST = 3

_DAEMON = TypeAdapter(DaemonStatus)
_TENANT = TypeAdapter(TenantStatus)
_TENANTS = TypeAdapter(list[TenantStatus])
_CAUSES = TypeAdapter(list[Cause])


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What to show: a tenant, or at most so many of the selected ones, or `every` one."""

    tenant: str | None
    selection: Selection
    most: int | None
    every: bool


@selecting
def status(
    tenant: Annotated[str | None, typer.Argument(metavar="TENANT", help="Details of this tenant.")] = None,
    config: Config = CONFIG,
    at: Socket = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh each second, until q or Ctrl-C.")] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, help="How many tenants at most: as many as fit.", show_default=False),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show all tenants and causes.")] = False,
    after: Annotated[
        str | None, typer.Option("--after", metavar="NEXT", help="With --json: the page after this `next`.")
    ] = None,
    json: Json = False,
    selection: Selection = EVERYTHING,
) -> None:
    """Show how many tenants fail, what is wrong and its fix by cause, and the worst tenants, as many as fit.

    Of a TENANT: its state, what it waits for and until when, and when its run will be done. That is estimated from its
    remaining requests and the quota alone. Times are local, with their offset from UTC.

    --json prints `daemon`, `tenants` sorted by id, at most 1000 without --limit, and `next` for --after, null at the
    end. Without a terminal 100 tenants are shown.

    --watch takes keys: the arrows, PgUp, PgDn, Home and End scroll the 1000 worst tenants. After / the tenants whose id
    or client id contains a text are shown; Enter ends the text, and an empty one shows all. f, l, w and p show only
    failing, late, waiting or paused tenants, and all again. q quits.

    Exits 0; 1 if there is no such tenant, or none has the platform or the pattern; 4 if there is no daemon, 5 if it
    does not answer in time.
    """
    if tenant is not None and (every or limit or after or not selection.everything):
        raise typer.BadParameter("name a TENANT, or select tenants by options")
    if every and limit:
        raise typer.BadParameter("write --all or --limit, not both")
    if after is not None and not json:
        raise typer.BadParameter("--after is for --json: as text, see --limit and --all")
    if json and limit and limit > MOST:
        raise typer.BadParameter(
            f"--json has pages of at most {MOST}: give the `next` of each to --after, or write --all"
        )
    console = new_console()
    if watch and (json or not console.is_terminal):
        raise typer.BadParameter("--watch needs a terminal: drop it, or drop --json and the redirection")
    socket = asked_at(config, at)
    wanted = _Wanted(tenant, selection, None if every else limit, every=every)
    if json:
        print_json(anyio.run(_values, socket, wanted, after))
    elif not watch:
        console.print(anyio.run(_look, socket, wanted, console), soft_wrap=not console.is_terminal)
    else:
        with suppress(KeyboardInterrupt):
            anyio.run(_watch, socket, wanted, console)


async def _values(socket: Path, wanted: _Wanted, after: str | None) -> Any:  # noqa: ANN401 - JSON
    async with reaching(socket) as daemon:
        if wanted.tenant is not None:
            return _TENANT.dump_python(await daemon.ask("GET", path_of(wanted.tenant), _TENANT), mode="json")
        most = wanted.most or (None if wanted.every else MOST)
        more = {} if after is None else {"after": after}
        page = await _tenants(daemon, wanted.selection, most, more)
        return {
            "daemon": _DAEMON.dump_python(await daemon.ask("GET", "/v1/status", _DAEMON), mode="json"),
            "tenants": _TENANTS.dump_python(page.answer, mode="json"),
            "next": next(iter(parse_qs(urlsplit(page.next).query).get("after", [])), None),
        }


async def _look(socket: Path, wanted: _Wanted, console: Console) -> RenderableType:
    async with reaching(socket) as daemon:
        return await _view(daemon, wanted, console)


async def _watch(socket: Path, wanted: _Wanted, console: Console) -> None:
    from adsyncd.cli.watch import Watch, keyboard_of_process  # noqa: PLC0415 - only a watch needs it
    from adsyncd.cli.watch_state import WatchState  # noqa: PLC0415

    async with reaching(socket) as daemon:

        async def look(selection: Selection, most: int) -> Seen | TenantStatus:
            if wanted.tenant is not None:
                return await daemon.ask("GET", path_of(wanted.tenant), _TENANT)
            return await _seen(daemon, selection, most)

        watch = Watch(console, look, WatchState(wanted.selection), wanted.most or MOST)
        await watch.show(keyboard_of_process())


async def _view(daemon: Client, wanted: _Wanted, console: Console) -> RenderableType:
    if wanted.tenant is not None:
        return tenant_view(await daemon.ask("GET", path_of(wanted.tenant), _TENANT), SystemClock().now())
    fits = console.is_terminal and not wanted.every and wanted.most is None
    most = max(console.height, _LEAST) if fits else wanted.most or (None if wanted.every else _WITHOUT_TERMINAL)
    return tenants_view(await _seen(daemon, wanted.selection, most), console, fits=fits)


async def _seen(daemon: Client, selection: Selection, most: int | None) -> Seen:
    now = SystemClock().now()
    status = await daemon.ask("GET", "/v1/status", _DAEMON)
    causes = await daemon.ask("GET", f"/v1/causes?{urlencode([*selection.query()])}", _CAUSES)
    page = await _tenants(daemon, selection, most, {"sort": "worst"})
    return Seen(status, causes, page.answer, max(page.total or 0, len(page.answer)), selection, now)


async def _tenants(
    daemon: Client, selection: Selection, most: int | None, more: Mapping[str, str]
) -> Page[list[TenantStatus]]:
    """Return at most so many of the selected tenants, or all. Raises AdsyncdError if none can be selected."""
    query = [*selection.query(), *more.items(), ("limit", str(min(most or MOST, MOST)))]
    page = await daemon.ask_some(f"/v1/tenants?{urlencode(query)}", _TENANTS, most)
    if not page.answer and "after" not in more:
        await refuse_none(daemon, selection)
    return replace(page, answer=page.answer[:most])
