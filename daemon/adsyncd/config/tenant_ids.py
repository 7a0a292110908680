"""Tenants' ids for the completion of a shell, which asks at each Tab: nothing is validated, and little is imported."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from adsyncd.config.names import CONFIG_VARIABLE, DEFAULT_PATH, DEFAULT_TENANTS_DIR, PREFIX
from adsyncd.config.toml_file import read_toml
from adsyncd.errors import ConfigError
from adsyncd.model.tenant import TENANT_ID

_DROP_IN = re.compile(rf"({TENANT_ID})\.toml")
_DIRS = "tenants_dirs"


def tenant_ids(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the ids of all drop-ins, sorted. `arguments`: none, or --config and its file.

    Raises nothing: settings and folders that can't be read have no ids.
    """
    match arguments:
        case ["--config", file]:
            path = Path(file)
        case _:
            path = Path(environ.get(CONFIG_VARIABLE) or DEFAULT_PATH)
    try:
        folders = _folders(path, environ)
    except (ConfigError, ValueError, RecursionError):
        return []
    names = (name for folder in folders for name in _names(folder))
    return sorted({found[1] for name in names if (found := _DROP_IN.fullmatch(name))})


def _folders(path: Path, environ: Mapping[str, str]) -> list[str]:
    """Return the folders of drop-ins. Raises ConfigError, ValueError or RecursionError if the settings hide them."""
    given = environ.get(f"{PREFIX}{_DIRS.upper()}")
    folders = (
        json.loads(given) if given is not None else read_toml(path, "").data.get(_DIRS, [str(DEFAULT_TENANTS_DIR)])
    )
    if not isinstance(folders, list):
        return []
    return [folder for folder in folders if isinstance(folder, str) and folder.startswith("/")]  # others are refused


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all it takes
    except (OSError, ValueError):  # ValueError: a null character
        return []
