"""Faults of a request that was accepted and counted."""

import random
from collections.abc import Iterable
from enum import StrEnum


class FaultKind(StrEnum):
    """A way to fail. The first group can also come at a rate; the names are those of the settings.

    `503`, `html`, `redirect`, `huge` and `unauthorized` come instead of what was asked for. With the others it was
    done, and its answer is lost, cut short or wrong: a push has taken effect.
    """

    NONE = "none"
    UNAVAILABLE = "503"
    HANG = "hang"  # no answer until the client leaves
    DROP = "drop"  # the connection is closed without an answer
    MALFORMED = "malformed"  # JSON that ends in the middle
    HTML = "html"  # 200, and a proxy's page
    REDIRECT = "redirect"  # 307 to `redirect_to`
    HUGE = "huge"  # a JSON body of 100 MB
    UNAUTHORIZED = "unauthorized"  # 401 to every other sending of the same request, the first one among them
    WRONG_TYPES = "wrong-types"  # every number and boolean is a string, every list an object
    ENDLESS = "endless"  # listings: `has_more` for ever, each page with fresh ids
    EMPTY = "empty"  # listings: no campaigns, and a total of 0
    REPEATING = "repeating"  # listings: `has_more` for ever, each page the first
    ABSURD_WAIT = "absurd-wait"  # 429 to everything, to be tried again in ten years
    # Only listings of other APIs have these.
    ERROR_CODE = "error-code"  # 200, and an error in the body: to be tried again, if the API can say that
    NO_RECORDS = "no-records"  # the page has all but its records
    EXPIRED_CURSOR = "expired-cursor"  # 400 to every page but the first
    TOKEN_IN_CURSOR = "token-in-cursor"  # noqa: S105 - what leads to the next page repeats the token
    LINK_ELSEWHERE = "link-elsewhere"  # the link to the next page leads to `redirect_to`
    LINK_USERINFO = "link-userinfo"  # it has a user
    LINK_ACCOUNT = "link-account"  # it leads to another account


def draw(rates: Iterable[tuple[FaultKind, float]], rng: random.Random) -> FaultKind:
    """Return at most one fault, each with its own probability; together they are at most 1."""
    point = rng.random()
    for fault, rate in rates:
        if point < rate:
            return fault
        point -= rate
    return FaultKind.NONE
