"""A TOML file with the line of each of its keys, which `tomllib` does not report.

`tomllib` parses the file first, so the scan for lines only has to find where each statement ends; `tomllib` parses the
single statements again.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from adsyncd.config.file_access import NotRegular, read_regular
from adsyncd.errors import ConfigError, Problem

Key = tuple[str, ...]

MAX_BYTES = 1 << 20
MAX_DROP_IN_BYTES = 64 << 10  # a drop-in has a few hundred; a thousand hostile ones must not slow down the rest
MAX_DOTS = 256  # in a line: tomllib needs 18 s for one key of 32,000 dots

_TOKEN = re.compile(
    r'"{3}(?:\\.|[^\\])*?"{3}(?!")'  # the four kinds of strings, whose content is skipped
    r"|'{3}.*?'{3}(?!')"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
    r"|\#[^\n]*"
    r"|[\[\]{}\n]",
    re.DOTALL,
)


@dataclass(frozen=True)  # no slots, for cached_property: only errors need the lines
class TomlFile:
    """A file's text and its parsed content."""

    path: Path
    text: str
    data: dict[str, Any]

    @cached_property
    def lines(self) -> dict[Key, int]:
        """The line, from 1, at which the statement of each key or table begins, keys of inline tables included."""
        try:
            return key_lines(self.text)
        except RecursionError:  # tomllib could just parse this depth; from this deeper stack it can't
            return {}


def read_toml(path: Path, absent: str, most_bytes: int = MAX_BYTES) -> TomlFile:
    """Read a file of at most `most_bytes`. Raises ConfigError; its fix is `absent` if there is no such file."""
    try:
        content = read_regular(path, most_bytes)
    except OSError as error:
        raise ConfigError([unreadable(path, error, absent)]) from error
    if len(content) > most_bytes:
        what = f"is larger than {most_bytes >> 10} KiB, the limit"
        raise _refusal(path, None, what, "check that it is the right file")
    try:
        text = content.decode("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refusal(path, line, "is not UTF-8", "save it as UTF-8") from error
    try:
        if any(line.count(".") > MAX_DOTS for line in text.split("\n")):
            raise RecursionError  # noqa: TRY301 - tomllib itself raises it for deeply nested brackets
        return TomlFile(path, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).partition(" (at ")
        line = int(place.split()[1].rstrip(",")) if place.startswith("line") else text.count("\n") + 1
        fix = 'one key = value a line, text in "quotes"'
        raise _refusal(path, line, f"is not TOML: {what[:1].lower()}{what[1:]}", fix) from error
    except (ValueError, RecursionError) as error:  # ValueError: a number with thousands of digits
        raise _refusal(path, None, "has a value that is too long or nested too deep", "shorten it") from error


def unreadable(path: Path, error: OSError, absent: str) -> Problem:
    """Return the problem of an unreadable file or directory; its fix is `absent` if there is none."""
    match error:
        case FileNotFoundError():
            fix = absent
        case IsADirectoryError() | NotRegular():
            fix = "put a file there"
        case NotADirectoryError():
            fix = "put a directory there"
        case _:
            fix = "make it readable for the user that runs adsyncd"
    return Problem(path, None, None, f"can't be read: {error.strerror}", fix)


def place(key: Key, files: Sequence[TomlFile]) -> tuple[Path, int | None]:
    """Return file and line of `key` or the table around it, in the last file that has it; else the first file."""
    for length in range(len(key), 0, -1):
        for file in reversed(files):
            if key[:length] in file.lines:
                return file.path, file.lines[key[:length]]
    return files[0].path, None


def key_lines(text: str) -> dict[Key, int]:
    """Return the line, from 1, at which the statement of each key or table begins in a valid TOML text.

    If a table or an array of tables is stated several times, the first place counts. Each table of an array is also
    there by its index.
    """
    lines: dict[Key, int] = {}
    table: Key = ()
    numbers: dict[Key, int] = {}  # of the last table of each array
    for line, statement in _statements(text.replace("\r\n", "\n")):
        keys = list(_keys(tomllib.loads(statement)))
        if statement.lstrip().startswith("["):
            table = keys[-1]
            if statement.lstrip().startswith("[["):
                inner = {key: -1 for key in numbers if key[: len(table)] == table != key}
                numbers |= {table: numbers.get(table, -1) + 1} | inner
            keys = [table[: length + 1] for length in range(len(table))]
        else:
            keys = [table + key for key in keys]
        for key in keys:
            lines.setdefault(key, line)
            lines.setdefault(_numbered(key, numbers), line)
    return lines


def _numbered(key: Key, numbers: dict[Key, int]) -> Key:
    """Return a key with the index of the last table after each array of tables."""
    numbered: Key = ()
    for length, name in enumerate(key, 1):
        number = numbers.get(key[:length])
        numbered = (*numbered, name) if number is None else (*numbered, name, str(number))
    return numbered


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Cut a valid text at line ends outside of strings and brackets."""
    start, line, depth = 0, 1, 0
    for token in _TOKEN.finditer(text + "\n"):
        match token[0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
            case "\n" if not depth:
                statement = text[start : token.start()]
                yield line, statement
                line += statement.count("\n") + 1
                start = token.end()


def _keys(data: dict[str, Any]) -> Iterator[Key]:
    """Yield the keys of one statement, outer before inner."""
    left: list[tuple[Key, Any]] = [((), data)]
    while left:
        above, value = left.pop()
        if isinstance(value, dict):
            for name, inner in value.items():
                yield (*above, name)
                left.append(((*above, name), inner))


def _refusal(path: Path, line: int | None, what: str, fix: str) -> ConfigError:
    return ConfigError([Problem(path, line, None, what, fix)])
