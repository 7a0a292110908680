"""`adsyncd check`: validate the settings and all drop-ins."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import anyio
import typer

from adsyncd.cli.arguments import CONFIG, Config, Json
from adsyncd.cli.output import print_json, print_line, problem_as_json, together
from adsyncd.cli.status_view import silence
from adsyncd.clock import SystemClock
from adsyncd.config import Settings, load_guarded_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.config.settings import VaultTable
from adsyncd.credentials import remark
from adsyncd.duration import format_duration
from adsyncd.errors import ConfigError, Problem, StoreError
from adsyncd.model.status import counted
from adsyncd.model.tenant import Tenant, VaultRef
from adsyncd.rate.quota import Window
from adsyncd.rate.silences import silences
from adsyncd.runs.plan import ASSUMED_CAMPAIGNS, plan
from adsyncd.store import open_reader
from adsyncd.store.checkup import Checkup, check_up
from adsyncd.store.sql import file_of
from adsyncd.telemetry.standard_variables import find_problems, wanted_exporters

Store = Annotated[bool, typer.Option("--store", help="Also check the database, without migrating or repairing it.")]

_NONE = timedelta(0)
_SOCKET = Settings().control.socket
_DATABASE = file_of(Settings().store.url) or Path()


Connect = Annotated[
    bool, typer.Option("--connect", help="Also probe all tenants: sign in and list one page each, a permit of each.")
]
Match = Annotated[
    str | None, typer.Option("--match", metavar="GLOB", help="Probe only tenants whose id matches, such as 'shop-*'.")
]


def check(
    config: Config = CONFIG, store: Store = False, json: Json = False, connect: Connect = False, match: Match = None
) -> None:
    """Validate the settings and all drop-ins, and list every problem with its file, line, key and fix.

    Standard variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT` and `SSL_CERT_FILE`, are checked as set in this shell.

    It warns of schedules that a quota can't meet, of files and folders that are ignored, of credentials that look like
    a mistake, and of quota changes that block requests for a while. Nothing is started or written.

    `--connect` probes each enabled tenant whose files are valid, side by side and within the quotas, and prints a line
    as each ends. It pushes nothing and stores no campaign. With `--json` it prints an object of `problems` and
    `tenants`.

    Exits 0 if everything is valid and each probe went well, 1 if there is a problem.
    """
    _see_that_it_selects(match, connect=connect)
    found, settings, well = Checkup(), None, True
    ready = list[Tenant]()
    try:
        settings = load_guarded_settings(config, os.environ)
        tenants = read_tenants(settings)
        ready = list(tenants.good.values())
        problems = [*tenants.problems, *_places(settings)]
        warnings = [*tenants.ignored, *_warnings(ready, settings)]
        warnings += anyio.run(_costs, ready, settings)
        if store:
            found = check_up(settings.store.url)
    except ConfigError as error:
        problems, warnings = error.problems, []
    variables = find_problems(os.environ)
    if settings is not None and not variables:
        variables = _address_taken(settings)
    problems = [*problems, *variables, *found.problems]
    as_json = [{"severity": "error"} | problem_as_json(problem) for problem in problems]
    as_json += [{"severity": "warning"} | problem_as_json(one) for one in warnings]
    if json and not connect:
        print_json(as_json)
    elif not json:
        for problem in problems:
            print_line(str(problem))
        for fact in found.facts:
            print_line(f"store: {fact}")
        for line in _in_lines(warnings):
            print_line(f"warning: {line}", err=True)
        counts = [f"{counted(len(ready), 'tenant')} ready", counted(len(problems), "problem")]
        counts += [counted(len(warnings), "warning")] if warnings else []
        print_line(", ".join(counts), err=bool(problems))
    if connect:
        well = _connect(settings, ready, match, as_json if json else None)
    raise typer.Exit(0 if well and not problems else 1)


def _in_lines(warnings: Sequence[Problem]) -> Iterator[str]:
    """Yield lines about warnings; those that are the same for many tenants are one."""
    yield from (str(one) for one in warnings if one.path or not one.key)
    yield from together((one.key, str(replace(one, key=None))) for one in warnings if one.key and not one.path)


def _see_that_it_selects(match: str | None, *, connect: bool) -> None:
    if match is not None and not connect:
        raise typer.BadParameter("--match selects the tenants to probe: add --connect")


def _connect(
    settings: Settings | None, tenants: Sequence[Tenant], match: str | None, problems: list[dict[str, object]] | None
) -> bool:
    """Probe tenants, show how that ended, as JSON if `problems` are given, and return whether all are well."""
    from adsyncd.cli import connect  # noqa: PLC0415 - slow to import

    found = [] if settings is None else connect.connect(settings, tenants, match, silent=problems is not None)
    if problems is not None:
        print_json({"problems": problems, "tenants": [connect.as_json(one) for one in found]})
    elif found:
        print_line(connect.summed(found))
    return all(one.failed is None for one in found)


def _address_taken(settings: Settings) -> list[Problem]:
    """Return why the daemon can't listen for Prometheus, unless it runs and has the address itself."""
    if "prometheus" not in wanted_exporters(os.environ, "metrics"):
        return []
    with socket.socket(socket.AF_UNIX) as control, suppress(OSError):
        control.settimeout(1)
        control.connect(str(settings.control.socket))
        return []
    from adsyncd.telemetry.scrapes import listen  # noqa: PLC0415 - slow to import

    try:
        for listener in listen(os.environ):
            listener.close()
    except ConfigError as error:
        return list(error.problems)
    return []


def _places(settings: Settings) -> list[Problem]:
    """Return why the daemon can't have its sockets and its database there; the unit makes the default folders."""
    from adsyncd.control.server import find_problems as find_problems_of_socket  # noqa: PLC0415 - slow to import

    control, page = settings.control, settings.page
    found = find_problems_of_socket(control.socket, control.group)
    if page.socket is not None:
        found += find_problems_of_socket(page.socket, page.group, "page")
    file = file_of(settings.store.url)
    if file and not file.parent.is_dir():
        fix = "make it, or change store.url"
        found.append(Problem(None, None, "store.url", f"there is no directory {file.parent}", fix))
    made_by_unit = [f"there is no directory {default.parent}" for default in (_SOCKET, _DATABASE)]
    return [one for one in found if one.what not in made_by_unit]


async def _costs(tenants: Sequence[Tenant], settings: Settings) -> list[Problem]:
    """Return the tenants that a change of quotas keeps from sending for a while, from the requests on record."""
    file = file_of(settings.store.url)
    if file and not file.exists():
        return []  # no request was sent yet
    clock = SystemClock()
    try:
        async with open_reader(settings.store.url, clock=clock) as reader:
            found = silences({tenant.id: tenant.client_quota for tenant in tenants}, await reader.permits(), clock)
    except StoreError as error:
        longest = format_duration(max((window.per for tenant in tenants for window in _windows(tenant)), default=_NONE))
        cost = f"if a quota has a new window, nothing is sent for up to {longest}"
        return [Problem(None, None, None, f"the requests on record can't be read ({error})", cost)] if tenants else []
    now = clock.now()
    return [
        Problem(None, None, None, silence(tenant, now + timedelta(seconds=wait_s), now), "")
        for tenant, wait_s in found.items()
    ]


def _windows(tenant: Tenant) -> Iterator[Window]:
    yield from tenant.quota.windows
    if tenant.platform.quota:
        yield from tenant.platform.quota.windows


def _warnings(tenants: Sequence[Tenant], settings: Settings) -> list[Problem]:
    """Return the schedules that can't be met (by the drop-ins alone), and probable mistakes."""
    assumed = f"its quota can't meet the schedules, if a tenant has {ASSUMED_CAMPAIGNS} campaigns"
    now = SystemClock().now()
    found = plan(tenants, {}, {}, now).fixes
    return [
        *(Problem(None, None, name, assumed, fix) for name, fix in found.items()),
        *(
            Problem(None, None, f"tenant {tenant.id}", *mistake)
            for tenant in tenants
            for mistake in _mistakes(tenant, settings.vault)
        ),
    ]


def _mistakes(tenant: Tenant, vault: VaultTable | None) -> Iterator[tuple[str, str]]:
    match tenant.credentials:
        case VaultRef(path) if vault and path.startswith((f"{vault.mount}/", "data/")):
            right = path.removeprefix(f"{vault.mount}/").removeprefix("data/")
            yield (
                f'its credentials are read at "{vault.mount}/data/{path}" of Vault, since vault.mount comes first',
                f'write vault = "{right}" if that is not intended',
            )
        case ref if found := remark(ref, os.environ):
            yield found, ""
