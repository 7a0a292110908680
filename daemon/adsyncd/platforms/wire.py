"""The platform's JSON, checked at the door: unknown fields pass, wrong types don't. No error quotes a value."""

import json
import math
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from adsyncd.campaign import Campaign, Page
from adsyncd.errors import BadAnswer

_MOST_PROBLEMS = 3
_MOST_CONTAINERS = 100_000
_BIGINT = 2**63 - 1  # what a database's integer holds
_LONGEST_LIFE_S = 10 * 365 * 86_400.0  # of a token: a number beyond that is none of seconds


def _id(value: object) -> object:
    # An id becomes a segment of a URL's path and a key of the store; these would lead elsewhere.
    if value in (".", ".."):
        raise ValueError("should name a campaign")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _utc(value: datetime) -> datetime:
    try:
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("should be within the years 1 to 9999 of UTC") from None


_Id = Annotated[str, BeforeValidator(_id), Field(max_length=255, pattern=r"^[^\x00]+$")]
_Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]  # PostgreSQL stores no NUL
_Count = Annotated[int, Field(ge=-_BIGINT, le=_BIGINT)]
_Instant = Annotated[datetime, AfterValidator(_utc)]


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, hide_input_in_errors=True)


class _Token(_Wire):
    access_token: SecretStr = Field(min_length=1)
    expires_in: object = None


class _Campaign(_Wire):
    id: _Id
    name: _Text
    status: _Text
    budget: float
    impressions: _Count
    clicks: _Count
    conversions: _Count
    created_at: _Instant


class _Pagination(_Wire):
    total: int = Field(ge=0, le=_BIGINT)
    has_more: bool


class _Page(_Wire):
    data: list[_Campaign] = Field(fail_fast=True)  # a body full of wrong items would become gigabytes of errors
    pagination: _Pagination


_Model = TypeVar("_Model", bound=_Wire)


def parse(body: bytes) -> object:
    """Return what a body's JSON says.

    Raises `BadAnswer`, also for JSON that is too deep, or whose many objects would take long and a lot of memory.
    """
    if body.count(b"[") + body.count(b"{") > _MOST_CONTAINERS:
        raise BadAnswer(f"the platform's answer has more than {_MOST_CONTAINERS:,} lists and objects")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _unlike_the_api(_no_json(body)) from None


def read_token(body: bytes) -> tuple[SecretStr, float]:
    """Return the access token and its life in seconds from the answer to a sign-in. Raises `BadAnswer`.

    The life is infinite if the platform does not say it (RFC 6749, 5.1: it may leave it out) or says it in no way that
    makes sense: such a token is good until a 401.
    """
    token = _read(_Token, body)
    value = token.access_token.get_secret_value()
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise BadAnswer("the platform's token has characters that no header can carry")
    return token.access_token, _life_s(token.expires_in)


def _life_s(said: object) -> float:
    """Return a token's life, which some platforms write as text."""
    try:
        life_s = math.nan if isinstance(said, bool) else float(said)  # type: ignore[arg-type]  # the point is to try
    except (TypeError, ValueError, OverflowError):
        return math.inf
    return life_s if 0 < life_s <= _LONGEST_LIFE_S else math.inf


def read_page(body: bytes, number: int) -> Page:
    """Return page `number` of a listing. Raises `BadAnswer`, which names the fields that are wrong."""
    page = _read(_Page, body)
    objects: list[dict[str, Any]] = json.loads(body)["data"]
    try:
        campaigns = tuple(_campaign(*pair) for pair in zip(page.data, objects, strict=True))
    except ValueError:
        raise BadAnswer("the platform's answer has numbers that JSON does not: NaN or an infinity") from None
    return Page(
        number=number,
        campaigns=campaigns,
        total=page.pagination.total,
        has_more=page.pagination.has_more,
    )


def denied(receipt: object, campaign_id: str) -> str | None:
    """Return how the JSON of a 2xx to a push says that the campaign was not pushed, or None if it does not say so."""
    match receipt:
        case None:
            return None
        case dict():
            success, named = receipt.get("success"), receipt.get("campaign_id")
        case _:
            return "its JSON is no object"
    if named is not None and str(named) != campaign_id:
        return "it is the receipt of another campaign"
    if success is None:
        return "it tells of an error" if receipt.get("error") or receipt.get("errors") else None
    return None if str(success).lower() in {"true", "1"} else "it says that this was no success"


def _campaign(wire: _Campaign, whole: dict[str, Any]) -> Campaign:
    return Campaign(
        id=wire.id,
        name=wire.name,
        status=wire.status,
        budget=wire.budget,
        impressions=wire.impressions,
        clicks=wire.clicks,
        conversions=wire.conversions,
        created_at=wire.created_at,
        payload=json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False),
    )


def _read(model: type[_Model], body: bytes) -> _Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _unlike_the_api(_problems(error, body)) from None


def _unlike_the_api(problem: str) -> BadAnswer:
    return BadAnswer(f"the platform's answer is not what its API promises: {problem}")


def _no_json(body: bytes) -> str:
    markup = body.lstrip().startswith(b"<")
    return "a page, as of a proxy or at a wrong base_url" if markup else "not JSON, or only a part of it"


def _problems(error: ValidationError, body: bytes) -> str:
    """Name the fields that are wrong and why, without a word of what the platform sent."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return _no_json(body)
    named = [": ".join(filter(None, [".".join(map(str, problem["loc"])), problem["msg"]])) for problem in found]
    more = len(named) - _MOST_PROBLEMS
    return "; ".join(named[:_MOST_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
