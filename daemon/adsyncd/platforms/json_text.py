"""JSON as platforms send it, read with lenience, and as the store keeps it: compact, in ASCII, with sorted keys."""

import codecs
import json
import math
import re

from adsyncd.platforms.wire import check_size, no_json, unlike_the_api

_LONGEST_INTEGER = 4300  # digits that Python reads
_TOO_DEEP = 200
_TOKENS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)  # strings, and what nests


def parsed(body: bytes) -> object:
    """Return what JSON says. A number that is too large, or a byte that is not UTF-8, spoils only its own value.

    Raises `BadAnswer` if it is no JSON, or has very many objects.
    """
    check_size(body)
    text = body.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    try:
        try:
            return _DECODER.decode(text)
        except RecursionError:
            return _DECODER.decode(_shallow(text))
    except ValueError:
        raise unlike_the_api(no_json(body)) from None


def compact(value: object) -> str:
    """Return a value's JSON. Raises `ValueError` for a number that JSON does not have, and `RecursionError`."""
    return _ENCODER.encode(value)


def _shallow(text: str) -> str:
    """Return JSON in which each list or object that is nested too deeply is replaced by a text."""
    parts, read_to, depth = [], 0, 0
    for token in _TOKENS.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth == _TOO_DEEP:
                parts += [text[read_to : token.start()], '"nested too deeply"']
        elif token[0] in "]}":
            if depth == _TOO_DEEP:
                read_to = token.end()
            depth -= 1
    return "".join(parts) + text[read_to:]


def _float(spelled: str) -> float | str:
    value = float(spelled)
    return value if math.isfinite(value) else spelled


def _integer(spelled: str) -> int | str:
    return int(spelled) if len(spelled) <= _LONGEST_INTEGER else spelled


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(parse_float=_float, parse_int=_integer, parse_constant=str)
