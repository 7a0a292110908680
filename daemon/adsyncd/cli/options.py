"""The options that commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from adsyncd.config import CONFIG_VARIABLE, DEFAULT_PATH

Config = Annotated[
    Path,
    typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, metavar="FILE", help="The daemon's settings."),
]
CONFIG = DEFAULT_PATH

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

Level = Literal["debug", "info", "warning", "error"]
LogLevel = Annotated[Level, typer.Option("--log-level", help="The least that is logged, to standard error.")]
