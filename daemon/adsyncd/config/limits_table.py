"""Tables that describe how a platform reports its limits: every key with its bounds, and the resulting dialect."""

from pydantic import Field

from adsyncd.config.field_types import ConfigTable, HeaderName, JsonPath
from adsyncd.rate.dialect import STANDARD, Counter, Dialect, Period, Rule, Unit, Usage

_MOST = 16  # entries of each kind: every response is searched for all of them


class PeriodTable(ConfigTable):
    """A time in JSON."""

    path: JsonPath = Field(examples=["error.retry_after"])
    unit: Unit = Unit.SECONDS

    def period(self) -> Period:
        """Return the domain value."""
        return Period(self.path, self.unit)


class CounterTable(ConfigTable):
    """Header fields that report one limit: the requests `remaining`, of how many `requests`, and its `reset`."""

    remaining: HeaderName = Field(examples=["X-RateLimit-Remaining"])
    requests: HeaderName = Field("", examples=["X-RateLimit-Limit"])
    reset: HeaderName = Field("", examples=["X-RateLimit-Reset"])

    def counter(self) -> Counter:
        """Return the domain value."""
        return Counter(self.remaining, self.requests, self.reset)


class UsageTable(ConfigTable):
    """A header field whose JSON reports the used percentage of limits."""

    header: HeaderName = Field(examples=["X-App-Usage"])
    percentages: tuple[JsonPath, ...] = Field(min_length=1, max_length=_MOST, examples=[["call_count"]])
    each: JsonPath | None = Field(None, examples=["*"])
    reset: PeriodTable | None = Field(None, examples=[{"path": "reset_time_duration"}])
    wait: PeriodTable | None = Field(None, examples=[{"path": "estimated_time_to_regain_access", "unit": "m"}])

    def usage(self) -> Usage:
        """Return the domain value."""
        return Usage(
            self.header,
            self.percentages,
            self.each or "",
            self.reset.period() if self.reset else None,
            self.wait.period() if self.wait else None,
        )


class LimitsTable(ConfigTable):
    """How a platform states its limits. Each key replaces the common forms as a whole."""

    wait_headers: tuple[HeaderName, ...] | None = Field(None, max_length=_MOST, examples=[["Retry-After"]])
    waits: tuple[PeriodTable, ...] | None = Field(None, max_length=_MOST, examples=[[{"path": "retry_after"}]])
    counters: tuple[CounterTable, ...] | None = Field(
        None, max_length=_MOST, examples=[[{"remaining": "X-RateLimit-Remaining", "reset": "X-RateLimit-Reset"}]]
    )
    usages: tuple[UsageTable, ...] | None = Field(
        None, max_length=_MOST, examples=[[{"header": "X-App-Usage", "percentages": ["call_count"]}]]
    )

    def dialect(self, throttling: tuple[Rule, ...]) -> Dialect:
        """Return the domain value. `throttling`: the responses that mean the same as a 429."""
        return Dialect(
            STANDARD.wait_headers if self.wait_headers is None else self.wait_headers,
            STANDARD.waits if self.waits is None else tuple(wait.period() for wait in self.waits),
            STANDARD.counters if self.counters is None else tuple(counter.counter() for counter in self.counters),
            STANDARD.usages if self.usages is None else tuple(usage.usage() for usage in self.usages),
            throttling,
        )
