"""How a command says why it failed: lines on standard error or, with `--json`, problem details on standard output.

The keys are those of RFC 9457, `fix` and `exit`, the exit code. An error that the daemon answers has its own status.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from typer.exceptions import TyperException

from adsyncd.cli.output import print_error, print_json, problem_as_json
from adsyncd.errors import AdsyncdError, CommandRefused, ConfigError, DaemonBusy, NoDaemon, StoreError

_EXIT: dict[type[AdsyncdError], int] = {NoDaemon: 4, DaemonBusy: 5}
_TITLES: dict[type[AdsyncdError], str] = {
    NoDaemon: "No daemon",
    DaemonBusy: "No answer in time",
    ConfigError: "Invalid settings",
    StoreError: "The database can't be used",
}
_BUG = "A bug in adsyncd"


def is_json_wanted() -> bool:
    """Return whether the arguments of this process ask for JSON, also if they are wrong otherwise."""
    arguments = sys.argv[1:]
    return "--json" in arguments[: arguments.index("--") if "--" in arguments else None]


def exit_code(error: AdsyncdError) -> int:
    """Return the exit code of an error."""
    return next((code for kind, code in _EXIT.items() if isinstance(error, kind)), 1)


def tell(error: AdsyncdError, code: int) -> None:
    """Say why a command failed, which ends with this exit code."""
    if is_json_wanted():
        print_json(problem_of(error, code))
    else:
        print_error(error)


def tell_usage(error: TyperException) -> int:
    """Say as JSON what is wrong with the arguments, and return the exit code."""
    path = getattr(getattr(error, "ctx", None), "command_path", "adsyncd")
    print_json(_details("Usage error", error.format_message(), f"see {path} --help", error.exit_code))
    return error.exit_code


def tell_bug(error: Exception) -> None:
    """Say as JSON that an error is a bug; standard error shows where."""
    print_json(_details(_BUG, f"{type(error).__name__}: see standard error", "report it", 1))


def problem_of(error: AdsyncdError, code: int) -> Mapping[str, Any]:
    """Return an error as problem details."""
    from adsyncd.cli.client import Refused  # noqa: PLC0415 - slow to import

    if isinstance(error, Refused):
        return {**error.problem.model_dump(mode="json"), "exit": code}
    title = next((title for kind, title in _TITLES.items() if isinstance(error, kind)), "Failed")
    if isinstance(error, ConfigError):
        first = error.problems[0]
        more = f", and {len(error.problems) - 1} more" if len(error.problems) > 1 else ""
        problems = [problem_as_json(problem) for problem in error.problems]
        detail = f"{replace(first, fix='')}{more}"
        return {**_details(title, detail, first.fix or None, code), "problems": problems}
    if isinstance(error, CommandRefused):
        return _details(title, error.what, error.fix, code)
    return _details(title, str(error), None, code)


def _details(title: str, detail: str, fix: str | None, code: int) -> dict[str, Any]:
    return {"title": title, "status": None, "detail": detail, "fix": fix, "exit": code}
