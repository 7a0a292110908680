"""`adsyncd demo`: the whole system on this machine."""

import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from adsyncd.cli.output import Terminal


def demo(
    stay: Annotated[
        bool, typer.Option("--stay", help="Keep the daemon and its page in the end, until Ctrl-C.")
    ] = False,
) -> None:
    """Show the whole system on this machine, in under a minute.

    Starts OpenBao, a mock platform that sometimes fails, and the daemon with three tenants, all on 127.0.0.1; then
    shows their progress, the result of each tenant, and the trace of a run. It stops everything that it started, and
    keeps the database in a new folder of /tmp for inspection. Exits 1 if a result is not as expected.

    The daemon's page is served at an address that is printed first, for as long as the demo lasts.
    """
    from adsyncd.cli.forwarder import forwarding  # noqa: PLC0415 - slow to import, and only for this command
    from adsyncd.cli.page import users  # noqa: PLC0415
    from adsyncd.demo.scene import Scene  # noqa: PLC0415
    from adsyncd.demo.story import play  # noqa: PLC0415

    forward = partial(forwarding, uids=users(os.getuid(), os.environ))
    raise typer.Exit(anyio.run(partial(play, Scene(), _Console(), _called(), forward, stay=stay)))


def _called() -> str:
    """Return the name by which this program was called, for commands to copy."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{sys.executable} -m adsyncd"
    return program.name if shutil.which(program.name) == str(program) else str(program)


class _Console(Terminal):
    def on_broken_pipe(self) -> None:
        """Let `main` handle it: rich would exit inside the task groups, which report that as a failure."""
        raise BrokenPipeError
