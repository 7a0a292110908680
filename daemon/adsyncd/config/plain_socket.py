"""The control socket of settings in which it is plain to see: to have the settings validated takes a client 0.2 s."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from adsyncd.config.names import DEFAULT_SOCKET, LONGEST_SOCKET, PREFIX
from adsyncd.config.toml_file import read_toml
from adsyncd.errors import ConfigError

_GROUP = re.compile("[a-z_][a-z0-9_-]*")
_ABSOLUTE = re.compile("/.*")


def plain_socket(path: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the control socket, or None where a variable or anything odd has a say: see `control_socket`."""
    if any(name.startswith(f"{PREFIX}CONTROL") for name in environ):
        return None
    try:
        table = read_toml(path, "").data.get("control", {})
    except ConfigError:
        return None
    if not isinstance(table, dict) or not table.keys() <= {"socket", "group"}:
        return None
    socket, group = table.get("socket", str(DEFAULT_SOCKET)), table.get("group", "root")
    if not isinstance(socket, str) or not isinstance(group, str) or not _GROUP.fullmatch(group):
        return None
    return Path(socket) if _ABSOLUTE.fullmatch(socket) and len(os.fsencode(socket)) <= LONGEST_SOCKET else None
