"""`adsyncd check`: whether the settings and all drop-ins are right."""

import os
from dataclasses import asdict
from pathlib import Path

import typer

from adsyncd.cli.options import CONFIG, Config, Json
from adsyncd.cli.output import print_json
from adsyncd.config import load_settings
from adsyncd.dropins import read_tenants
from adsyncd.errors import ConfigError, Problem


def check(config: Config = CONFIG, json: Json = False) -> None:
    """Validate the settings and all drop-ins, and list every problem with its file, line, key and mend.

    Nothing is started or written. Exits 0 if all is right, 1 if there is a problem.
    """
    try:
        tenants = read_tenants(load_settings(config, os.environ))
        problems, good = tenants.problems, len(tenants.good)
    except ConfigError as error:
        problems, good = error.problems, 0
    if json:
        print_json([_as_json(problem) for problem in problems])
    else:
        for problem in problems:
            typer.echo(str(problem))
        typer.echo(f"{_count(good, 'tenant')} ready, {_count(len(problems), 'problem')}", err=bool(problems))
    raise typer.Exit(1 if problems else 0)


def _as_json(problem: Problem) -> dict[str, object]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(problem).items()}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
