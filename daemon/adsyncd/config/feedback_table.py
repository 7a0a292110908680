"""Tables that describe how a platform reports its limits: every key with its bounds, and the resulting dialect."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from adsyncd.config.diagnostics import wrong
from adsyncd.config.field_types import ConfigTable, HeaderName, JsonPath, Whole
from adsyncd.rate.dialect import PRESETS, Counter, Dialect, Period, Preset, Throttling, Unit, Usage

_FAILURE = 400
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


def _value(value: object) -> object:
    match value:
        case [int(low), int(high)] if low <= high:
            return value
        case int() | str() if not isinstance(value, bool):
            return value
    raise wrong(
        "expected a whole number, text, or the first and last number of a range",
        'for example 17, "busy" or [80000, 80014]',
    )


Value = Annotated[int | str | tuple[int, int], BeforeValidator(_value)]


class ThrottlingTable(ConfigTable):
    """A response that means the same as a 429, by its status, its body, or both."""

    status: Whole | None = Field(None, ge=200, le=599, examples=[403])
    path: JsonPath | None = Field(None, examples=["error.code"])
    values: tuple[Value, ...] = Field((), max_length=256, examples=[[17, [80000, 80014]]])

    @model_validator(mode="after")
    def _tells_refusals(self) -> Self:
        if (self.path is None) != (not self.values):
            raise wrong("needs both path and values, or neither", echo=False)
        if self.path is None and (self.status is None or self.status < _FAILURE):
            raise wrong("would match every response", "add path and values", echo=False)
        return self

    def throttling(self) -> Throttling:
        """Return the domain value."""
        values = tuple(range(value[0], value[1] + 1) if isinstance(value, tuple) else value for value in self.values)
        return Throttling(self.status, self.path, values)


class FeedbackTable(ConfigTable):
    """A dialect: a preset, whose parts can be replaced one by one."""

    preset: Preset = Preset.STANDARD
    wait_headers: tuple[HeaderName, ...] | None = Field(None, max_length=_MOST, examples=[["Retry-After"]])
    waits: tuple[PeriodTable, ...] | None = Field(None, max_length=_MOST, examples=[[{"path": "retry_after"}]])
    counters: tuple[CounterTable, ...] | None = Field(
        None, max_length=_MOST, examples=[[{"remaining": "X-RateLimit-Remaining", "reset": "X-RateLimit-Reset"}]]
    )
    usages: tuple[UsageTable, ...] | None = Field(
        None, max_length=_MOST, examples=[[{"header": "X-App-Usage", "percentages": ["call_count"]}]]
    )
    throttling: tuple[ThrottlingTable, ...] | None = Field(
        None, max_length=_MOST, examples=[[{"path": "error.code", "values": [17]}]]
    )

    def dialect(self) -> Dialect:
        """Return the domain value."""
        preset = PRESETS[self.preset]
        return Dialect(
            preset.wait_headers if self.wait_headers is None else self.wait_headers,
            preset.waits if self.waits is None else tuple(wait.period() for wait in self.waits),
            preset.counters if self.counters is None else tuple(counter.counter() for counter in self.counters),
            preset.usages if self.usages is None else tuple(usage.usage() for usage in self.usages),
            preset.throttling if self.throttling is None else tuple(rule.throttling() for rule in self.throttling),
        )


def _preset_alone(value: object) -> object:
    return {"preset": value} if isinstance(value, str) else value


Feedback = Annotated[FeedbackTable, BeforeValidator(_preset_alone)]
"""The table, or only the name of a preset."""
