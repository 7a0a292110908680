"""`adsyncd trigger`, `pause`, `resume` and `reload`: what the daemon is told to do."""

import os
from pathlib import Path
from typing import TypeVar

import anyio
import typer
from pydantic import TypeAdapter

from adsyncd.cli.arguments import CONFIG, Config, Json, TheTenant
from adsyncd.cli.client import ANSWERS_WITHIN_S, Refused, path_of, reaching
from adsyncd.cli.output import listed, print_json, print_line
from adsyncd.cli.status_view import sentence, silence
from adsyncd.clock import SystemClock
from adsyncd.config import control_socket
from adsyncd.control import wire
from adsyncd.model.status import Reloaded, TenantStatus

T = TypeVar("T")
_RELOADED_WITHIN_S = 300.0

_TRIGGERED = TypeAdapter(wire.Triggered)
_TENANT = TypeAdapter(TenantStatus)
_RELOADED = TypeAdapter(Reloaded)


def trigger(tenant: TheTenant, config: Config = CONFIG, json: Json = False) -> None:
    """Have the daemon run a tenant now, besides its schedule.

    A run that was cut off is taken up in its place. It is refused while a run of the tenant goes on, and while it is
    paused. `adsyncd status TENANT --watch` shows how the run goes on.

    Exits 0 once the run begins, 1 if it is refused, 4 if there is no daemon, 5 if it
    does not answer in time.
    """
    begun = _tell(config, _of(tenant, "trigger"), _TRIGGERED)
    if json:
        print_json(_TRIGGERED.dump_python(begun, mode="json"))
    else:
        print_line(f"a run of {tenant} begins; see adsyncd status {tenant} --watch")


def pause(tenant: TheTenant, config: Config = CONFIG, json: Json = False) -> None:
    """Let a tenant rest until it is resumed, also after a restart of the daemon.

    Its ticks are skipped. A run that goes on comes to its end; one that was cut off waits.

    Exits 0 once that is kept, 1 if it is refused, 4 if there is no daemon, 5 if it
    does not answer in time.
    """
    _print(_tell(config, _of(tenant, "pause"), _TENANT), json=json)


def resume(tenant: TheTenant, config: Config = CONFIG, json: Json = False) -> None:
    """Let a tenant run again, from its next fire time on; `adsyncd trigger` runs it now.

    Exits 0 once that is kept, 1 if it is refused, 4 if there is no daemon, 5 if it
    does not answer in time.
    """
    _print(_tell(config, _of(tenant, "resume"), _TENANT), json=json)


def reload(config: Config = CONFIG, json: Json = False) -> None:
    """Have the daemon take up what its settings and drop-ins say now, and wait until it has.

    Whoever is unchanged is not touched. A tenant whose files are wrong goes on as they said when they were right.

    Exits 0 if all is right, 1 with every problem that was found, 4 if there is no daemon, 5 if it
    does not answer in time.
    """
    try:
        reloaded = _tell(config, "/v1/reload", _RELOADED, within_s=_RELOADED_WITHIN_S)
    except Refused as refused:
        if not isinstance(refused.problem, wire.FilesRefused):
            raise
        reloaded = refused.problem.report
    if json:
        print_json(_RELOADED.dump_python(reloaded, mode="json"))
    else:
        _print_reloaded(reloaded)
    raise typer.Exit(1 if reloaded.refused else 0)


def _of(tenant: str, command: str) -> str:
    return f"{path_of(tenant)}/{command}"


def _tell(config: Path, path: str, answers: TypeAdapter[T], within_s: float = ANSWERS_WITHIN_S) -> T:
    socket = control_socket(config, os.environ)

    async def told() -> T:
        async with reaching(socket) as daemon:
            return await daemon.ask("POST", path, answers, within_s=within_s)

    return anyio.run(told)


def _print(tenant: TenantStatus, *, json: bool) -> None:
    if json:
        print_json(_TENANT.dump_python(tenant, mode="json"))
    else:
        print_line(sentence(tenant, SystemClock().now()))


def _print_reloaded(reloaded: Reloaded) -> None:
    for refusal in reloaded.refused:
        for problem in refusal.problems:
            print_line(str(problem))
    for what, tenants in (("added", reloaded.added), ("changed", reloaded.changed), ("removed", reloaded.removed)):
        if tenants:
            print_line(f"{what}: {listed(tenants, most=20)}")
    for one in reloaded.silent:
        print_line(silence(one.tenant, one.until, SystemClock().now()))
    counts = [f"{len(reloaded.unchanged)} unchanged", f"{len(reloaded.refused)} refused"]
    print_line(f"{', '.join(counts)}, in {reloaded.took_s:.1f} s", err=bool(reloaded.refused))
