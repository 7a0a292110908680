"""One table of the settings, whatever is wrong with the rest of the file: a running daemon keeps its earlier settings.

In a file that is not TOML, the table is taken from its own section, if that can be told for sure.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adsyncd.config.diagnostics import diagnose, known_keys
from adsyncd.config.file_access import read_regular
from adsyncd.config.names import PREFIX
from adsyncd.config.settings import ABSENT, Settings, located
from adsyncd.config.toml_file import MAX_BYTES, TomlFile, read_toml
from adsyncd.config.variables import overlay
from adsyncd.errors import ConfigError, Problem

_SECTION = re.compile(r"^[ \t]*\[", re.MULTILINE)
_ESCAPED = re.compile(r"^[^=\n]*\\", re.MULTILINE)


def control_socket(path: Path, environ: Mapping[str, str]) -> Path:
    """Return the control socket. Raises ConfigError if the settings hide it."""
    return _alone("control", "socket", path, environ, "or name the socket: --socket").control.socket


def page_socket(path: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the page's socket, if there is one. Raises ConfigError if the settings hide it."""
    return _alone("page", "socket", path, environ, "or name the socket: --socket").page.socket


def store_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Return the settings with [store] alone as the file has it. Raises ConfigError if that can't be told."""
    return _alone("store", "url", path, environ, f"or name the database: {PREFIX}STORE__URL")


def _alone(name: str, key: str, path: Path, environ: Mapping[str, str], otherwise: str) -> Settings:
    """Return the settings as if the file had this table alone.

    The variable of its `key` makes the file needless. Raises ConfigError with the problems of the table, or of the
    file if the table can't be told.
    """
    variable = f"{PREFIX}{name}".upper()
    variables = {each: text for each, text in environ.items() if each == variable or each.startswith(f"{variable}__")}
    is_needless = f"{variable}__{key.upper()}" in variables
    file = TomlFile(path, "", {}) if is_needless else _read(name, path, otherwise)
    data: dict[str, Any] = {name: file.data[name]} if name in file.data else {}
    laid = overlay(data, variables, known_keys(Settings))
    try:
        settings = Settings.model_validate(laid.data)
    except ValidationError as error:
        raise ConfigError([located(one, file, laid) for one in diagnose(error, Settings)]) from error
    if laid.problems:
        raise ConfigError(laid.problems)
    return settings


def _read(name: str, path: Path, otherwise: str) -> TomlFile:
    try:
        return read_toml(path, ABSENT)
    except ConfigError as error:
        try:
            text = read_regular(path, MAX_BYTES).decode("utf-8-sig", errors="replace")
            table = salvaged(name, text)
        except (OSError, ValueError, RecursionError):
            raise ConfigError([_with_way_out(one, otherwise) for one in error.problems]) from error
        return TomlFile(path, "", {} if table is None else {name: table})


def salvaged(name: str, text: str) -> object:
    """Return a table of a text that is no TOML, or None if it surely has no such table. Raises ValueError otherwise.

    A text over several lines may contain what looks like a table, and an escaped name may stand for any other.
    """
    if '"""' in text or "'''" in text or _ESCAPED.search(text):
        raise ValueError("can't be told for sure")
    starts = [0, *(found.start() for found in _SECTION.finditer(text))]
    found = None
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        section = text[start:end]
        if not re.search(rf"\b{name}\b", _without_comments(section)):
            continue
        if found is not None:
            raise ValueError("several sections may have the table")
        parsed = tomllib.loads(section)
        if name not in parsed:
            raise ValueError("another section has a word like it")
        found = parsed[name]
    return found


def _without_comments(section: str) -> str:
    return re.sub(r"#.*", "", section)


def _with_way_out(problem: Problem, otherwise: str) -> Problem:
    fix = f"{problem.fix}; {otherwise}" if problem.fix else otherwise
    return Problem(problem.path, problem.line, problem.key, problem.what, fix)
