"""The command line: what an operator types, sees and gets as an exit code.

Exit codes: 0 it is done; 1 it failed, and standard error says why; 2 it was asked in the wrong way; 3 a sync or a
replay left some campaigns behind; 4 there is no daemon to ask; 78 the daemon can't start with these settings.
"""

import os
import sys
from typing import Annotated

import typer

import adsyncd
from adsyncd.cli import dead_letters
from adsyncd.cli.check import check
from adsyncd.cli.client import NoDaemon
from adsyncd.cli.commands import pause, reload, resume, trigger
from adsyncd.cli.demo import demo
from adsyncd.cli.output import print_error
from adsyncd.cli.plan import plan
from adsyncd.cli.run import run
from adsyncd.cli.runs import runs
from adsyncd.cli.simulate import simulate
from adsyncd.cli.status import status
from adsyncd.cli.sync import sync
from adsyncd.errors import AdsyncdError

_COMMANDS = (run, check, sync, status, trigger, pause, resume, reload, runs, plan, simulate, demo)


def application() -> typer.Typer:
    """Return the command with all its subcommands."""
    app = typer.Typer(
        name="adsyncd",
        help="Keep the ad campaigns of many tenants in step with a slow, flaky, metered platform.",
        epilog="New here? `adsyncd demo` shows all of it on this machine.",
        no_args_is_help=True,
        rich_markup_mode="markdown",  # the only one that fills the lines of our docstrings anew
        add_completion=False,
        pretty_exceptions_enable=False,  # they show local variables, and so secrets
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for command in _COMMANDS:
        app.command()(command)
    app.add_typer(dead_letters.application(), name="dead-letters")
    return app


def main() -> None:
    """Run the command that the arguments name. The errors that adsyncd raises on purpose are shown by their text."""
    try:
        application()()
    except AdsyncdError as error:
        print_error(error)
        sys.exit(4 if isinstance(error, NoDaemon) else 1)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adsyncd {adsyncd.__version__}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    os.umask(0o077)  # what is written, the database above all, is its owner's alone
