"""The platform's JSON, checked where it comes in: unknown fields pass, wrong types don't. No error quotes a value."""

import json
import math

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from adsyncd.errors import BadAnswer

_MOST_PROBLEMS = 3
_MOST_CONTAINERS = 100_000
_LONGEST_LIFE_S = 10 * 365 * 86_400.0  # of a token; a larger number is not in seconds


class _Token(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)

    access_token: SecretStr = Field(min_length=1, max_length=8192)  # what a header of most servers can hold
    expires_in: object = None


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


def read_token(body: bytes) -> tuple[SecretStr, float]:
    """Return the access token and its life in seconds from the answer to a sign-in. Raises `BadAnswer`.

    The life is infinite if it is missing (RFC 6749, 5.1 allows that) or makes no sense: such a token is used until a
    401.
    """
    try:
        token = _Token.model_validate(parse(body))
    except ValidationError as error:
        raise unlike_the_api(_problems(error)) from None
    value = token.access_token.get_secret_value()
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise BadAnswer("the platform's token has characters that a header cannot hold")
    return token.access_token, _life_s(token.expires_in)


def _life_s(said: object) -> float:
    """Return a token's life, which some platforms write as text."""
    try:
        life_s = math.nan if isinstance(said, bool) else float(said)  # type: ignore[arg-type]  # the point is to try
    except (TypeError, ValueError, OverflowError):
        return math.inf
    return life_s if 0 < life_s <= _LONGEST_LIFE_S else math.inf


def denied(receipt: object, campaign_id: str) -> str | None:
    """Return how the JSON of a 2xx denies that the campaign was pushed, or None if it does not."""
    match receipt:
        case None:
            return None
        case dict():
            success, named = receipt.get("success"), receipt.get("campaign_id")
        case _:
            return "its JSON is not an object"
    if isinstance(named, float) and named.is_integer():
        named = int(named)
    if named is not None and str(named) != campaign_id:
        return "it is the receipt of another campaign"
    if success is None:
        return "it reports an error" if receipt.get("error") or receipt.get("errors") else None
    return None if str(success).lower() in {"true", "1"} else "it reports a failure"


def unlike_the_api(problem: str) -> BadAnswer:
    """Return the error of an answer that breaks the API's promise."""
    return BadAnswer(f"the platform's answer is not what its API promises: {problem}")


def no_json(body: bytes) -> str:
    """Describe a body that is not JSON."""
    markup = body.lstrip().startswith(b"<")
    return "an HTML page, as from a proxy or a wrong base_url" if markup else "not JSON, or not all of it"


def _problems(error: ValidationError) -> str:
    """Name the fields that are wrong and why, without quoting the platform."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    named = [": ".join(filter(None, [".".join(map(str, problem["loc"])), problem["msg"]])) for problem in found]
    more = len(named) - _MOST_PROBLEMS
    return "; ".join(named[:_MOST_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
