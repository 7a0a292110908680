"""`adsyncd simulate`: a day of this installation's tenants in a few seconds."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from adsyncd.cli.arguments import CONFIG, Config, Json
from adsyncd.cli.output import (
    WIDE,
    Terminal,
    new_console,
    new_table,
    print_json,
    print_line,
    seconds,
    styled,
    together,
)
from adsyncd.cli.plan import read_history
from adsyncd.config import Settings, load_settings
from adsyncd.config.dropins import read_tenants
from adsyncd.duration import format_duration
from adsyncd.errors import ConfigError, Problem
from adsyncd.model.status import counted
from adsyncd.model.tenant import Tenant
from adsyncd.runs.plan import ASSUMED_CAMPAIGNS
from adsyncd.simulation.forecast import Forecast, forecasts, tenants_world
from adsyncd.simulation.network import load_factory
from adsyncd.simulation.simulation import Course, Simulator
from adsyncd.simulation.world import World

Hours = Annotated[float, typer.Option("--hours", min=0.1, max=24 * 31, help="Hours to simulate.")]
Campaigns = Annotated[
    int | None,
    typer.Option(min=0, help=f"Campaigns of each tenant. Default: the number in the store, else {ASSUMED_CAMPAIGNS}."),
]
Faults = Annotated[bool, typer.Option("--faults/--healthy", help="Whether platforms sometimes fail.")]
Seed = Annotated[int, typer.Option(help="Decides every latency and fault; equal seeds give equal results.")]
Platform = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FACTORY",
        help="Factory of the platforms, which returns an ASGI application. Default: the mock's.",
    ),
]

_LOST = ("skipped", "cut short", "failed")  # ticks and runs


def simulate(
    config: Config = CONFIG,
    hours: Hours = 24.0,
    campaigns: Campaigns = None,
    faults: Faults = True,
    seed: Seed = 0,
    platform: Platform = None,
    json: Json = False,
) -> None:
    """Simulate the daemon with these settings and drop-ins, and show the tenants that can't keep their schedules.

    It shows how long runs will take, how many ticks are skipped, a fix for those, and the unused quota. No platform,
    Vault or daemon is needed, and nothing is sent or written. Exits 0 if every tenant keeps its schedule, 1 if not.
    """
    settings = load_settings(config, os.environ)
    tenants = _tenants(settings)
    sizes = _sizes(settings, tenants, campaigns)
    world = tenants_world(tenants, sizes, seed=seed, lasts=timedelta(hours=hours), faults=faults)
    course = _simulated(world, platform)
    found = forecasts(course)
    late = sum(not forecast.keeps_schedule for forecast in found)
    if json:
        print_json([_as_json(forecast) for forecast in found])
    else:
        _print(found)
        keep = "keeps its" if len(found) == 1 else "keep their"
        kept = f"{len(found) - late} of {counted(len(found), 'tenant')} {keep} schedule"
        sent = f"{counted(course.requests, 'request')} in {format_duration(timedelta(hours=hours))}"
        print_line(f"{kept}: {sent}, seed {seed}")
    for violation in course.violations:
        print_line(f"error: a bug in adsyncd, please report it: {violation}", err=True)
    raise typer.Exit(1 if late or course.violations else 0)


def _tenants(settings: Settings) -> list[Tenant]:
    read = read_tenants(settings)
    for problem in read.problems:
        print_line(f"warning: skipped: {problem}", err=True)
    if tenants := [tenant for tenant in read.good.values() if tenant.enabled]:
        return tenants
    what = "there is no tenant to simulate"
    raise ConfigError([Problem(None, None, None, what, "put a drop-in for each into one of tenants_dirs")])


def _sizes(settings: Settings, tenants: Sequence[Tenant], campaigns: int | None) -> dict[str, int]:
    known = {} if campaigns is not None else read_history(settings, tenants).campaigns
    usual = ASSUMED_CAMPAIGNS if campaigns is None else campaigns
    return {tenant.id: known.get(tenant.id, usual) for tenant in tenants}


def _simulated(world: World, platform: str | None) -> Course:
    columns = (TextColumn("simulating"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeElapsedColumn())
    console = Terminal(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=world.lives[0].lasts_s)
        simulator = Simulator(load_factory(platform)) if platform else Simulator()
        return simulator.run(world, watch=lambda elapsed_s: progress.update(bar, completed=elapsed_s))


def _as_json(forecast: Forecast) -> dict[str, object]:
    """Return a forecast as `simulate --json` prints it; times in seconds."""
    times = {name: getattr(forecast, name) for name in ("typical_s", "longest_s")}
    rounded = {name: None if time is None else round(time, 1) for name, time in times.items()}
    more = {"quota_left": round(forecast.quota_left, 3), "keeps_schedule": forecast.keeps_schedule}
    return asdict(forecast) | rounded | more


def _print(forecasts: Sequence[Forecast]) -> None:
    """Print forecasts as a table that fits the terminal, and the fixes below it."""
    console, table = new_console(), new_table()
    wide = console.width >= WIDE
    table.add_column("tenant", overflow="fold")
    for name in ("campaigns", "runs", "typical", "longest", "requests"):
        table.add_column(name, justify="right", no_wrap=True)
    if wide:
        for name in _LOST:
            table.add_column(name, justify="right", no_wrap=True)
    else:
        table.add_column("lost", min_width=7)
    table.add_column("quota left", justify="right", min_width=5)
    table.add_column("schedule", no_wrap=True)
    for forecast in forecasts:
        lost = dict(zip(_LOST, (forecast.skipped, forecast.cut_short, forecast.failed), strict=True))
        table.add_row(
            forecast.tenant,
            str(forecast.campaigns),
            str(forecast.runs),
            *(seconds(time) for time in (forecast.typical_s, forecast.longest_s)),
            "" if forecast.requests_a_run is None else str(forecast.requests_a_run),
            *([str(n or "") for n in lost.values()] if wide else [_in_words(lost)]),
            f"{forecast.quota_left:.0%}",
            styled("kept", "green") if forecast.keeps_schedule else styled("not kept", "red"),
        )
    console.print(table)
    for line in together((forecast.tenant, forecast.fix) for forecast in forecasts if forecast.fix):
        console.print(line, style="red", soft_wrap=True)


def _in_words(lost: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {what}" for what, number in lost.items() if number)
