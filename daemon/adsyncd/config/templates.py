"""The tables of a profile that hold texts with placeholders, as plain values."""

import json
from collections.abc import Mapping
from typing import Any

from adsyncd.model.profile import Texts


def as_texts(texts: Mapping[str, str]) -> Texts:
    """Return a table of texts as a value."""
    return tuple(texts.items())


def as_headers(texts: Mapping[str, str]) -> Texts:
    """Return a table of header fields as a value, named in lower case."""
    return tuple((name.lower(), text) for name, text in texts.items())


def as_json(value: Mapping[str, Any] | None) -> str | None:
    """Return a table as JSON, as it is sent."""
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
