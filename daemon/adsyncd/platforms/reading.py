"""Reads the campaigns of a page as a profile says, item by item: an odd campaign costs no other one.

    the body ──► JSON ──► records ──► each item: its id ──► unusable: the item is lost
                                                 its fields ──► read what is unambiguous, leave out the rest

The payload is the whole object. No error quotes a value.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NamedTuple

from adsyncd.errors import ProfileMismatch
from adsyncd.model.campaign import MOST_NAMED, Campaign, Oddities, shown
from adsyncd.model.profile import FieldPlace, Profile, Times
from adsyncd.platforms import values
from adsyncd.platforms.json_text import compact, parsed
from adsyncd.platforms.wire import check_size, deepest, unlike_the_api

_MOST_CLAIMED = 10_000_000  # campaigns that a platform may claim to have of a client
_MOST_BESIDE = 20  # keys
_NOTHING = object()
_COLUMNS = [field.name for field in fields(Campaign) if field.name not in {"id", "payload"}]

Read = Callable[[object], Any]
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """The content of one answer: its campaigns, and what it says of the listing.

    `items`: how many it has, the lost ones included. `has_more` and `total` are None if it does not say. `next`: the
    value at the profile's path, None if there is none.
    """

    campaigns: tuple[Campaign, ...]
    items: int
    has_more: bool | None
    total: int | None
    next: object
    odd: Oddities
    lacking: Oddities


@dataclass(frozen=True, slots=True)
class Finding:
    """How one field of a record is read.

    `paths`: the profile's. `path`: the one that leads to a value, which stands as `value` and is `read` so, or has a
    `problem`. `beside`: if no path leads to anything, the first paths at the deepest level that one of them reaches.
    """

    column: str
    paths: tuple[str, ...]
    path: str | None
    value: object
    read: object
    problem: str | None
    beside: tuple[str, ...]


class _Field(NamedTuple):
    """A field. `name`: its path if that is one name alone. `read` is None if the profile does not have the field."""

    column: str
    name: str | None
    paths: tuple[Path, ...]
    read: Read | None


class Reader:
    """Reads pages as one profile says."""

    def __init__(self, profile: Profile) -> None:
        listing = profile.listing
        self._profile = profile.name
        self._records_path = listing.records
        self._records = _split(listing.records)
        self._absent_is_empty = listing.absent_is_empty
        self._next, self._has_more, self._total = (
            None if path is None else _split(path)
            for path in (listing.paging.next, listing.paging.has_more, listing.paging.total)
        )
        places = {place.column: place for place in profile.fields}
        self._id = _field(places["id"])
        self._fields = [_field(places.get(column) or FieldPlace(column, ())) for column in _COLUMNS]

    def read(self, body: bytes, number: int, data: object = None) -> Listed:
        """Return the content of page `number`. `data`: what its JSON says, if that is known already.

        Raises `BadAnswer` if the body is no page, and `ProfileMismatch` if the profile does not fit it.
        """
        check_size(body)
        try:
            return self._read(json.loads(body.decode()) if data is None else data, number)
        except (ValueError, RecursionError):
            return self._read(parsed(body), number)

    def records(self, answer: object) -> list[Any]:
        """Return the records in an answer. Raises as `read` does."""
        if self._records and not isinstance(answer, dict):
            raise unlike_the_api("it should be an object")
        value, level = answer, answer
        for place, name in enumerate(self._records):
            level = value
            value = level.get(name, _NOTHING) if isinstance(level, dict) else _NOTHING
            if value is _NOTHING or (value is None and place < len(self._records) - 1):
                return self._absent(answer, place, level)
        if value is None and self._records:  # as some languages write an empty list
            return []
        if isinstance(value, list):
            return value
        raise unlike_the_api(f"{self._records_path or 'it'}: should be a list")

    def _absent(self, answer: object, place: int, level: object) -> list[Any]:
        """Return no records, if the platform leaves out an empty list. `level` has no record number `place`."""
        assert isinstance(answer, dict)  # noqa: S101 - else it has no keys
        if self._absent_is_empty and isinstance(level, dict):
            if answer.get("error") or answer.get("errors"):
                raise unlike_the_api("it reports an error")
            return []
        told = f"the profile {self._profile} does not fit the platform's answer: {self._records_path} leads to nothing"
        raise ProfileMismatch(told, ".".join(self._records[:place]), _keys(level))

    def _read(self, answer: object, number: int) -> Listed:
        items = self.records(answer)
        odd, lacking = _Found(), _Found()
        read = [self._item(item, number, place, odd, lacking) for place, item in enumerate(items, 1)]
        return Listed(
            tuple(campaign for campaign in read if campaign is not None),
            len(items),
            _boolean(_value(answer, self._has_more)),
            _claim(_value(answer, self._total)),
            _value(answer, self._next),
            odd.all(),
            lacking.all(),
        )

    def _item(self, item: object, number: int, place: int, odd: "_Found", lacking: "_Found") -> Campaign | None:
        if not isinstance(item, dict):
            odd.add(f"page {number}, item {place}: is not an object", lost=True)
            return None
        try:
            payload = compact(item)
        except RecursionError:
            odd.add(f"page {number}, item {place}: is nested too deeply", lost=True)
            return None
        _, name, paths, _ = self._id
        value = item.get(name) if name is not None else _first(item, paths)
        try:
            id_ = values.identity(None if value is _NOTHING else value)
        except ValueError as error:
            odd.add(f"page {number}, item {place}: {_path(item, paths)} {error}", lost=True)
            return None
        found: list[Any] = []
        wrong, absent = [], []
        for _, name, paths, read in self._fields:
            if read is None:
                found.append(None)
                continue
            value = item.get(name, _NOTHING) if name is not None else _first(item, paths)
            if value is _NOTHING:
                found.append(None)
                absent.append(" or ".join(map(".".join, paths)))
                continue
            try:
                found.append(read(value))
            except ValueError as error:
                found.append(None)
                wrong.append(f"{_path(item, paths)} {error}")
        if absent:
            lacking.add(f"{shown(id_)} lacks {', '.join(absent)}")
        if wrong:
            odd.add(f"{shown(id_)}: {', '.join(wrong)}")
        return Campaign(id_, *found, payload)  # type: ignore[call-arg]  # a column each


def findings(profile: Profile, record: object) -> list[Finding]:
    """Return how each field of a profile is read in one record, in the order of the profile."""
    return [_finding(place, record) for place in profile.fields]


def _finding(place: FieldPlace, record: object) -> Finding:
    field = _field(place)
    assert field.read is not None  # noqa: S101 - the profile has the field
    value = _first(record, field.paths)
    if value is _NOTHING:
        path = max(field.paths, key=lambda path: deepest(record, path)[0])
        depth, level = deepest(record, path)
        beside = tuple(".".join([*path[:depth], key]) for key in _keys(level)[:_MOST_BESIDE])
        return Finding(place.column, place.paths, None, None, None, None, beside)
    read, problem = None, None
    try:
        read = field.read(value)
    except ValueError as error:
        problem = str(error)
    return Finding(place.column, place.paths, _path(record, field.paths), value, read, problem, ())


def _field(place: FieldPlace) -> _Field:
    paths = tuple(map(_split, place.paths))
    name = paths[0][0] if len(paths) == 1 == len(paths[0]) else None
    return _Field(place.column, name, paths, _read_as(place) if paths else None)


def _read_as(place: FieldPlace) -> Read:
    match place.column:
        case "id":
            return values.identity
        case "budget":
            return values.number if place.scale == 1 else partial(values.scaled, scale=place.scale)
        case "impressions" | "clicks" | "conversions":
            return values.count
        case "created_at":
            return _INSTANTS[place.time]
    return values.text


_INSTANTS: dict[Times | None, Read] = {
    None: values.instant,
    Times.TEXT: values.written,
    Times.SECONDS: partial(values.elapsed, units=1),
    Times.MILLISECONDS: partial(values.elapsed, units=1000),
}


class _Found:
    """What is odd in a page: the number of oddities, and the first ones in words."""

    def __init__(self) -> None:
        self._count = self._lost = 0
        self._first: list[str] = []

    def add(self, words: str, *, lost: bool = False) -> None:
        self._count += 1
        self._lost += lost
        if len(self._first) < MOST_NAMED:
            self._first.append(words)

    def all(self) -> Oddities:
        return Oddities(self._count, self._lost, tuple(self._first))


def _split(path: str) -> Path:
    return tuple(path.split(".")) if path else ()


def _lead(value: object, path: Path) -> object:
    """Return what a path leads to, or `_NOTHING`."""
    for name in path:
        if not isinstance(value, dict):
            return _NOTHING
        value = value.get(name, _NOTHING)
    return value


def _first(record: object, paths: tuple[Path, ...]) -> object:
    """Return the first value that a path leads to; None if all that is there is null; `_NOTHING` if nothing is."""
    found = _NOTHING
    for path in paths:
        value = _lead(record, path)
        if value is None:
            found = None
        elif value is not _NOTHING:
            return value
    return found


def _path(record: object, paths: tuple[Path, ...]) -> str:
    """Name the path that leads to the first value; without one, the last that leads to null, or else all."""
    leading = [path for path in paths if _lead(record, path) not in (None, _NOTHING)]
    empty = [path for path in paths if _lead(record, path) is None]
    return " or ".join(map(".".join, leading[:1] or empty[-1:] or paths))


def _keys(level: object) -> tuple[str, ...]:
    return tuple(sorted(level)) if isinstance(level, dict) else ()


def _value(answer: object, path: Path | None) -> object:
    value = None if path is None else _lead(answer, path)
    return None if value is _NOTHING else value


def _boolean(value: object) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())


def _claim(value: object) -> int | None:
    """Return the number of campaigns that a platform claims to have, or None if it can't be one."""
    try:
        total = values.count(value)
    except ValueError:
        return None
    return total if total is not None and 0 <= total <= _MOST_CLAIMED else None
