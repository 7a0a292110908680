"""The command line: what an operator types, sees and gets as an exit code.

Exit codes: 0 it is done; 1 it failed, and standard error says why; 2 it was asked in the wrong way; 3 a sync or a
replay left some campaigns behind; 4 there is no daemon to ask; 5 the daemon does not answer in time; 78 the daemon
can't start with these settings.
"""

import errno
import os
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated

import typer

import adsyncd
from adsyncd.cli.output import give_up, print_error, print_line
from adsyncd.errors import AdsyncdError, DaemonBusy, NoDaemon

_EXIT: dict[type[AdsyncdError], int] = {NoDaemon: 4, DaemonBusy: 5}
_COMMANDS = {  # and the modules that they are in
    "run": "run",
    "check": "check",
    "sync": "run",
    "status": "status",
    "trigger": "commands",
    "pause": "commands",
    "resume": "commands",
    "reload": "commands",
    "runs": "runs",
    "plan": "plan",
    "simulate": "simulate",
    "demo": "demo",
    "dead-letters": "dead_letters",
}


def application(only: str | None = None) -> typer.Typer:
    """Return the command with all its subcommands; if `only` is one's name, with that one: to import all takes long."""
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
    for name in [only] if only in _COMMANDS else _COMMANDS:
        module = import_module(f"adsyncd.cli.{_COMMANDS[name]}")
        if name == "dead-letters":
            app.add_typer(module.application(), name=name)
        else:
            app.command()(getattr(module, name))
    return app


def main() -> None:
    """Run the command that the arguments name. The errors that adsyncd raises on purpose are shown by their text."""
    _open_standard_streams()
    os.environ.pop("OTEL_PYTHON_CONTEXT", None)  # contextvars it is; of a name that is unknown a traceback would tell
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # whatever characters it has: the others are escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        application(only=next(iter(sys.argv[1:]), None))()
    except AdsyncdError as error:
        print_error(error)
        sys.exit(next((code for kind, code in _EXIT.items() if isinstance(error, kind)), 1))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            print_error(AdsyncdError(f"the output can't be written: {error.strerror}"))
        elif error.errno != errno.EPIPE:  # or the reader has seen enough
            raise
        for stream in (sys.stdout, sys.stderr):
            give_up(stream)
        sys.exit(1)


def _open_standard_streams() -> None:
    """Let those that were closed at the start lead nowhere, or files that are opened next would take their places."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdin, sys.stdout, sys.stderr = (
        stream or open(number, mode, closefd=False)  # noqa: SIM115 - it has a number and no path
        for number, (stream, mode) in enumerate(((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w")))
    )


def _version(wanted: bool) -> None:
    if wanted:
        print_line(f"adsyncd {adsyncd.__version__}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    os.umask(0o077)  # what is written, the database above all, is its owner's alone
