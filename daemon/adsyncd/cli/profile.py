"""`adsyncd profile`: check a platform's profile, and list those that there are."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from adsyncd.cli.arguments import CONFIG, Config, Json
from adsyncd.cli.examined_view import print_examined
from adsyncd.cli.output import new_console, new_table, print_json, print_line, problem_as_json
from adsyncd.cli.profile_view import described, direction, profile_as_json
from adsyncd.config import DEFAULT_PATH, load_settings
from adsyncd.config.file_access import read_regular
from adsyncd.config.profile_file import find_profile, load_profile, shipped_names
from adsyncd.config.toml_file import unreadable
from adsyncd.errors import ConfigError, Problem
from adsyncd.model.profile import Profile
from adsyncd.model.status import counted
from adsyncd.platforms.probe import examine_saved
from adsyncd.platforms.wire import most_page_mib

Answer = Annotated[
    Path | None, typer.Option("--answer", metavar="BODY.json", help="The body of an answer to compare it with.")
]


@dataclass(frozen=True, slots=True)
class _Listed:
    """A profile's file, the platforms that name it in the settings, and what it is, or what is wrong with it."""

    file: Path
    platforms: tuple[str, ...]
    found: Profile | list[Problem]


def application() -> typer.Typer:
    """Return the command with its subcommands."""
    app = typer.Typer(
        help="Profiles, which describe the APIs of ad platforms: check or list them.", no_args_is_help=True
    )
    app.command()(check)
    app.command("list")(list_)
    return app


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The profile.", show_default=False)],
    answer: Answer = None,
    json: Json = False,
) -> None:
    """Validate a profile, and say what it describes, or every problem with its line, key and fix.

    With `--answer` it also shows what the profile makes of an answer of the platform that was saved: the records, the
    next page, and for each column the path, the value as it stands, and what it was read as.

    Nothing is sent; `adsyncd probe` tries a profile on the platform.

    Exits 0 if the profile is valid and fits the answer, 1 if there is a problem.
    """
    file = file.absolute()
    try:
        profile = load_profile(file)
    except ConfigError as error:
        _print_problems(error.problems, json=json)
        raise typer.Exit(1) from None
    examined = None if answer is None else examine_saved(profile, _saved(answer, most_page_mib(profile.listing.paging)))
    if json:
        found = {"profile": profile_as_json(profile, str(file)), "problems": []}
        print_json(found if examined is None else found | {"answer": asdict(examined)})
    else:
        for part, what in described(profile):
            print_line(f"{part + ':':<9} {what}")
        print_line(f"{file} is valid")
        if examined is not None:
            print_examined(examined, profile)
            if examined.trouble:
                print_line(f"error: {examined.trouble}", err=True)
    raise typer.Exit(1 if examined is not None and examined.trouble else 0)


def list_(config: Config = CONFIG, json: Json = False) -> None:
    """List the profiles that adsyncd has, and those that the settings name.

    Each with the platforms that use it, and with the secrets and vars that tenants need.

    Exits 0; 1 if a profile that the settings name has a problem.
    """
    listed = list(_listed(config))
    problems = [problem for one in listed if isinstance(one.found, list) for problem in one.found]
    good = [(one, one.found) for one in listed if isinstance(one.found, Profile)]
    if json:
        print_json(
            {
                "profiles": [
                    profile_as_json(found, str(one.file)) | {"platforms": list(one.platforms)} for one, found in good
                ],
                "problems": [problem_as_json(problem) for problem in problems],
            }
        )
    else:
        table = new_table()
        for name in ("profile", "campaigns", "base_url", "secrets", "vars", "platforms", "file"):
            table.add_column(name, overflow="fold")
        for one, found in good:
            secrets, names, platforms = (", ".join(each) for each in (found.secrets, found.vars, one.platforms))
            row = (found.name, direction(found), found.base_url or "", secrets, names, platforms, str(one.file))
            table.add_row(*row)
        new_console().print(table)
        for problem in problems:
            print_line(str(problem), err=True)
    raise typer.Exit(1 if problems else 0)


def _listed(config: Path) -> Iterator[_Listed]:
    """Yield all profiles, without settings only those that adsyncd has."""
    platforms = load_settings(config, os.environ).platforms if config != DEFAULT_PATH or config.exists() else {}
    files = dict.fromkeys([find_profile(name) for name in shipped_names()])
    files |= dict.fromkeys(find_profile(table.profile) for table in platforms.values())
    for file in files:
        users = tuple(name for name, table in platforms.items() if find_profile(table.profile) == file)
        try:
            yield _Listed(file, users, load_profile(file))
        except ConfigError as error:
            yield _Listed(file, users, error.problems)


def _saved(answer: Path, most_mib: int) -> bytes:
    """Read a saved answer, which is no larger than a run would read. Raises ConfigError."""
    try:
        body = read_regular(answer, most_mib * 2**20)
    except OSError as error:
        raise ConfigError([unreadable(answer, error, "save an answer of the platform there")]) from None
    if len(body) > most_mib * 2**20:
        what = f"is larger than {most_mib} MiB, up to which a run reads a page"
        raise ConfigError([Problem(answer, None, None, what, "save a smaller page")])
    return body


def _print_problems(problems: list[Problem], *, json: bool) -> None:
    if json:
        print_json({"profile": None, "problems": [problem_as_json(problem) for problem in problems]})
        return
    for problem in problems:
        print_line(str(problem))
    print_line(counted(len(problems), "problem"), err=True)
