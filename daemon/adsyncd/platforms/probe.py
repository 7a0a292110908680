"""What one page shows of a profile: its records, the next page, and where each column has its value.

It is for whoever writes a profile, so it says what the answer has where a path finds nothing. Values are those that the
listing's reader made of the page. A text of the platform is cut short, and left out if it may hold a secret.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice

from adsyncd.model.campaign import Campaign, Page
from adsyncd.model.profile import FieldPlace, PagingKind, Profile
from adsyncd.platforms import values
from adsyncd.rate.feedback import Said

_MOST_NAMES = 12  # of one level of an answer
HIDDEN = "(not shown: it may hold a secret)"

Shown = Callable[[str], str]
"""Makes a text of the platform fit to be shown; "" if it may hold a secret. See `Secrets.shown`."""


class Step(StrEnum):
    """A step of a probe."""

    CREDENTIALS = "credentials"
    SIGN_IN = "sign-in"
    LISTING = "listing"
    READING = "reading"


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it was sent, its secrets masked."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Where the records of a page have the value of a column.

    `path`: the one of `paths` that leads to a value in the first record that has one; `records`: how many have one.
    `value`: as it stands there, as JSON; `read_as`: what the database gets, None if it gets nothing. If no record has a
    value, `beside` has the paths that the first record has at the level to which the first of `paths` leads.
    """

    column: str
    paths: tuple[str, ...]
    path: str | None = None
    records: int = 0
    value: str | None = None
    read_as: str | None = None
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Examined:
    """What a page shows.

    `next`: how the next page is asked for, None if there is none. `odd`: values that can't be read, in words.
    """

    records: int
    next: str | None
    total: int | None
    findings: tuple[Finding, ...]
    odd: tuple[str, ...] = ()

    @property
    def trouble(self) -> str | None:
        """Why the profile does not fit the page, as far as it shows; None if each path leads to a readable value."""
        if self.odd:
            return f"can't read {'; '.join(self.odd)}"
        if empty := [finding.column for finding in self.findings if not finding.records]:
            return f"no record has a value for {', '.join(empty)}"
        return None


@dataclass(frozen=True, slots=True)
class Probe:
    """How far a probe came. `failed`: the step that failed, with its `error`; None if everything was read."""

    failed: Step | None = None
    error: str | None = None
    sent: Sent | None = None
    status: int | None = None
    size: int | None = None
    said: Said | None = None
    examined: Examined | None = None


def examine(profile: Profile, data: object, page: Page, shown: Shown) -> Examined:
    """Return what a page shows. `data`: the answer's JSON, in which the reader found `page`."""
    records = _at(data, profile.listing.records)
    found = records if isinstance(records, list) else []
    read = {campaign.id: campaign for campaign in page.campaigns}
    findings = [_finding(place, profile.fields[0], found, read, shown) for place in profile.fields] if found else []
    return Examined(len(found), _next(profile, page, shown), page.total, tuple(findings), page.odd.first)


def _finding(
    place: FieldPlace, id_place: FieldPlace, records: Sequence[object], read: Mapping[str, Campaign], shown: Shown
) -> Finding:
    having = [(record, path) for record in records if (path := _leading(place, record)) is not None]
    if not having:
        return Finding(place.column, place.paths, beside=_beside(records[0], place.paths[0], shown))
    record, path = having[0]
    campaign = read.get(_id(id_place, record) or "")
    became = getattr(campaign, place.column) if campaign else None
    return Finding(
        place.column,
        place.paths,
        path,
        len(having),
        shown(json.dumps(_at(record, path), ensure_ascii=False)) or HIDDEN,
        None if became is None else shown(_text(became)) or HIDDEN,
    )


def _next(profile: Profile, page: Page, shown: Shown) -> str | None:
    """Say how the page after the first is asked for."""
    paging = profile.listing.paging
    if not page.has_more:
        return None
    match paging.kind:
        case PagingKind.NONE:
            return None
        case PagingKind.NUMBER:
            return f"{paging.param}={paging.first + 1}"
        case PagingKind.LINK:
            return shown(page.next or "") or HIDDEN
    return f"{paging.param}={shown(page.next or '') or HIDDEN}"


def _id(place: FieldPlace, record: object) -> str | None:
    path = _leading(place, record)
    try:
        return values.identity(_at(record, path)) if path else None
    except ValueError:
        return None


def _leading(place: FieldPlace, record: object) -> str | None:
    """Return the first path that leads to a value, or None."""
    return next((path for path in place.paths if _at(record, path) is not None), None)


def _at(value: object, path: str) -> object:
    """Return what a path leads to; None stands for nothing."""
    for name in path.split(".") if path else ():
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _beside(record: object, path: str, shown: Shown) -> tuple[str, ...]:
    """Return the first paths at the level to which a path leads through objects."""
    level, value = list[str](), record
    for name in path.split("."):
        inner = _at(value, name)
        if not isinstance(inner, dict):
            break
        level, value = [*level, name], inner
    names = islice(value if isinstance(value, dict) else (), _MOST_NAMES)
    return tuple(filter(None, (shown(".".join([*level, name])) for name in names)))


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
