"""A platform's own words, as far as they may be repeated: one line, cut short, without a piece of any secret.

A platform may send back what it received: unchanged, encoded, or in part. In doubt its words are left out.
"""

import base64
import html
import re
import unicodedata
from collections.abc import Iterator
from itertools import chain, islice
from urllib.parse import unquote

from pydantic import SecretStr

_SHOWN = 200  # characters
_SEARCHED = 1000  # characters, for secrets
_PIECE = 8  # characters of a secret in a row must not be shown
_BLOCK, _STEP = 5, 4  # each piece contains one of the blocks that begin at every fourth character
_TELLING = 4  # a shorter encoded secret may occur in any text by chance
_KEPT = 16  # secrets that are out of use
_DEPTH = 3  # of escapes within escapes, and of objects within objects
_MOST = 5  # texts of one list

_KEYS = ("error", "message", "title", "detail", "description", "error_description", "reason", "errors")
_TERMINAL_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # ECMA-48, 5.4: control sequences
    r"|(?:\x1b[PX\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # 5.6: control strings
    r"|\x1b[ -/]*[0-~]?"
)
_HEX_ESCAPE = re.compile(r"(?:\\x|=)([0-9a-f]{2})", re.IGNORECASE)
_NEITHER_LETTER_NOR_DIGIT = re.compile(r"[\W_]+")
_UNICODE_ESCAPES = re.compile(r"(?:\\u[0-9a-f]{4})+", re.IGNORECASE)


class Secrets:
    """The secrets that a session sends: those in use, and a number of the latest that were."""

    def __init__(self) -> None:
        self._in_use: dict[str, tuple[SecretStr, ...]] = {}
        self._kept: dict[SecretStr, None] = {}

    def use(self, part: str, *secrets: SecretStr) -> None:
        """Remember the secrets in use of a `part`, as long as no others are."""
        self.learn(*self._in_use.get(part, ()))
        self._in_use[part] = tuple(filter(None, secrets))

    def learn(self, *secrets: SecretStr) -> None:
        """Remember secrets for a while."""
        for secret in filter(None, secrets):
            self._kept.pop(secret, None)
            self._kept[secret] = None
        for oldest in list(self._kept)[: -max(_KEPT, 2 * len(secrets))]:
            del self._kept[oldest]

    def shown(self, text: str) -> str:
        """Return a platform's text for display: one line, cut short; "" if it may repeat a secret."""
        text = _one_line(text[: 4 * _SEARCHED])[:_SEARCHED]
        return "" if self.are_in(text) else text[:_SHOWN].rstrip()

    def are_in(self, text: str) -> bool:
        """Whether a text may repeat a secret: whole, or eight characters in a row, in any usual encoding."""
        texts = {form for reading in _readings(text) for form in _forms(reading)}
        pieces, blocks = (
            {form[start : start + size] for form in texts for start in range(len(form) - size + 1)}
            for size in (_PIECE, _BLOCK)
        )

        def has(form: str) -> bool:
            if len(form) < _PIECE:
                return any(form in each for each in texts)
            if blocks.isdisjoint([form[start : start + _BLOCK] for start in range(0, len(form), _STEP)]):
                return False
            return any(form[start : start + _PIECE] in pieces for start in range(len(form) - _PIECE + 1))

        known = {*chain(*self._in_use.values()), *self._kept}
        return any(has(form) for secret in known for form in _spellings(secret.get_secret_value()))


def words(data: object) -> str:
    """Return the words in the usual fields of an answer's JSON; "" if there are none."""
    return " ".join(dict.fromkeys(_texts(data, _DEPTH))) if isinstance(data, dict) else ""


def _texts(value: object, depth: int) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict() if depth:
            for key in _KEYS:
                inner = value.get(key)
                for item in islice(inner, _MOST) if key == "errors" and isinstance(inner, list) else (inner,):
                    yield from _texts(item, depth - 1)


def _one_line(text: str) -> str:
    """Return a text without terminal escapes and control characters, with single spaces."""
    text = _TERMINAL_ESCAPES.sub("", text)
    return " ".join("".join(char if char.isprintable() else " " * char.isspace() for char in text).split())


def _readings(text: str) -> set[str]:
    """Return a text, and its readings with escapes undone."""
    found = latest = {text}
    for _ in range(_DEPTH):
        latest = {undo(each) for each in latest for undo in (unquote, html.unescape, _unescaped)} - found
        found = found | latest
    return found


def _unescaped(text: str) -> str:
    """Return a text without the escapes of JSON, of most languages' strings and of quoted-printable."""
    text = _UNICODE_ESCAPES.sub(lambda run: _utf16(run[0]), text)
    text = _HEX_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
    return re.sub(r'\\(["\\/])', r"\1", text)


def _utf16(escapes: str) -> str:
    return bytes.fromhex(escapes.lower().replace("\\u", "")).decode("utf-16-be", "replace")


def _spellings(secret: str) -> set[str]:
    """Return a secret's spellings in lower case: plain, in hex, and in base64 at each offset."""
    data = secret.encode("utf-8", "ignore")
    plain, *broken_up = _forms(secret)
    encoded = [*broken_up, data.hex()]
    for shift, first in enumerate((0, 2, 3)):
        whole = base64.b64encode(b"\0" * shift + data).decode("ascii")
        encoded.append(_forms(whole[first : (shift + len(data)) * 8 // 6])[-1])
    alone = base64.b64encode(data).decode("ascii").casefold()
    return {plain, alone, *(form for form in encoded if len(form) >= _TELLING)}


def _forms(text: str) -> tuple[str, str, str]:
    """Return a text in lower case, without spaces, and without anything but letters and digits."""
    folded = text.casefold()
    bare = _NEITHER_LETTER_NOR_DIGIT.sub("", unicodedata.normalize("NFKD", text).casefold())
    return folded, folded.replace(" ", ""), bare
