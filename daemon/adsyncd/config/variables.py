"""Settings from the environment: any key as `ADSYNCD_SECTION__KEY`, which overrides the file."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from adsyncd.config.field_types import Variable
from adsyncd.config.names import CONFIG_VARIABLE, LOG_LEVEL_VARIABLE, PREFIX
from adsyncd.config.toml_file import Key
from adsyncd.errors import Problem

_NEAR = 0.8


@dataclass(frozen=True, slots=True)
class Overlay:
    """Settings overridden by the environment, the variable behind each overridden key, and bad variables."""

    data: dict[str, Any]
    variables: dict[Key, str]
    problems: list[Problem]

    def variable(self, key: Key) -> str | None:
        """Return the variable that set `key`, a table around it or a part of it; None if none did."""
        around = [key[:length] for length in range(len(key), 0, -1)]
        parts = [other for other in self.variables if other[: len(key)] == key]
        return next((self.variables[other] for other in [*around, *parts] if other in self.variables), None)


def overlay(data: dict[str, Any], environ: Mapping[str, str], known: Collection[Key]) -> Overlay:
    """Override `data`, in place, by the variables that are settings.

    A variable is a setting if its first part is a known key or it has more than one part. Others belong to somebody
    else (an orchestrator, a tenant's credentials) and are ignored, unless they are a setting's name misspelled.
    """
    names = {"__".join(key).upper() for key in known}
    result = Overlay(data, {}, [])
    for name in sorted(environ):  # a table comes before the keys in it
        if not name.startswith(PREFIX) or name in {CONFIG_VARIABLE, LOG_LEVEL_VARIABLE}:
            continue
        bare = name.removeprefix(PREFIX)
        key = tuple(bare.lower().split("__"))
        if len(key) > 1 or key[:1] in known:
            _lay(key, name, environ[name], result)
        elif near := get_close_matches(bare, names, 1, _NEAR):
            result.problems.append(Problem(None, None, name, "unknown variable", f"did you mean {PREFIX}{near[0]}?"))
    return result


def _lay(key: Key, name: str, text: str, onto: Overlay) -> None:
    value: Any = Variable(text)
    if text.lstrip().startswith(("[", "{")):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            onto.problems.append(Problem(None, None, name, "is not JSON", 'write it like ["/etc/adsyncd/tenants.d"]'))
            return
    table = onto.data
    spelt: Key = ()
    for part in key[:-1]:
        name_here = _spelt(part, table)
        spelt = (*spelt, name_here)
        if not isinstance(table.get(name_here), dict):
            table[name_here] = {}
        table = table[name_here]
    last = _spelt(key[-1], table)
    table[last] = value
    onto.variables[*spelt, last] = name


def _spelt(part: str, table: dict[str, Any]) -> str:
    """Return the key that `part` means: a platform's name may have hyphens, a variable's can't."""
    return next((key for key in table if key.replace("-", "_") == part), part)
