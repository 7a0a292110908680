"""`adsyncd trigger`, `cancel`, `pause`, `resume` and `reload`: commands to the daemon."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import anyio
import typer
from pydantic import TypeAdapter

from adsyncd.cli.arguments import CONFIG, Config, Json, Socket, asked_at
from adsyncd.cli.bulk import DryRun, Every, Order, TheTenants, exit_code, in_lines, order_of
from adsyncd.cli.client import ANSWERS_WITHIN_S, Refused, path_of, reaching
from adsyncd.cli.output import print_json, print_line
from adsyncd.cli.reload_view import preview_lines, reload_lines
from adsyncd.cli.selection import selecting
from adsyncd.cli.status_view import sentence
from adsyncd.clock import SystemClock
from adsyncd.control import wire
from adsyncd.control.orders import TenantOutcome
from adsyncd.control.problem import FilesRefusedProblem
from adsyncd.model.selection import EVERYTHING, Selection
from adsyncd.model.status import RefusedFile, Reloaded, ReloadPreview, TenantStatus

T = TypeVar("T")
_RELOADED_WITHIN_S = 300.0
_MANY_WITHIN_S = 120.0  # 10,000 tenants take seconds

_CANCELLED = TypeAdapter(wire.Cancelled)
_TRIGGERED = TypeAdapter(wire.Triggered)
_TENANT = TypeAdapter(TenantStatus)
_RELOADED = TypeAdapter(Reloaded)
_PREVIEW = TypeAdapter(ReloadPreview)
_RELOAD = "/v1/reload"
_OUTCOMES = TypeAdapter(list[TenantOutcome])


@selecting
def trigger(
    tenant: TheTenants = None,
    every: Every = False,
    dry_run: DryRun = False,
    config: Config = CONFIG,
    socket: Socket = None,
    json: Json = False,
    selection: Selection = EVERYTHING,
) -> None:
    """Have the daemon run tenants now, besides their schedules: named ones, selected ones, or --all.

    An interrupted run is resumed. The daemon refuses while a run of the tenant is in progress, and while the tenant is
    paused. `adsyncd status TENANT --watch` shows the progress.

    Exits 0 once the runs start, 1 if it is refused for all tenants, 3 for some, 4 if there is no daemon, 5 if it does
    not answer in time.
    """
    order = order_of(tenant, selection, every=every, dry_run=dry_run)
    if not isinstance(order, str):
        _print_outcomes("trigger", asked_at(config, socket), order, json=json)
    triggered = _tell(asked_at(config, socket), _of(order, "trigger"), _TRIGGERED)
    if json:
        print_json(_TRIGGERED.dump_python(triggered, mode="json"))
    else:
        print_line(f"a run of {order} starts; see adsyncd status {order} --watch")


@selecting
def cancel(
    tenant: TheTenants = None,
    every: Every = False,
    resumable: Annotated[
        bool, typer.Option("--resumable", help="Leave the run open, so that the tenant's next run resumes it.")
    ] = False,
    dry_run: DryRun = False,
    config: Config = CONFIG,
    socket: Socket = None,
    json: Json = False,
    selection: Selection = EVERYTHING,
) -> None:
    """End the runs in progress of tenants: named ones, selected ones, or --all.

    Requests in flight finish, and their outcomes are recorded; nothing more is sent. The run ends as abandoned, with
    the note that an operator cancelled it, and no alert counts it as a failure. A run that has not begun leaves nothing
    on record. Replays go on. Of one named tenant, the daemon refuses while no run is in progress; of several, that
    changes nothing.

    Exits 0 once the runs end, 1 if it is refused for all tenants, 3 for some, 4 if there is no daemon, 5 if it does not
    answer in time.
    """
    order = order_of(tenant, selection, every=every, dry_run=dry_run)
    if not isinstance(order, str):
        _print_outcomes("cancel", asked_at(config, socket), {**order, "resumable": resumable}, json=json)
    cancelled = _tell(asked_at(config, socket), _of(order, "cancel"), _CANCELLED, order={"resumable": resumable})
    if json:
        print_json(_CANCELLED.dump_python(cancelled, mode="json"))
    elif cancelled.run_id is None:
        print_line(f"the run of {order} does not begin")
    else:
        then = "stays open, and the next run resumes it" if resumable else "ends as abandoned"
        print_line(f"the run {cancelled.run_id} {then}; see adsyncd status {order}")


@selecting
def pause(
    tenant: TheTenants = None,
    every: Every = False,
    dry_run: DryRun = False,
    config: Config = CONFIG,
    socket: Socket = None,
    json: Json = False,
    selection: Selection = EVERYTHING,
) -> None:
    """Pause tenants until they are resumed, also across restarts: named ones, selected ones, or --all.

    Their ticks are skipped. A run in progress ends normally; an interrupted run waits.

    Exits 0 once that is recorded, 1 if it is refused for all tenants, 3 for some, 4 if there is no daemon, 5 if it does
    not answer in time.
    """
    order = order_of(tenant, selection, every=every, dry_run=dry_run)
    if not isinstance(order, str):
        _print_outcomes("pause", asked_at(config, socket), order, json=json)
    _print(_tell(asked_at(config, socket), _of(order, "pause"), _TENANT), json=json)


@selecting
def resume(
    tenant: TheTenants = None,
    every: Every = False,
    dry_run: DryRun = False,
    config: Config = CONFIG,
    socket: Socket = None,
    json: Json = False,
    selection: Selection = EVERYTHING,
) -> None:
    """Resume paused tenants, from their next fire times on: named ones, selected ones, or --all.

    `adsyncd trigger` runs them now.

    Exits 0 once that is recorded, 1 if it is refused for all tenants, 3 for some, 4 if there is no daemon, 5 if it does
    not answer in time.
    """
    order = order_of(tenant, selection, every=every, dry_run=dry_run)
    if not isinstance(order, str):
        _print_outcomes("resume", asked_at(config, socket), order, json=json)
    _print(_tell(asked_at(config, socket), _of(order, "resume"), _TENANT), json=json)


def reload(
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only show what would change.")] = False,
    config: Config = CONFIG,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """Have the daemon reload its settings and drop-ins, and wait until that is done.

    Unchanged tenants are not touched. A tenant with invalid files keeps their last good version. With --dry-run the
    daemon only compares the files with what is in force.

    Exits 0 if all files are valid, 1 with every problem, 4 if there is no daemon, 5 if it does not answer in time.
    """
    place = asked_at(config, socket)
    if dry_run:
        preview = _tell(place, _RELOAD, _PREVIEW, within_s=_RELOADED_WITHIN_S, method="GET")
        _show(_PREVIEW, preview, preview_lines(preview), preview.refused, json=json)
    try:
        reloaded = _tell(place, _RELOAD, _RELOADED, within_s=_RELOADED_WITHIN_S)
    except Refused as refused:
        if not isinstance(refused.problem, FilesRefusedProblem):
            raise
        reloaded = refused.problem.report
    _show(_RELOADED, reloaded, reload_lines(reloaded, SystemClock().now()), reloaded.refused, json=json)


def _show(
    kind: TypeAdapter[T], report: T, lines: Iterable[str], refused: Sequence[RefusedFile], *, json: bool
) -> NoReturn:
    if json:
        print_json(kind.dump_python(report, mode="json"))
    else:
        for line in lines:
            print_line(line)
    raise typer.Exit(1 if refused else 0)


def _of(tenant: str, command: str) -> str:
    return f"{path_of(tenant)}/{command}"


def _tell(
    socket: Path,
    path: str,
    answers: TypeAdapter[T],
    within_s: float = ANSWERS_WITHIN_S,
    order: Mapping[str, object] | None = None,
    method: str = "POST",
) -> T:
    async def told() -> T:
        async with reaching(socket) as daemon:
            return await daemon.ask(method, path, answers, order=order, within_s=within_s)

    return anyio.run(told)


def _print_outcomes(command: str, socket: Path, order: Order, *, json: bool) -> NoReturn:
    """Give a command to several tenants, print the outcome of each, and exit with the code of all."""
    outcomes = _tell(socket, f"/v1/{command}", _OUTCOMES, _MANY_WITHIN_S, order)
    if json:
        print_json(_OUTCOMES.dump_python(outcomes, mode="json"))
    else:
        for line in in_lines(command, outcomes, dry_run=bool(order["dry_run"])):
            print_line(line)
    raise typer.Exit(exit_code(outcomes))


def _print(tenant: TenantStatus, *, json: bool) -> None:
    if json:
        print_json(_TENANT.dump_python(tenant, mode="json"))
    else:
        print_line(sentence(tenant, SystemClock().now()))
