"""Finds and reads the profiles of platforms.

A profile decides where credentials are sent, so its file and folder are guarded as drop-ins are.
"""

import os
import stat
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from adsyncd.config.diagnostics import diagnose, in_order, key_name
from adsyncd.config.file_access import Custodians
from adsyncd.config.profile_checks import misfits
from adsyncd.config.profile_tables import ProfileFile
from adsyncd.config.toml_file import MAX_DROP_IN_BYTES, TomlFile, place, read_toml, unreadable
from adsyncd.errors import ConfigError, Problem
from adsyncd.model.profile import Profile

BUILT_IN = "adsyncd"
SHIPPED = Path(__file__).parent.parent / "profiles"

_DEEPEST = 32  # levels of tables and arrays
_ITSELF = "put the profile itself there"


def shipped_profile(name: str = BUILT_IN) -> Profile:
    """Return a profile that adsyncd has; these files do not change, and are read once."""
    return _shipped(name)


@cache
def _shipped(name: str) -> Profile:
    return load_profile(SHIPPED / f"{name}.toml")


@cache
def shipped_names() -> tuple[str, ...]:
    """Return the names of the profiles that adsyncd has."""
    return tuple(sorted(file.stem for file in SHIPPED.glob("*.toml")))


def find_profile(named: str) -> Path:
    """Return the file of a profile. `named`: a path, or the name of a profile that adsyncd has."""
    return Path(named) if "/" in named else SHIPPED / f"{named}.toml"


def load_profile(path: Path) -> Profile:
    """Read a profile. Raises ConfigError with all problems, also if others may change the file or its folder."""
    file = _read(path)
    try:
        table = ProfileFile.model_validate(file.data)
        found = list(misfits(table))
    except ValidationError as error:
        found = diagnose(error, ProfileFile)
    if found:
        problems = [Problem(*place(one.key, [file]), key_name(one.key), one.what, one.fix) for one in found]
        raise ConfigError(sorted(problems, key=in_order))
    return table.profile(path.stem)


def _read(path: Path) -> TomlFile:
    absent = f"create it, or name one that adsyncd has: {', '.join(shipped_names())}"
    try:
        objection = None if path.parent == SHIPPED else _objection(path)
    except OSError as error:
        objection = unreadable(path, error, absent)
    if objection:
        raise ConfigError([objection])
    file = read_toml(path, absent, MAX_DROP_IN_BYTES)
    if _is_deep(file.data):
        raise ConfigError([Problem(path, None, None, f"has more than {_DEEPEST} levels of tables", "flatten it")])
    return file


def _objection(path: Path) -> Problem | None:
    """Return why a file must not be read. Raises OSError."""
    if stat.S_ISLNK(path.lstat().st_mode) and not _leads_into(path.parent, path):
        return Problem(path, None, None, "is a link to a file outside of its folder", _ITSELF)
    status, custodians = path.stat(), Custodians(os.geteuid())
    if not stat.S_ISREG(status.st_mode):  # a pipe would block, a device may never end
        return Problem(path, None, None, "is not a regular file", _ITSELF)
    return custodians.objection(path.parent, path.parent.stat()) or custodians.objection(path, status)


def _leads_into(folder: Path, link: Path) -> bool:
    return Path(os.path.realpath(link)).is_relative_to(os.path.realpath(folder))


def _is_deep(data: object) -> bool:
    level = [data]
    for _ in range(_DEEPEST + 1):
        level = [inner for value in level for inner in _inside(value)]
    return bool(level)


def _inside(value: object) -> list[object]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
    return []
