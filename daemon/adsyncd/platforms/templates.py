"""Fills the placeholders in the texts of a profile. See `adsyncd.model.profile`."""

import json
from collections.abc import Callable, Iterable, Mapping

from adsyncd.credentials import Credentials
from adsyncd.model.profile import PLACEHOLDER, SECRET, placeholders

_JSON = json.JSONEncoder(ensure_ascii=False)


def filled(text: str, values: Mapping[str, str], quoted: Callable[[str], str] = str) -> str:
    """Return a text whose placeholders are filled with `values`, by name, each `quoted`. Others stay as they are."""
    return PLACEHOLDER.sub(lambda found: quoted(values[found[1]]) if found[1] in values else found[0], text)


def route(path: str) -> str:
    """Return a path as traces and metrics name it: its placeholders stay, and the query goes.

    So it has few values (semantic conventions: `url.template`), and none of a tenant's.
    """
    return path.partition("?")[0].replace("{id}", "{campaign_id}")


def in_json(value: str) -> str:
    """Return a value as it stands within the quotation marks of a JSON text."""
    return _JSON.encode(value)[1:-1]


def fields(texts: Iterable[tuple[str, str]], values: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return header fields whose placeholders are filled."""
    return [(name.lower().encode("ascii"), filled(text, values).encode("utf-8")) for name, text in texts]


def holds_secret(text: str) -> bool:
    """Whether a text has a placeholder for a secret."""
    return any(name.startswith(SECRET) for name in placeholders(text))


def secret_values(credentials: Credentials) -> dict[str, str]:
    """Return the values of placeholders that are secrets."""
    return {SECRET + name: secret.get_secret_value() for name, secret in credentials.secrets.items()}
