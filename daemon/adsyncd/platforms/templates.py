"""Fills the placeholders in the texts of a profile. See `adsyncd.model.profile`."""

import json
from collections.abc import Callable, Mapping

from adsyncd.model.profile import PLACEHOLDER

_JSON = json.JSONEncoder(ensure_ascii=False)


def filled(text: str, values: Mapping[str, str], quoted: Callable[[str], str] = str) -> str:
    """Return a text whose placeholders are filled with `values`, by name, each `quoted`. Others stay as they are."""
    return PLACEHOLDER.sub(lambda found: quoted(values[found[1]]) if found[1] in values else found[0], text)


def in_json(value: str) -> str:
    """Return a value as it stands within the quotation marks of a JSON text."""
    return _JSON.encode(value)[1:-1]
