"""What one page shows of a profile: its records, the next page, and where each column has its value.

Authors of profiles read it, so it names what the answer has where a path finds nothing. Values are those that the
listing's reader made of the page. A text of the platform is cut short, and left out if it may hold a secret.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus

import httpx

from adsyncd.errors import BadAnswer, ProfileMismatch
from adsyncd.model.campaign import Page
from adsyncd.model.profile import PagingKind, Profile
from adsyncd.platforms.json_text import parsed
from adsyncd.platforms.paging import Pages
from adsyncd.platforms.reading import Finding, Reader, findings
from adsyncd.rate.feedback import Said, matches

_ANYWHERE = "platform.invalid"  # where a saved answer came from
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
class Timed:
    """How long a step took, and whether it went well."""

    name: Step
    seconds: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it was sent, its secrets masked."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """Where the records of a page have the value of a column.

    `path`: the one of `paths` that leads to a value in the first record that has one; `records`: how many have one.
    `value`: as it stands there, as JSON; `read_as`: what the database gets, None if it gets nothing. If no record has a
    value, `beside` has the paths that the first record has at the level to which the paths lead.
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
    columns: tuple[Column, ...]
    odd: tuple[str, ...] = ()

    @property
    def trouble(self) -> str | None:
        """Why the profile does not fit the page, as far as it shows; None if each path leads to a readable value."""
        if self.odd:
            return f"can't read {'; '.join(self.odd)}"
        if empty := [one.column for one in self.columns if not one.records]:
            return f"no record has a value for {', '.join(empty)}"
        return None


@dataclass(frozen=True, slots=True)
class Probe:
    """How far a probe came. `failed`: the step that failed, with its `error`; None if everything was read.

    `steps`: those that were begun, in order; the last one may have failed.
    """

    failed: Step | None = None
    error: str | None = None
    sent: Sent | None = None
    status: int | None = None
    size: int | None = None
    said: Said | None = None
    examined: Examined | None = None
    steps: tuple[Timed, ...] = ()


def examine(profile: Profile, data: object, page: Page, shown: Shown) -> Examined:
    """Return what a page shows. `data`: the answer's JSON, in which the reader found `page`."""
    records = Reader(profile).records(data)
    found = [findings(profile, record) for record in records]
    columns = tuple(_column(each, shown) for each in zip(*found, strict=True))
    return Examined(len(records), _next(profile, page, shown), page.total, columns, page.odd.first)


def examine_saved(profile: Profile, body: bytes, shown: Shown = str) -> Examined:
    """Return what an answer shows that was saved: the first page of a listing.

    Raises `BadAnswer`, `ProfileMismatch` and `ListingError` as the listing would.
    """
    data = parsed(body)
    if meaning := _meaning(profile, data):
        raise BadAnswer(f"a run takes this answer for no page: {meaning}")
    try:
        listed = Reader(profile).read(body, 1, data)
    except ProfileMismatch as mismatch:
        raise mismatch.with_names(shown) from None
    url = _asked(listed.next)
    pages = Pages(profile, len(listed.campaigns))
    pages.ask(1, None, url.path)
    return examine(profile, data, pages.page(1, listed, url, lambda _: False), shown)


def _asked(following: object) -> httpx.URL:
    """Return an address to which a saved answer may be the answer: if it has a link, that of the link."""
    try:
        url = httpx.URL(following if isinstance(following, str) else "")
    except httpx.InvalidURL:
        url = httpx.URL()
    return url.copy_with(query=None) if url.host else httpx.URL(f"https://{_ANYWHERE}{url.path or '/'}")


def _meaning(profile: Profile, data: object) -> str | None:
    """Say which rule keeps an answer with the status 200 from being a page."""
    rules = [("throttled", rule) for rule in profile.dialect.throttling]
    rules += [(answer.means, answer.rule) for answer in profile.answers]
    for means, rule in rules:
        if matches(rule, HTTPStatus.OK, data):
            return f'one of the answers that mean "{means}" matches'
    if profile.expect is not None and not matches(profile.expect, HTTPStatus.OK, data):
        return f"expect does not match, at {profile.expect.path}"
    return None


def _column(found: Sequence[Finding], shown: Shown) -> Column:
    """Sum up how the records are read in one column."""
    first = found[0]
    having = [one for one in found if one.value is not None]
    if not having:
        beside = filter(None, map(shown, first.beside))
        return Column(first.column, first.paths, beside=tuple(beside))
    one = having[0]
    value = shown(json.dumps(one.value, ensure_ascii=False)) or HIDDEN
    read_as = None if one.read is None else shown(_text(one.read)) or HIDDEN
    return Column(one.column, one.paths, one.path, len(having), value, read_as)


def _next(profile: Profile, page: Page, shown: Shown) -> str | None:
    """Say how the page after the first is asked for."""
    paging = profile.listing.paging
    if not page.has_more:
        return None
    match paging.kind:
        case PagingKind.NUMBER:
            return f"{paging.param}={paging.first + 1}"
        case PagingKind.LINK:
            return shown(page.next or "") or HIDDEN
    return f"{paging.param}={shown(page.next or '') or HIDDEN}"


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
