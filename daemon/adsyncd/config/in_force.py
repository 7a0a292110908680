"""The values in force, each with its origin: a file and a line, a variable, or the default.

The origins of a tenant's values are merged by the function that merges the values.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial, reduce
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from adsyncd.config.diagnostics import ANY_NAME, SECRET
from adsyncd.config.dropins import merge, merged
from adsyncd.config.field_types import Authorities
from adsyncd.config.platform_reader import PlatformReader
from adsyncd.config.profile_file import find_profile
from adsyncd.config.settings import Loaded, Settings
from adsyncd.config.toml_file import MAX_DROP_IN_BYTES, Key, TomlFile, place, read_toml
from adsyncd.duration import format_duration
from adsyncd.errors import ConfigError
from adsyncd.model.tenant import Cron, Tenant

HIDDEN = "(hidden)"

# Keys with the name of a secret, or of its place. A proxy's address with a password is refused.
_PLACES = {"credential", "env", "file", "vault", "wrapped", "role", "method", "url"}
_LOGIN = re.compile("://[^@]*:[^@]*@")


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a value: a file's path, with the line; a variable's name; or `default`. `written`: as it has it."""

    source: str
    line: int | None = None
    written: object = None


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Value:
    """A value in force as JSON and TOML have it, a duration as it was written. A secret is hidden."""

    key: Key
    value: object
    origin: Origin


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A value of a model. `general`: its key with `ANY_NAME` for a platform's name."""

    key: Key
    general: Key
    value: object
    field: FieldInfo
    is_set: bool


def settings_values(loaded: Loaded) -> list[Value]:
    """Return the values of the settings; of `[defaults]` those that are stated."""
    leaves = _leaves(loaded.settings, (), (), is_set=True)
    stated = (leaf for leaf in leaves if leaf.is_set or leaf.key[0] != "defaults")
    values = [_value(leaf, _origin(leaf.key, loaded) if leaf.is_set else DEFAULT) for leaf in stated]
    return list(_with_addresses(values, loaded.settings))


def tenant_values(loaded: Loaded, files: Sequence[TomlFile], tenant: Tenant) -> list[Value]:
    """Return the values of a tenant and then those of its platform.

    `files`: its drop-in and overrides, as they count. Raises ConfigError if its profile has changed to a bad one.
    """
    defaults = loaded.settings.defaults.model_dump(exclude_unset=True)
    origins = reduce(
        merge,
        (_each(file.data, (), partial(_of_file, file=file)) for file in files),
        _each(defaults, ("defaults",), partial(_origin, loaded=loaded)),
    )
    leaves = _leaves(merged(defaults, files), (), (), is_set=True)
    values = []
    for leaf in leaves:
        found = _found(origins, leaf.key) if leaf.is_set else DEFAULT
        values.append(_value(leaf, found if isinstance(found, Origin) else _of_empty(leaf.key, files, loaded)))
    own = [_fitted(value, loaded.settings, tenant) for value in values if _has_effect(value.key, tenant)]
    return own + [one for one in settings_values(loaded) if one.key[:2] == ("platforms", tenant.platform.name)]


def _leaves(table: BaseModel, above: Key, general: Key, *, is_set: bool) -> Iterator[_Leaf]:
    for attribute, field in type(table).model_fields.items():
        value, name = getattr(table, attribute), field.alias or attribute
        known = is_set and attribute in table.model_fields_set
        match value:
            case None:
                pass
            case BaseModel():
                yield from _leaves(value, (*above, name), (*general, name), is_set=known)
            case dict() if value:
                for each, inner in value.items():
                    key = (*above, name, each)
                    if isinstance(inner, BaseModel):
                        yield from _leaves(inner, key, (*general, name, ANY_NAME), is_set=known)
                    else:
                        yield _Leaf(key, (*general, name, each), inner, field, known)
            case _:
                yield _Leaf((*above, name), (*general, name), value, field, known)


def _value(leaf: _Leaf, origin: Origin) -> Value:
    return Value(leaf.key, HIDDEN if _is_secret(leaf) else _plain(leaf.value, origin.written), origin)


def _is_secret(leaf: _Leaf) -> bool:
    is_named = any(SECRET.search(part) for part in leaf.general) and leaf.key[-1] not in _PLACES
    if not is_named and leaf.general == ("store", "url"):
        text = str(leaf.value)
        return bool(_LOGIN.search(text) or SECRET.search(unquote(text.partition("?")[2])))
    return is_named or leaf.field.repr is False


def _plain(value: object, written: object) -> object:
    match value:
        case timedelta():
            plain: object = str(written) if isinstance(written, str) else format_duration(value)
        case bool() | int() | float():
            plain = value
        case Authorities(path):
            plain = str(path)
        case BaseModel():
            plain = {name: _plain(inner, _at(written, name)) for name, inner in value}
        case tuple():
            plain = [_plain(inner, _at(written, number)) for number, inner in enumerate(value)]
        case dict():  # of names, and empty
            plain = {}
        case _:
            plain = str(value)
    return plain


def _at(written: object, place: str | int) -> object:
    match written, place:
        case dict(), str():
            return written.get(place)
        case list(), int():
            return written[place]
    return None


def _each(data: Mapping[str, Any], above: Key, of: Callable[[Key], Origin]) -> dict[str, Any]:
    """Return tables with an origin in the place of each value."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        key = (*above, name)
        found[name] = _each(value, key, of) if isinstance(value, dict) else of(key)
    return found


def _found(data: Mapping[str, Any], key: Key) -> Any:  # noqa: ANN401 - an origin, or what TOML can hold
    """Return what tables have at a key; at the table around it if that is short for it, such as `proxy = "..."`."""
    value: Any = data
    for name in key:
        if not isinstance(value, dict):
            break
        value = value.get(name)
    return value


def _origin(key: Key, loaded: Loaded) -> Origin:
    """Return the origin of a key that is set in the settings."""
    if variable := loaded.laid.variable(key):
        return Origin(variable, None, _found(loaded.laid.data, key))
    return _of_file(key, loaded.file)


def _of_file(key: Key, file: TomlFile) -> Origin:
    path, line = place(key, [file])
    return Origin(str(path), line, _found(file.data, key))


def _of_empty(key: Key, files: Sequence[TomlFile], loaded: Loaded) -> Origin:
    """Return the origin of an empty table, which has no value to merge: the last file that states it."""
    stated = (_of_file(key, file) for file in reversed(files) if key in file.lines)
    return next(stated, None) or _origin(("defaults", *key), loaded)


def _with_addresses(values: Sequence[Value], settings: Settings) -> Iterator[Value]:
    """Add the address of each platform whose profile states it."""
    platforms = PlatformReader().read(settings.platforms, 0).good
    stated = {value.key for value in values}
    for value in values:
        yield value
        if value.key[0] == "platforms" and value.key[2:] == ("profile",):
            name, key = value.key[1], (*value.key[:2], "base_url")
            if name in platforms and key not in stated:
                origin = _of_profile(("base_url",), settings, name)
                yield Value(key, platforms[name].base_url, origin)


def _has_effect(key: Key, tenant: Tenant) -> bool:
    return key != ("schedule", "timezone") or isinstance(tenant.schedule, Cron)


def _fitted(value: Value, settings: Settings, tenant: Tenant) -> Value:
    """Return a value as the platform's profile bounds it."""
    bounds = {("sync", "page_size"): ("list", "page_size"), ("sync", "push"): ("push",)}
    if value.key not in bounds:
        return value
    in_force = _plain(getattr(tenant.sync, value.key[-1]), None)
    if in_force == value.value:
        return value
    return replace(value, value=in_force, origin=_of_profile(bounds[value.key], settings, tenant.platform.name))


def _of_profile(key: Key, settings: Settings, platform: str) -> Origin:
    path = find_profile(settings.platforms[platform].profile)
    with suppress(ConfigError):  # it was read just before
        return replace(_of_file(key, read_toml(path, "", MAX_DROP_IN_BYTES)), written=None)
    return Origin(str(path))
