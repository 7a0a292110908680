"""Finds and reads the profiles of platforms.

Whoever can change a profile decides where credentials are sent, so its file is guarded as the settings are.
"""

import os
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from adsyncd.config.diagnostics import diagnose, in_order, key_name
from adsyncd.config.file_access import Custodians
from adsyncd.config.profile_tables import ProfileFile
from adsyncd.config.toml_file import place, read_toml
from adsyncd.errors import ConfigError, Problem
from adsyncd.model.profile import Profile

BUILT_IN = "adsyncd"
SHIPPED = Path(__file__).parent.parent / "profiles"


@cache
def shipped_profile(name: str = BUILT_IN) -> Profile:
    """Return a profile that adsyncd has; these files do not change."""
    return load_profile(SHIPPED / f"{name}.toml")


def shipped_names() -> list[str]:
    """Return the names of the profiles that adsyncd has."""
    return sorted(file.stem for file in SHIPPED.glob("*.toml"))


def find_profile(named: str) -> Path:
    """Return the file of a profile. `named`: a path, or the name of a profile that adsyncd has."""
    return Path(named) if "/" in named else SHIPPED / f"{named}.toml"


def load_profile(path: Path) -> Profile:
    """Read a profile. Raises ConfigError with all problems, also if others may change the file."""
    file = read_toml(path, f"create it, or name one that adsyncd has: {', '.join(shipped_names())}")
    if path.parent != SHIPPED and (objection := Custodians(os.geteuid()).objection(path, path.stat())):
        raise ConfigError([objection])
    try:
        table = ProfileFile.model_validate(file.data)
        found = list(table.misplaced())
    except ValidationError as error:
        found = diagnose(error, ProfileFile)
    if found:
        problems = [Problem(*place(one.key, [file]), key_name(one.key), one.what, one.fix) for one in found]
        raise ConfigError(sorted(problems, key=in_order))
    return table.profile(path.stem)
