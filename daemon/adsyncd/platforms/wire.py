"""The platform's JSON, checked where it comes in: unknown fields pass, wrong types don't. No error quotes a value."""

import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from adsyncd.errors import BadAnswer, ProfileMismatch
from adsyncd.model.profile import Paging, Push, TokenRequest
from adsyncd.platforms import values
from adsyncd.rate.stated_time import instant

_MOST_CONTAINERS = 100_000
_MOST_PAGE_MIB = 2  # a thousand campaigns of 2 KiB
_MOST_UNSIZED_PAGE_MIB = 8  # whose size the platform decides: Google Ads puts 10,000 rows on one
_LONGEST_LIFE_S = 10 * 365 * 86_400.0  # of a token; a larger number is not in seconds


_TOKEN = TypeAdapter[SecretStr](
    Annotated[SecretStr, Field(min_length=1, max_length=8192)],  # what a header of most servers can hold
    config=ConfigDict(strict=True, hide_input_in_errors=True),
)


def most_page_mib(paging: Paging) -> int:
    """Return up to how many MiB a page is read."""
    return _MOST_UNSIZED_PAGE_MIB if paging.size is None else _MOST_PAGE_MIB


def check_size(body: bytes) -> None:
    """Raise `BadAnswer` for JSON with so many objects that it takes long and a lot of memory."""
    if body.count(b"[") + body.count(b"{") > _MOST_CONTAINERS:
        raise BadAnswer(f"the platform's answer has more than {_MOST_CONTAINERS:,} lists and objects")


def parse(body: bytes) -> object:
    """Return what a body's JSON says. Raises `BadAnswer`, also for JSON that is too deep or has too many objects."""
    check_size(body)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise unlike_the_api(no_json(body)) from None


def at(data: object, path: str) -> object:
    """Return what a path leads to in JSON; None if that is nothing."""
    for name in path.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return data


def deepest(value: object, path: Sequence[str]) -> tuple[int, object]:
    """Return how many names of a path lead to objects in JSON, and the last object."""
    depth, level = 0, value
    for name in path:
        inner = level.get(name) if isinstance(level, dict) else None
        if not isinstance(inner, dict):
            break
        depth, level = depth + 1, inner
    return depth, level


def read_token(data: object, request: TokenRequest, date: str | None, now: datetime) -> tuple[SecretStr, float]:
    """Return the token and its life in seconds from the JSON of an answer to a sign-in. Raises `BadAnswer`.

    `date`: when the platform says that it answered; else it was `now`. The life is infinite if it is missing (RFC 6749,
    5.1 allows that) or makes no sense: such a token is used until it is refused.
    """
    if not isinstance(data, dict):
        raise unlike_the_api("it should be an object")
    value = at(data, request.token)
    if value is None:
        raise _no_token(data, request.token)
    try:
        token = _TOKEN.validate_python(value)
    except ValidationError as error:
        raise unlike_the_api(
            f"{request.token}: {error.errors(include_url=False, include_input=False)[0]['msg']}"
        ) from None
    value = token.get_secret_value()
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise BadAnswer("the platform's token has characters that a header cannot hold")
    answered_at = instant(date or "") or now
    lives_s = [
        _seconds(at(data, request.expires_in)) if request.expires_in else None,
        _seconds_until(at(data, request.expires_at), answered_at) if request.expires_at else None,
        request.life.total_seconds() if request.life else None,
    ]
    return token, next((life_s for life_s in lives_s if life_s is not None), math.inf)


def _no_token(data: dict[str, object], path: str) -> ProfileMismatch:
    names = path.split(".")
    depth, level = deepest(data, names)
    assert isinstance(level, dict)  # noqa: S101 - as the answer is
    told = f"the profile does not fit the platform's answer to the sign-in: {path} leads to nothing"
    return ProfileMismatch(told, ".".join(names[:depth]), map(str, level))


def _seconds(said: object) -> float | None:
    """Return a token's life, which some platforms write as text; None if it makes no sense."""
    try:
        life_s = math.nan if isinstance(said, bool) else float(said)  # type: ignore[arg-type]  # the point is to try
    except (TypeError, ValueError, OverflowError):
        return None
    return life_s if 0 < life_s <= _LONGEST_LIFE_S else None


def _seconds_until(said: object, answered_at: datetime) -> float | None:
    try:
        end = values.instant(said)
    except ValueError:
        return None
    return None if end is None else _seconds((end - answered_at).total_seconds())


def denied(receipt: object, campaign_id: str, push: Push | None) -> str | None:
    """Return how the JSON of a 2xx denies that the campaign was pushed, or None if it does not."""
    if receipt is None:
        return None
    if not isinstance(receipt, dict):
        return "its JSON is not an object"
    named = at(receipt, push.confirms) if push and push.confirms else None
    if isinstance(named, float) and named.is_integer():
        named = int(named)
    if named is not None and str(named) != campaign_id:
        return "it is the receipt of another campaign"
    succeeded = push.succeeded if push else None
    success = at(receipt, succeeded.path) if succeeded and succeeded.path else None
    if succeeded is None or success is None:
        return "it reports an error" if receipt.get("error") or receipt.get("errors") else None
    return None if _is_one_of(success, succeeded.values) else "it reports a failure"


def _is_one_of(value: object, wanted: Iterable[bool | int | str | range]) -> bool:
    """Whether a value is one of those, as true, 1 and "True" are the same."""
    spelled = str(value).lower()
    for one in wanted:
        if isinstance(one, range):
            if isinstance(value, int) and value in one:
                return True
        elif spelled in ({str(one).lower(), str(int(one))} if isinstance(one, bool) else {str(one).lower()}):
            return True
    return False


def unlike_the_api(problem: str) -> BadAnswer:
    """Return the error of an answer that breaks the API's promise."""
    return BadAnswer(f"the platform's answer is not what its API promises: {problem}")


def no_json(body: bytes) -> str:
    """Describe a body that is not JSON."""
    markup = body.lstrip().startswith(b"<")
    return "an HTML page, as from a proxy or a wrong base_url" if markup else "not JSON, or not all of it"
