"""Checks of a whole profile, which no single table can make: placeholders, header fields, names that clash."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from adsyncd.config.diagnostics import Diagnostic
from adsyncd.config.profile_tables import ProfileFile
from adsyncd.config.toml_file import Key
from adsyncd.model.profile import PLACEHOLDER, SECRET, placeholders

_OURS = frozenset(
    [
        *("accept-encoding", "connection", "content-length", "cookie", "expect", "host", "if-none-match", "keep-alive"),
        *("proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    ]
)
_MEANT = re.compile(r"\{\s*(?:secret|var)\b[^{}]*\}", re.IGNORECASE)
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class _Place:
    """A text, or a table of texts and other values, in a profile. `fills`: the placeholders that are filled there."""

    key: Key
    value: object
    fills: tuple[str, ...] = ("account",)
    may_hold_secrets: bool = False

    def texts(self) -> Iterator[tuple[Key, str]]:
        """Yield each text with its key."""
        return ((key, value) for key, value in self._leaves(self.key, self.value) if isinstance(value, str))

    def others(self) -> Iterator[tuple[Key, object]]:
        """Yield each value that is no text, with its key."""
        return ((key, value) for key, value in self._leaves(self.key, self.value) if not isinstance(value, str))

    def names(self) -> Iterator[Key]:
        """Yield the key of each name in a table."""
        found = dict.fromkeys(key[:end] for key, _ in self._leaves(self.key, self.value) for end in range(len(key) + 1))
        return (key for key in found if len(key) > len(self.key))

    def _leaves(self, key: Key, value: object) -> Iterator[tuple[Key, object]]:
        match value:
            case None:
                return
            case dict():
                for name, inner in value.items():
                    yield from self._leaves((*key, name), inner)
            case list():
                for inner in value:
                    yield from self._leaves(key, inner)
            case _:
                yield key, value


def misfits(profile: ProfileFile) -> Iterator[Diagnostic]:
    """Find what does not fit together. `profile`: its tables, each of which is valid."""
    texts = list(_places(profile))
    for place in texts:
        yield from _placeholders(place, profile)
        yield from _json_values(place)
    yield from _headers(profile)
    yield from _parameters(profile)
    used = {name for place in texts for _, text in place.texts() for name in placeholders(text)}
    for number, name in enumerate(profile.vars):
        if f"var.{name}" not in used:
            yield Diagnostic(
                ("vars", str(number)), f"has {name}, which no text uses", f"use {{var.{name}}}, or remove it"
            )
    if (
        profile.sign_in.static is None
        and not profile.sign_in.basic
        and not any(name.startswith(SECRET) for name in used)
    ):
        yield Diagnostic(("sign_in",), "sends no secret", "add basic, or {secret.NAME} in form, json or headers")
    if profile.push and "id" not in used:
        yield Diagnostic(("push",), "does not say which campaign is pushed", "write {id} in path or json")


def _places(profile: ProfileFile) -> Iterator[_Place]:
    """Yield everything in a profile that may hold placeholders, or must not."""
    sign_in, listing, push = profile.sign_in, profile.list_, profile.push
    of_list = ("account", "page_size")
    yield _Place(("base_url",), profile.base_url, ())
    yield _Place(("headers",), profile.headers, may_hold_secrets=True)
    yield _Place(("sign_in", "url"), sign_in.url)
    yield _Place(("sign_in", "headers"), sign_in.headers, may_hold_secrets=True)
    yield _Place(("sign_in", "form"), sign_in.form, may_hold_secrets=True)
    yield _Place(("sign_in", "json"), sign_in.json_, may_hold_secrets=True)
    yield _Place(("token", "scheme"), profile.token.scheme, ())
    yield _Place(("list", "path"), listing.path, of_list)
    yield _Place(("list", "params"), listing.params, of_list)
    yield _Place(("list", "json"), listing.json_, of_list)
    if push is not None:
        yield _Place(("push", "path"), push.path, ("account", "id"))
        yield _Place(("push", "json"), push.json_, ("account", "id"))


def _placeholders(place: _Place, profile: ProfileFile) -> Iterator[Diagnostic]:
    known = sorted({*place.fills, *(f"var.{name}" for name in profile.vars if place.fills)})
    for key in place.names():
        if placeholders(key[-1]):
            yield Diagnostic(key, "has a placeholder in its name", "write it in the value")
    for key, text in place.texts():
        for name in dict.fromkeys(placeholders(text)):
            if name.startswith(SECRET):
                if not place.may_hold_secrets:
                    fix = "secrets may stand in headers, and in form and json of sign_in"
                    yield Diagnostic(key, f"must not have the secret {_braced(name)}: it would show", fix)
            elif name not in known:
                yield Diagnostic(key, f"has {_braced(name)}, which nothing fills here", _nearest(name, known))
        for odd in _misshapen(text):
            yield Diagnostic(
                key, f"has {_cut(odd)}, which is no placeholder", "names have a-z, 0-9 and _: {secret.api_key}"
            )


def _nearest(name: str, known: list[str]) -> str:
    if name.startswith("var."):
        return f'add "{name.removeprefix("var.")}" to vars'
    if near := get_close_matches(name, known, 1):
        return f"did you mean {{{near[0]}}}?"
    fills = f"known here are {', '.join(f'{{{one}}}' for one in known)}" if known else "none is known here"
    return f"{fills}; braces that are text need a space: {{ {_cut(name)} }}"


def _json_values(place: _Place) -> Iterator[Diagnostic]:
    for key, value in place.others():
        if isinstance(value, float) and not math.isfinite(value):
            yield Diagnostic(key, "must not be inf or nan, which JSON has not", "write a number")
        elif not isinstance(value, bool | int | float):
            yield Diagnostic(key, "must not be a date or a time, which JSON has not", "write it in quotes")


def _headers(profile: ProfileFile) -> Iterator[Diagnostic]:
    push, token = profile.push, profile.token.header.lower()
    has_body = profile.list_.has_body or (push is not None and push.json_ is not None)
    sent = _OURS | ({"content-type"} if has_body else set())
    yield from _clashes(("headers",), profile.headers, sent)
    for name in profile.headers:
        if name.lower() == token:
            yield Diagnostic(("headers", name), "carries the token, which adsyncd sets itself", "remove it")
    own = _OURS | ({"content-type"} if profile.sign_in.has_body else set())
    own |= {"authorization"} if profile.sign_in.basic else set()
    yield from _clashes(("sign_in", "headers"), profile.sign_in.headers, own)
    if token in {*_OURS, "content-type"}:
        yield Diagnostic(("token", "header"), f"must not be {token}, which adsyncd sets itself", "name another field")
    if push and push.idempotency_header:
        key, name = ("push", "idempotency_header"), push.idempotency_header.lower()
        if name in {*_OURS, "content-type"}:
            yield Diagnostic(key, f"must not be {name}, which adsyncd sets itself", "name another field")
        elif name == token or name in {other.lower() for other in profile.headers}:
            yield Diagnostic(key, f"is {name}, which has another value already", "name another field")


def _clashes(above: Key, names: Iterable[str], ours: Iterable[str]) -> Iterator[Diagnostic]:
    counts = Counter(name.lower() for name in names)
    for name in names:
        if name.lower() in ours:
            yield Diagnostic((*above, name), "is set by adsyncd itself", "remove it")
        elif counts[name.lower()] > 1:
            yield Diagnostic((*above, name), "is there twice: capitals do not count", "keep one of them")


def _parameters(profile: ProfileFile) -> Iterator[Diagnostic]:
    listing, paging = profile.list_, profile.list_.paging
    if paging.param is not None and paging.param == paging.size:
        yield Diagnostic(("list", "paging", "size"), "is the same parameter as param", "name another one")
    query = [pair.partition("=")[0] for pair in listing.path.partition("?")[2].split("&")]
    stated: list[tuple[Key, Iterable[str]]] = [(("list", "json"), listing.json_ or ())]
    if paging.in_ == "query":
        stated = [(("list", "path"), query), (("list", "params"), listing.params)]
    for above, names in stated:
        for name in names:
            if name in {paging.param, paging.size}:
                key = above if above[-1] == "path" else (*above, name)
                yield Diagnostic(key, f"has {_cut(name)}, which paging sets", "remove it here")


def _braced(name: str) -> str:
    return f"{{{_cut(name)}}}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _misshapen(text: str) -> list[str]:
    """Return what was meant as a placeholder for a secret or a var and is none."""
    return [found[0] for found in _MEANT.finditer(text) if not PLACEHOLDER.fullmatch(found[0])]
