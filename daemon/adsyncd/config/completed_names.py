"""Names for the completion of a shell, which asks at each Tab: nothing is validated, and little is imported."""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from adsyncd.config.names import CONFIG_VARIABLE, DEFAULT_PATH, DEFAULT_STORE_URL, DEFAULT_TENANTS_DIR, PREFIX
from adsyncd.config.toml_file import read_toml
from adsyncd.errors import ConfigError
from adsyncd.model.tenant import TENANT_ID

_UNREADABLE = ConfigError, ValueError, RecursionError
_DIRS = "tenants_dirs"
_DROP_IN = re.compile(rf"({TENANT_ID})\.toml")
_NAME = re.compile("[a-z0-9][a-z0-9_-]*")  # of a tenant or a platform: no word of a shell
_PLATFORM = re.compile(f"{PREFIX}PLATFORMS__([A-Z0-9_]+?)__.+")
_SQLITE_FILE = re.compile("sqlite:///(/[^?]+)")
_WITHIN_S = 0.5
# The first tenant, and from each the next: two look-ups a tenant, as store/search does.
_TENANTS_OF = """
    WITH RECURSIVE found(tenant) AS (
        SELECT min(tenant) FROM {table}
        UNION ALL
        SELECT (SELECT min(tenant) FROM {table} WHERE tenant > found.tenant) FROM found WHERE found.tenant IS NOT NULL
    )
    SELECT tenant FROM found WHERE tenant IS NOT NULL
"""


def tenant_ids(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the ids of all drop-ins, sorted. `arguments`: none, or --config and its file.

    Raises nothing: settings and folders that can't be read have no ids.
    """
    try:
        folders = _folders(arguments, environ)
    except _UNREADABLE:
        return []
    names = (name for folder in folders for name in _names(folder))
    return _words(found[1] for name in names if (found := _DROP_IN.fullmatch(name)))


def stored_ids(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the tenants on record, those without a drop-in included, sorted. Takes and raises as `tenant_ids`.

    If the database is not a file, or can't be read, it returns the ids of the drop-ins.
    """
    try:
        if found := _SQLITE_FILE.fullmatch(_store_url(arguments, environ)):
            return _words(_recorded(found[1]))
    except _UNREADABLE:
        pass
    return tenant_ids(arguments, environ)


def platform_names(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the names of the platforms in the settings, sorted. Takes and raises as `tenant_ids`."""
    try:
        named = set(_table("platforms", arguments, environ))
    except _UNREADABLE:
        named = set()
    spelt = {name.replace("-", "_") for name in named}  # as variables have it
    added = {found[1].lower() for variable in environ if (found := _PLATFORM.fullmatch(variable))}
    return _words(named | (added - spelt))


# The hidden commands that completions run.
COMPLETING: Mapping[str, Callable[[Sequence[str], Mapping[str, str]], list[str]]] = {
    "__tenants": tenant_ids,
    "__stored": stored_ids,
    "__platforms": platform_names,
}


def _words(names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if _NAME.fullmatch(name)})


def _settings(arguments: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the content of the settings. Raises ConfigError, ValueError or RecursionError if it can't be read."""
    match arguments:
        case ["--config", file]:
            path = Path(file)
        case _:
            path = Path(environ.get(CONFIG_VARIABLE) or DEFAULT_PATH)
    return read_toml(path, "").data


def _table(name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    table = _settings(arguments, environ).get(name, {})
    return table if isinstance(table, dict) else {}


def _folders(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the folders of drop-ins. Raises as `_settings` does."""
    given = environ.get(f"{PREFIX}{_DIRS.upper()}")
    default = [str(DEFAULT_TENANTS_DIR)]
    folders = json.loads(given) if given is not None else _settings(arguments, environ).get(_DIRS, default)
    if not isinstance(folders, list):
        return []
    return [folder for folder in folders if isinstance(folder, str) and folder.startswith("/")]  # others are refused


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all it takes
    except (OSError, ValueError):  # ValueError: a null character
        return []


def _store_url(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return the address of the database, empty if it is not plain to see. Raises as `_settings` does."""
    if f"{PREFIX}STORE" in environ:  # a whole table
        return ""
    given = environ.get(f"{PREFIX}STORE__URL")
    url = given if given is not None else _table("store", arguments, environ).get("url", DEFAULT_STORE_URL)
    return url if isinstance(url, str) else ""


def _recorded(file: str) -> list[str]:
    """Return the tenants in a database, without making a file beside it. Raises ValueError if it can't be read."""
    import sqlite3  # noqa: PLC0415 - the other names need none of it

    in_use = all(Path(f"{file}{end}").exists() for end in ("-wal", "-shm"))
    place = f"file:{quote(file)}?{'mode=ro' if in_use else 'immutable=1'}"
    queries = [_TENANTS_OF.format(table=table) for table in ("campaigns", "runs")]
    try:
        with closing(sqlite3.connect(place, timeout=_WITHIN_S, uri=True)) as connection:
            return [tenant for query in queries for (tenant,) in connection.execute(query)]
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error
