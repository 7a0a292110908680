"""Texts and JSON with placeholders such as {account}, compared with what a client sent; and values at dotted paths."""

import re
from functools import lru_cache

from pydantic import JsonValue

Found = dict[str, str]

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)?)\}")


def match(template: JsonValue, sent: JsonValue) -> Found | None:
    """Return the values that stand in `sent` for the placeholders, by name, or None if the two do not fit.

    Objects may have more than the template. A placeholder that stands twice has the same value twice.
    """
    found: Found = {}
    return found if _fits(template, sent, found) else None


def _fits(template: JsonValue, sent: JsonValue, found: Found) -> bool:
    match template:
        case str():
            return isinstance(sent, str) and _text_fits(template, sent, found)
        case dict():
            if not isinstance(sent, dict):
                return False
            return all(key in sent and _fits(value, sent[key], found) for key, value in template.items())
        case list():
            if not isinstance(sent, list) or len(sent) != len(template):
                return False
            return all(_fits(one, other, found) for one, other in zip(template, sent, strict=True))
    return template == sent


def _text_fits(template: str, sent: str, found: Found) -> bool:
    shape, names = _shape(template)
    matched = shape.fullmatch(sent)
    if matched is None:
        return False
    return all(found.setdefault(name, value) == value for name, value in zip(names, matched.groups(), strict=True))


@lru_cache(maxsize=1024)
def _shape(template: str) -> tuple[re.Pattern[str], list[str]]:
    # Literal texts and names take turns. A secret may hold anything, all else is a part of an address.
    parts = _PLACEHOLDER.split(template)
    names = parts[1::2]
    for index, name in enumerate(parts):
        parts[index] = re.escape(name) if index % 2 == 0 else "(.+)" if "." in name else "([^/?&]+)"
    return re.compile("".join(parts)), names


def put(body: JsonValue, path: str, value: JsonValue) -> JsonValue:
    """Return `body` with a value at a dotted path; "" is the body itself."""
    if not path:
        return value
    name, _, rest = path.partition(".")
    inner = dict(body) if isinstance(body, dict) else {}
    inner[name] = put(inner.get(name), rest, value)
    return inner
