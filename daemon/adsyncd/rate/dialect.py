"""The places in a response where a platform states its limits, as data: no platform needs code of its own.

`feedback` reads them. The standards need no dialect: `Retry-After` (a date too) and `RateLimit` with `RateLimit-Policy`
are read for every platform.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property


class Unit(StrEnum):
    """The unit of a time, named as durations name it."""

    MILLISECONDS = "ms"
    SECONDS = "s"
    MINUTES = "m"


@dataclass(frozen=True, slots=True)
class Period:
    """A time in JSON. `path`: the names that lead to it, separated by dots; `*` is any name, and arrays are skipped."""

    path: str
    unit: Unit = Unit.SECONDS


@dataclass(frozen=True, slots=True)
class Counter:
    """Header fields of one limit: the requests that remain, of how many, and the time until the limit resets.

    "" means that the platform has no such field.
    """

    remaining: str
    requests: str = ""
    reset: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """A header field whose JSON states the used percentages of limits.

    Each object that `each` leads to is a limit; the largest of its `percentages` counts. `reset`: the time until the
    limit resets. `wait`: the time for which the platform accepts nothing.
    """

    header: str
    percentages: tuple[str, ...]
    each: str = ""
    reset: Period | None = None
    wait: Period | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Matches a response that has this `status` (None: any) and one of `values` at `path` of its body.

    Without a `path` the status is enough.
    """

    status: int | None = None
    path: str | None = None
    values: tuple[bool | int | str | range, ...] = ()


@dataclass(frozen=True)  # without slots, where a cached property has no place
class Dialect:
    """The places where a platform's responses state its limits. The defaults are the common forms.

    `wait_headers` and `waits` (in the body of a failure): the first that is stated counts. `counters` and `usages`: all
    count. Header fields are named in lower case. `throttling`: the responses that mean the same as a 429.
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
    throttling: tuple[Rule, ...] = ()

    @cached_property
    def header_names(self) -> frozenset[str]:
        """The header fields that may state a limit, those of the standards included."""
        counted = [name for one in self.counters for name in (one.remaining, one.requests, one.reset) if name]
        used = [one.header for one in self.usages]
        return frozenset([*self.wait_headers, *counted, *used, "ratelimit", "ratelimit-policy"])


STANDARD = Dialect()
