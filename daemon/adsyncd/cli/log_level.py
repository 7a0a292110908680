"""`adsyncd log-level`: what the running daemon logs."""

from typing import Annotated

import anyio
import typer
from pydantic import TypeAdapter

from adsyncd.cli.arguments import CONFIG, Config, Json, Socket, asked_at
from adsyncd.cli.client import reaching
from adsyncd.cli.output import print_json, print_line
from adsyncd.config.names import Level
from adsyncd.control import wire

_LEVEL = TypeAdapter(wire.LogLevel)
_PATH = "/v1/log-level"


def log_level(
    level: Annotated[
        Level | None, typer.Argument(metavar="LEVEL", help="debug, info, warning or error.", show_default=False)
    ] = None,
    config: Config = CONFIG,
    socket: Socket = None,
    json: Json = False,
) -> None:
    """Show the lowest level that the daemon logs, or have it log from LEVEL on until it restarts.

    `adsyncd run --log-level` and ADSYNCD_LOG_LEVEL name the level from the start.

    Exits 0; 4 if there is no daemon, 5 if it does not answer in time.
    """
    socket = asked_at(config, socket)

    async def told() -> wire.LogLevel:
        async with reaching(socket) as daemon:
            if level is None:
                return await daemon.ask("GET", _PATH, _LEVEL)
            return await daemon.ask("POST", _PATH, _LEVEL, order={"level": level})

    found = anyio.run(told)
    if json:
        print_json(_LEVEL.dump_python(found, mode="json"))
    else:
        print_line(found.level)
