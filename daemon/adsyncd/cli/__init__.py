"""The command line: commands, their output and their exit codes.

Exit codes: 0 success; 1 failure, standard error says why; 2 usage error; 3 a sync or replay did not push some
campaigns, or a command was refused for some tenants; 4 no daemon; 5 the daemon does not answer in time; 6 a probe can't
read the credentials; 7 its sign-in fails; 8 its page can't be listed; 9 or not be read as the profile says; 78 invalid
settings.
"""

import errno
import gc
import os
import signal
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated

import typer
from typer.exceptions import TyperException

import adsyncd
from adsyncd.cli.failure import exit_code, is_json_wanted, tell, tell_bug, tell_usage
from adsyncd.cli.output import give_up, print_error, print_line
from adsyncd.errors import AdsyncdError

_COMMANDS = {  # command -> its module
    "run": "run",
    "check": "check",
    "config": "config",
    "sync": "sync",
    "probe": "probe",
    "status": "status",
    "trigger": "commands",
    "cancel": "commands",
    "pause": "commands",
    "resume": "commands",
    "reload": "commands",
    "log-level": "log_level",
    "alerts": "alerts",
    "runs": "runs",
    "campaigns": "campaigns",
    "forget": "tenancy",
    "rename": "tenancy",
    "plan": "plan",
    "page": "page",
    "simulate": "simulate",
    "demo": "demo",
    "dead-letters": "dead_letters",
    "profile": "profile",
}
_GROUPS = {"dead-letters", "profile"}  # commands with subcommands


def application(only: str | None = None) -> typer.Typer:
    """Return the command with its subcommands, or only with the one named `only`: importing all is slow."""
    app = typer.Typer(
        name="adsyncd",
        help="Keep the ad campaigns of many tenants in sync with a slow, flaky, rate-limited platform.",
        epilog="New here? `adsyncd demo` shows the whole system on this machine.",
        no_args_is_help=True,
        rich_markup_mode="markdown",  # the only mode that rewraps docstrings
        add_completion=False,
        pretty_exceptions_enable=False,  # they show local variables, and so secrets
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in [only] if only in _COMMANDS else _COMMANDS:
        module = import_module(f"adsyncd.cli.{_COMMANDS[name]}")
        if name in _GROUPS:
            app.add_typer(module.application(), name=name)
        else:
            app.command(name)(getattr(module, name.replace("-", "_")))
    return app


def main() -> None:
    """Run the command in the arguments. Errors that adsyncd raises on purpose are shown as one line."""
    _open_standard_streams()
    os.environ.pop("OTEL_PYTHON_CONTEXT", None)  # an unknown name would raise; the default is contextvars
    try:
        sys.exit(_call())
    except AdsyncdError as error:
        code = exit_code(error)
        tell(error, code)
        sys.exit(code)
    except TyperException as error:  # which typer itself shows, but not as JSON
        sys.exit(tell_usage(error))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            print_error(AdsyncdError(f"the output can't be written: {error.strerror}"))
        elif error.errno != errno.EPIPE:  # EPIPE: the reader has closed the pipe
            raise
        for stream in (sys.stdout, sys.stderr):
            give_up(stream)
        sys.exit(1)
    except Exception as error:
        if is_json_wanted():
            tell_bug(error)
        raise


def _call() -> int:
    """Import and run the command in the arguments, and return its exit code."""
    gc.disable()  # imports leave no garbage, and the search for it is a twentieth of them
    command = application(only=next(iter(sys.argv[1:]), None))
    gc.enable()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see `adsyncd.__main__`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code: int | None = command(standalone_mode=not is_json_wanted())
    return code or 0


def _open_standard_streams() -> None:
    """Open closed standard streams on /dev/null, or the next files opened would take their descriptors."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor
    sys.stdin, sys.stdout, sys.stderr = (
        stream or open(number, mode, closefd=False)  # noqa: SIM115 - a descriptor, not a path
        for number, (stream, mode) in enumerate(((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w")))
    )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # characters outside its encoding are escaped
            stream.reconfigure(errors="backslashreplace")


def _version(wanted: bool) -> None:
    if wanted:
        print_line(f"adsyncd {adsyncd.__version__}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    os.umask(0o077)  # files, above all the database, are readable by their owner only
