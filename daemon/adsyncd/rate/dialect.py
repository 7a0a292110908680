"""How a platform speaks of its limits: where an answer says what, as data, so that a platform needs no code of its own.

`feedback` reads it. The standards need no dialect at all: `Retry-After` as a date too, and `RateLimit` with
`RateLimit-Policy`, are read of every platform.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType


class Unit(StrEnum):
    """What a time is counted in, named as durations name it."""

    MILLISECONDS = "ms"
    SECONDS = "s"
    MINUTES = "m"


@dataclass(frozen=True, slots=True)
class Period:
    """A time in JSON. `path`: the names that lead to it, dots between; `*` is any name, and arrays are seen through."""

    path: str
    unit: Unit = Unit.SECONDS


@dataclass(frozen=True, slots=True)
class Counter:
    """Header fields that tell of one limit: the requests that remain, of how many, and when it begins anew.

    A field that the platform does not have is "".
    """

    remaining: str
    requests: str = ""
    reset: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """A header field whose JSON tells what percentage of limits is used up.

    Each object that `each` leads to is a limit, of which the largest of `percentages` counts. `reset` is when it begins
    anew, `wait` how long nothing is let in.
    """

    header: str
    percentages: tuple[str, ...]
    each: str = ""
    reset: Period | None = None
    wait: Period | None = None


@dataclass(frozen=True, slots=True)
class Throttling:
    """An answer that means what a 429 means.

    It has this `status`, or failed with any if that is None, and at `path` of its body one of `values`. Without a
    `path` the status alone means it.
    """

    status: int | None = None
    path: str | None = None
    values: tuple[int | str | range, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where a platform's answers say how much it lets in. The defaults are the forms that are common.

    `wait_headers` and `waits` (in the body of a failure) are looked for in their order, and the first that says
    something counts. Of `counters` and `usages` all count. Header fields are named in lower case.
    """

    wait_headers: tuple[str, ...] = ("retry-after",)
    waits: tuple[Period, ...] = (Period("retry_after"),)
    counters: tuple[Counter, ...] = tuple(
        Counter(f"{prefix}-remaining", f"{prefix}-limit", f"{prefix}-reset")
        for prefix in ("x-ratelimit", "x-rate-limit", "ratelimit")
    )
    usages: tuple[Usage, ...] = (
        # Meta, "Rate Limits" (Graph API, Overview) and "Rate Limiting" (Marketing API).
        Usage("x-app-usage", ("call_count", "total_time", "total_cputime")),
        Usage("x-ad-account-usage", ("acc_id_util_pct",), reset=Period("reset_time_duration")),
        Usage(
            "x-business-use-case-usage",
            ("call_count", "total_time", "total_cputime"),
            each="*",
            wait=Period("estimated_time_to_regain_access", Unit.MINUTES),
        ),
    )
    throttling: tuple[Throttling, ...] = ()


class Preset(StrEnum):
    """The dialects that are known by name."""

    STANDARD = "standard"
    GOOGLE_ADS = "google-ads"
    META = "meta"
    TIKTOK = "tiktok"
    X_ADS = "x-ads"


STANDARD = Dialect()

# Each cites the public document that it is taken from.
PRESETS: Mapping[Preset, Dialect] = MappingProxyType(
    {
        Preset.STANDARD: STANDARD,
        # Google, "QuotaErrorDetails" (Google Ads API reference): the body of a REST error is a GoogleAdsFailure.
        Preset.GOOGLE_ADS: replace(
            STANDARD, waits=(Period("error.details.errors.details.quotaErrorDetails.retryDelay"),)
        ),
        # Meta, "Rate Limits" (Graph API, Overview): the codes of the platform's and of business use case limits.
        Preset.META: replace(
            STANDARD,
            throttling=(Throttling(path="error.code", values=(4, 17, 32, 613, range(80_000, 80_015))),),
        ),
        # Airbyte, "source-tiktok-marketing: Unique Connector Behaviors", "Rate Limit Detection via Response Body Code".
        Preset.TIKTOK: replace(STANDARD, throttling=(Throttling(200, "code", (40_100,)),)),
        # X, "Rate limiting" (X Ads API): an ad account's limits have headers of their own beside those of a user.
        Preset.X_ADS: replace(
            STANDARD,
            counters=(
                *STANDARD.counters,
                Counter("x-account-rate-limit-remaining", "x-account-rate-limit-limit", "x-account-rate-limit-reset"),
            ),
        ),
    }
)
