"""Reads a page of a listing, item by item if it is not as the API promises: an odd campaign costs no other one.

    as the API promises ──► the whole page at once
    anything else ────────► each item: its id ──► unusable: the item is lost
                                       its fields ──► read what is unambiguous, leave out the rest

The payload is the whole object in both cases. No error quotes a value.
"""

import codecs
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from adsyncd.model.campaign import MOST_NAMED, Campaign, Oddities, Page, shown
from adsyncd.platforms import values
from adsyncd.platforms.wire import check_size, no_json, unlike_the_api

_BIGINT = 2**63 - 1  # what a database's integer holds
_MOST_CLAIMED = 10_000_000  # campaigns that a platform may claim to have of a client
_LONGEST_INTEGER = 4300  # digits that Python reads
_PLAIN_YEARS = range(1974, 2286)  # no other number, read as seconds since the epoch, gives an instant in these years


def _id(value: object) -> object:
    return values.identity(value) if isinstance(value, str | int) else value


def _plain(value: datetime) -> datetime:
    if value.year not in _PLAIN_YEARS:
        raise ValueError
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


_Id = Annotated[str, BeforeValidator(_id)]
_Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
_Count = Annotated[int, Field(ge=-_BIGINT, le=_BIGINT)]


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Campaign(_Wire):
    id: _Id
    name: _Text
    status: _Text
    budget: float
    impressions: _Count
    clicks: _Count
    conversions: _Count
    created_at: Annotated[datetime, AfterValidator(_plain)]


class _Pagination(_Wire):
    total: int = Field(ge=0, le=_MOST_CLAIMED)
    has_more: bool


class _Page(_Wire):
    data: list[_Campaign] = Field(fail_fast=True)
    pagination: _Pagination


_TOO_DEEP = 200
_TOKENS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)  # strings, and what nests
_MISSING = object()
_FIELDS: Mapping[str, Callable[[object], Any]] = {
    "name": values.text,
    "status": values.text,
    "budget": values.number,
    "impressions": values.count,
    "clicks": values.count,
    "conversions": values.count,
    "created_at": values.instant,
}


def read_page(body: bytes, number: int) -> Page:
    """Return page `number` of a listing. Raises `BadAnswer` if the body is not a page."""
    try:
        page = _Page.model_validate_json(body)
        objects: list[dict[str, Any]] = json.loads(body)["data"]
        campaigns = tuple(_campaign(*pair) for pair in zip(page.data, objects, strict=True))
    except (ValueError, RecursionError):
        return _by_items(body, number)
    total, has_more = page.pagination.total, page.pagination.has_more
    return Page(number, campaigns, _believed(total, len(objects), has_more=has_more), has_more)


def _campaign(wire: _Campaign, whole: dict[str, Any]) -> Campaign:
    return Campaign(
        id=wire.id,
        name=wire.name,
        status=wire.status,
        budget=wire.budget,
        currency=None,
        impressions=wire.impressions,
        clicks=wire.clicks,
        conversions=wire.conversions,
        created_at=wire.created_at,
        payload=_payload(whole),
    )


def _payload(whole: dict[str, Any]) -> str:
    return _ENCODER.encode(whole)


def _believed(total: int | None, items: int, *, has_more: bool) -> int | None:
    """Return the total that the platform claims, or None if this page disproves it: some platforms count each page."""
    return None if has_more and total is not None and total <= items else total


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


def _by_items(body: bytes, number: int) -> Page:
    answer = parsed(body)
    if not isinstance(answer, dict):
        raise unlike_the_api("it should be an object")
    items = answer.get("data", _MISSING)
    if items is None:  # as some languages write an empty list
        items = []
    if not isinstance(items, list):
        raise unlike_the_api("data: should be a list")
    total, has_more = _end(answer.get("pagination"), number, len(items))
    odd, lacking = _Found(), _Found()
    read = [_item(item, f"page {number}, item {place}", odd, lacking) for place, item in enumerate(items, 1)]
    campaigns = tuple(campaign for campaign in read if campaign)
    return Page(number, campaigns, total, has_more, odd=odd.all(), lacking=lacking.all())


def _item(item: object, place: str, odd: _Found, lacking: _Found) -> Campaign | None:
    if not isinstance(item, dict):
        odd.add(f"{place}: is not an object", lost=True)
        return None
    try:
        id_ = values.identity(item.get("id"))
        payload = _payload(item)
    except ValueError as error:
        odd.add(f"{place}: id {error}", lost=True)
        return None
    except RecursionError:
        odd.add(f"{place}: is nested too deeply", lost=True)
        return None
    if absent := [name for name in _FIELDS if name not in item]:
        lacking.add(f"{shown(id_)} lacks {', '.join(absent)}")
    fields, wrong = dict[str, Any](), []
    for name, read in _FIELDS.items():
        try:
            fields[name] = read(item.get(name))
        except ValueError as error:
            fields[name] = None
            wrong.append(f"{name} {error}")
    if wrong:
        odd.add(f"{shown(id_)}: {', '.join(wrong)}")
    return Campaign(id=id_, currency=None, payload=payload, **fields)


def _end(pagination: object, number: int, items: int) -> tuple[int | None, bool]:
    """Return a pagination's total, and whether more pages follow.

    Without `has_more` the total decides, and an empty page is the last.
    """
    said = pagination if isinstance(pagination, dict) else {}
    total = _total(said.get("total"))
    has_more = {"true": True, "1": True, "false": False, "0": False}.get(str(said.get("has_more")).lower())
    if has_more is None:
        if total is None:
            raise unlike_the_api("pagination.has_more: is not a boolean, and no total tells where the listing ends")
        has_more = items > 0 and number * items < total
    return _believed(total, items, has_more=has_more), has_more


def _total(value: object) -> int | None:
    try:
        total = values.count(value)
    except ValueError:
        return None
    return total if total is not None and 0 <= total <= _MOST_CLAIMED else None


def parsed(body: bytes) -> object:
    """Return what JSON says. A number that is too large, or a byte that is not UTF-8, spoils only its own value."""
    check_size(body)
    text = body.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    try:
        try:
            return _DECODER.decode(text)
        except RecursionError:
            return _DECODER.decode(_shallow(text))
    except ValueError:
        raise unlike_the_api(no_json(body)) from None


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
