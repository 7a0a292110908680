"""`adsyncd probe`: one page of a tenant, and what it shows of the platform's profile."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from enum import IntEnum
from typing import Annotated

import typer

from adsyncd import daemon
from adsyncd.cli.arguments import CONFIG, Config, Json, LogLevel, TheTenant, find_tenant
from adsyncd.cli.examined_view import print_examined
from adsyncd.cli.output import Terminal, print_json, print_line
from adsyncd.cli.progress import show_progress
from adsyncd.config import Settings, load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.duration import parse_duration
from adsyncd.host import event_loop
from adsyncd.model.profile import Profile
from adsyncd.model.run import Tally
from adsyncd.model.status import counted
from adsyncd.model.tenant import Tenant
from adsyncd.platforms.probe import Probe, Sent, Timed
from adsyncd.rate.feedback import Limit, Said
from adsyncd.tasks import beside

_WAIT = timedelta(seconds=30)


class ExitCode(IntEnum):
    """The exit codes of a probe, by the step that failed."""

    CREDENTIALS = 6
    SIGN_IN = 7
    LISTING = 8
    READING = 9


def _duration(text: str | timedelta) -> timedelta:
    try:
        return text if isinstance(text, timedelta) else parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Wait = Annotated[
    timedelta,
    typer.Option(
        "--wait", parser=_duration, metavar="DURATION", help="How long to wait for a used-up quota.", show_default="30s"
    ),
]


def probe(
    tenant: TheTenant,
    config: Config = CONFIG,
    json: Json = False,
    log_level: LogLevel = "warning",
    wait: Wait = _WAIT,
) -> None:
    """Sign in, list one page of a tenant's campaigns, and show what the platform's profile makes of it.

    It shows the request, the number of records, the next page, and for each column the path, the value as it stands,
    and what it was read as. Where a path finds nothing, it shows what the answer has at that level.

    It shows how long each step took: the credentials, the sign-in, the listing, the reading. It takes one permit of the
    quota, pushes nothing and stores no campaign. The daemon may run, and the tenant may be paused or disabled.

    Exits 0 if everything was read, else 6, 7, 8 or 9: it failed at the credentials, the sign-in, the listing or the
    reading; 1 if the quota lets nothing through for longer than --wait, which says until when.
    """
    settings = load_settings(config, os.environ)
    found = find_tenant(settings, read_tenants(settings), tenant)
    made = event_loop.run(_probe, settings, found, log_level, wait.total_seconds())
    if json:
        print_json(as_json(made, found.platform.profile))
    else:
        print_probe(made, found.platform.profile)
    if made.failed:
        raise typer.Exit(ExitCode[made.failed.name])


async def _probe(settings: Settings, tenant: Tenant, log_level: str, wait_s: float) -> Probe:
    tally = Tally()
    async with (
        daemon.open_parts(settings, os.environ, log_level) as parts,
        beside(show_progress, tenant.id, tally, Terminal(stderr=True)),
    ):
        return await daemon.probe_once(parts, tenant, tally, wait_s)


def as_json(made: Probe, profile: Profile) -> dict[str, object]:
    """Return a probe as `probe --json` prints it."""
    answer = None if made.status is None else {"status": made.status, "bytes": made.size}
    return {
        "failed": made.failed,
        "error": made.error,
        "steps": [asdict(step) | {"seconds": round(step.seconds, 3)} for step in made.steps],
        "request": asdict(made.sent) if made.sent else None,
        "answer": answer,
        "limits": asdict(made.said) if made.said else None,
        "records_path": profile.listing.records,
        **(asdict(made.examined) if made.examined else dict.fromkeys(("records", "next", "total", "columns", "odd"))),
    }


def print_probe(made: Probe, profile: Profile) -> None:
    """Print how far a probe came, and on standard error why not further."""
    if made.sent:
        _print_sent(made.sent)
    if made.status is not None and made.size is not None:
        print_line(f"answer: {made.status}, {counted(made.size, 'byte')}")
    if made.said:
        print_line(f"limits: {'; '.join(_limits(made.said)) or 'none stated'}")
    if made.examined:
        print_examined(made.examined, profile)
    if made.steps:
        print_line(f"steps: {', '.join(map(_step, made.steps))}")
    if made.failed:
        print_line(f"error: {made.failed}: {made.error}", err=True)


def _print_sent(sent: Sent) -> None:
    print_line(f"{sent.method} {sent.url}")
    for name, value in sent.headers.items():
        print_line(f"  {name}: {value}")
    if sent.body is not None:
        print_line(f"  {sent.body}")


def _step(step: Timed) -> str:
    return f"{step.name} {'' if step.ok else 'failed after '}{step.seconds:.2f} s"


def _limits(said: Said) -> Iterator[str]:
    if said.throttled:
        yield "the request was refused for a limit's sake"
    if said.wait_s is not None:
        yield f"wait {said.wait_s:.0f} s"
    yield from (", ".join(_limit(limit)) for limit in said.limits)


def _limit(limit: Limit) -> Iterator[str]:
    if limit.remaining is not None:
        yield f"{counted(limit.remaining, 'request')} left"
    if limit.requests is not None:
        per = f" in {limit.window_s:.0f} s" if limit.window_s else ""
        yield f"{limit.requests} allowed{per}"
    if limit.used is not None:
        yield f"{limit.used:.0%} used"
    if limit.reset_s is not None:
        yield f"reset in {limit.reset_s:.0f} s"
