"""`adsyncd demo`: all of it on this machine."""

import shutil
import sys
from pathlib import Path

import anyio
import typer

from adsyncd.cli.output import Terminal


def demo() -> None:
    """Show all of it on this machine, in under a minute.

    Starts OpenBao, a mock platform that fails now and then, and the daemon with three tenants, all on 127.0.0.1; then
    shows their progress, what became of each tenant, and the trace of a run. What it started it ends; the database
    is kept in a new folder of /tmp, to be looked at. Exits 1 if anything is not as it has to be.
    """
    from adsyncd.demo.scene import Scene  # noqa: PLC0415 - no other command has to wait for these
    from adsyncd.demo.story import play  # noqa: PLC0415

    raise typer.Exit(anyio.run(play, Scene(), _Console(), _called()))


def _called() -> str:
    """Return what this program was called by, for commands that are to be copied."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{sys.executable} -m adsyncd"
    return program.name if shutil.which(program.name) == str(program) else str(program)


class _Console(Terminal):
    def on_broken_pipe(self) -> None:
        """Leave it to `main`: rich would exit from within the task groups, which wrap that up as a failure."""
        raise BrokenPipeError
