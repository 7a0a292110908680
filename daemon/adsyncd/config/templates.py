"""Texts of a profile that may hold placeholders: their plain form, and where they stand in a table."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from adsyncd.config.toml_file import Key
from adsyncd.model.profile import Texts


def as_texts(texts: Mapping[str, str]) -> Texts:
    """Return a table of texts as a value."""
    return tuple(texts.items())


def as_json(value: Mapping[str, Any] | None) -> str | None:
    """Return a table as JSON, as it is sent."""
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def leaves(key: Key, value: object) -> Iterator[tuple[Key, str]]:
    """Yield the texts in a value, each with its key."""
    match value:
        case str():
            yield key, value
        case dict():
            for name, inner in value.items():
                yield from leaves((*key, name), inner)
        case list():
            for inner in value:
                yield from leaves(key, inner)
