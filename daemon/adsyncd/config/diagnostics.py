"""Turns pydantic's errors about a configuration into plain messages, each with its fix.

Pydantic's own messages quote values; these never quote the value of a key that may hold a secret.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError, PydanticUndefined

from adsyncd.config.toml_file import Key
from adsyncd.duration import format_duration
from adsyncd.errors import Problem
from adsyncd.model.status import counted

ANY_NAME = "*"
ANY_ITEM = "#"

SECRET = re.compile(r"secret|token|passw|credential|auth|proxy|api_?key|^(sign_in|headers|basic)$", re.IGNORECASE)
_UNSHOWN = ("union_tag", "string_unicode")  # kinds of errors that do not show the value
_LONGEST_ECHO = 60
_LONGEST_KEY = 200
_MOST_SHOWN = 50
_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "enum": "{expected}",
    "finite_number": "a number",
    "float_type": "a number",
    "int_type": "a whole number",
    "literal_error": "{expected}",
    "model_attributes_type": "a table",
    "model_type": "a table",
    "path_type": "text in quotes",
    "string_type": "text in quotes",
    "string_unicode": "UTF-8 text",
    "tuple_type": "an array",
}
_RULES = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must not be empty",
    "union_tag_invalid": "must have one of the methods {expected_tags}",
    "union_tag_not_found": "must have a method",
}


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A problem without its file and line yet: the key, what is wrong, and the fix."""

    key: Key
    what: str
    fix: str


def wrong(what: str, fix: str = "", *, echo: bool = True) -> PydanticCustomError:
    """Return an error for a validator to raise. The fix defaults to the key's example; `echo` shows the value."""
    return PydanticCustomError("wrong", "{what}", {"what": what, "fix": fix, "echo": echo})


def diagnose(error: ValidationError, model: type[BaseModel]) -> list[Diagnostic]:
    """Return a diagnostic for each error in an input for `model`, at most `_MOST_SHOWN`."""
    known = known_keys(model)
    found = [_diagnostic(detail, known) for detail in islice(error.errors(include_url=False), _MOST_SHOWN)]
    left = error.error_count() - len(found)
    if left:
        found.append(Diagnostic((), f"has {counted(left, 'more problem')}", "check that it is the right file"))
    return found


def key_name(key: Key) -> str | None:
    """Return a key as problems name it, cut if it is long; None for the whole file."""
    text = ".".join(key)
    return (text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}...") or None


@cache
def known_keys(model: type[BaseModel]) -> dict[Key, FieldInfo]:
    """Return all keys of a model and its tables.

    `ANY_NAME` stands for a name that the user chooses, `ANY_ITEM` for a table's index in an array.
    """
    return dict(_walk(model, ()))


def in_order(problem: Problem) -> tuple[bool, str, int, str]:
    """Return a sort key for problems: by file, line and key, those without a file last."""
    return problem.path is None, str(problem.path), problem.line or 0, problem.key or ""


def _walk(model: type[BaseModel], above: Key) -> Iterator[tuple[Key, FieldInfo]]:
    for attribute, field in model.model_fields.items():
        if field.exclude:  # it is there only to say where it has moved
            continue
        name = field.alias or attribute
        yield (*above, name), field
        for table, names in _tables(field.annotation):
            yield from _walk(table, (*above, name, *names))


def _tables(annotation: Any) -> Iterator[tuple[type[BaseModel], Key]]:  # noqa: ANN401 - an annotation can be anything
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, ()
    names = {dict: (ANY_NAME,), tuple: (ANY_ITEM,)}.get(get_origin(annotation), ())
    for argument in get_args(annotation):
        for table, inner in _tables(argument):
            yield table, (*names, *inner)


def _diagnostic(detail: ErrorDetails, known: dict[Key, FieldInfo]) -> Diagnostic:
    key = _key(detail["loc"], known)
    example = _example(key, known.get(_general(key, known)))
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return Diagnostic(key, "is missing", f"add {example}" if example else "")
    if kind == "extra_forbidden":
        return Diagnostic(key, "unknown key", _nearest(key, known))
    fix = f"for example {example}" if example else ""
    if kind == "wrong":
        what, fix = context["what"], context["fix"] or fix
    else:
        rule = _RULES.get(kind) or f"expected {_EXPECTED.get(kind, 'another value')}"
        what = rule.format(**context).replace("'", '"')
    got = f", got {_echo(key, detail['input'])}" if context.get("echo", not kind.startswith(_UNSHOWN)) else ""
    return Diagnostic(key, what + got, fix)


def _key(location: tuple[int | str, ...], known: dict[Key, FieldInfo]) -> Key:
    """Return the key as the file has it, without pydantic's mark of a bad name and its unions' tags."""
    key: Key = ()
    tagged = False
    for part in location:
        if not tagged and part != "[key]":
            key = (*key, str(part))
        field = known.get(key)
        tagged = not tagged and field is not None and field.discriminator is not None
    return key


def _general(key: Key, known: dict[Key, FieldInfo]) -> Key:
    """Return `key` with `ANY_NAME` and `ANY_ITEM` in the place of the user's own names."""
    general: Key = ()
    for part in key:
        steps = ((*general, any_one) for any_one in (ANY_NAME, ANY_ITEM))
        known_step = (step for step in steps if any(other[: len(step)] == step for other in known))
        general = next(known_step, (*general, part))
    return general


def _nearest(key: Key, known: dict[Key, FieldInfo]) -> str:
    """Return the fix for an unknown key: the nearest known key, or all known keys."""
    around, name = _general(key, known)[:-1], key[-1]
    siblings = [other[-1] for other in known if other[:-1] == around]
    if name in siblings:
        return "it belongs to another method: remove it"
    if near := get_close_matches(name, siblings, 1):
        return f'did you mean "{near[0]}"?'
    if elsewhere := [".".join(other) for other in known if other[-1] == name]:
        return f'did you mean "{elsewhere[0]}"?'
    return f"known keys are {', '.join(sorted(siblings))}"


def _example(key: Key, field: FieldInfo | None) -> str:
    """Return a valid line for a key, from its example or default; empty if it has neither."""
    if field is None:
        return ""
    value = field.examples[0] if field.examples else field.default
    if value is None or value is PydanticUndefined or isinstance(value, BaseModel):
        return ""
    return f"{key[-1]} = {as_toml(value)}"


def _echo(key: Key, value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    if any(SECRET.search(part) for part in key):
        return "a hidden value"
    text = as_toml(value)
    return text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}..."


def as_toml(value: object) -> str:
    """Return a value as TOML has it, a duration as its text."""
    match value:
        case bool():
            return str(value).lower()
        case timedelta():
            return f'"{format_duration(value)}"'
        case str() | Path():
            return json.dumps(str(value), ensure_ascii=False)
        case dict() if value:
            return f"{{ {', '.join(f'{name} = {as_toml(inner)}' for name, inner in value.items())} }}"
        case tuple() | list():
            return f"[{', '.join(as_toml(inner) for inner in value)}]"
    return str(value)
