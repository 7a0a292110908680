"""Tables that say what answers mean: a rule for each success, and answers whose status does not tell."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from adsyncd.config.diagnostics import wrong
from adsyncd.config.field_types import ConfigTable, JsonPath, Whole
from adsyncd.model.profile import Answer, Means
from adsyncd.rate.dialect import Rule

_FAILURE = 400
_MOST_VALUES = 256


def _value(value: object) -> object:
    match value:
        case [int(low), int(high)] if low <= high and bool not in {type(low), type(high)}:
            return value
        case bool() | int() | str():
            return value
    raise wrong(
        "expected a whole number, text, true, false, or the first and last number of a range",
        'for example 17, "busy" or [80000, 80014]',
    )


Value = Annotated[bool | int | str | tuple[int, int], BeforeValidator(_value)]


def _spans(values: tuple[bool | int | str | tuple[int, int], ...]) -> tuple[bool | int | str | range, ...]:
    return tuple(range(value[0], value[1] + 1) if isinstance(value, tuple) else value for value in values)


class RuleTable(ConfigTable):
    """What the value at a path has to be."""

    path: JsonPath = Field(examples=["code"])
    values: tuple[Value, ...] = Field(min_length=1, max_length=_MOST_VALUES, examples=[[0]])

    def rule(self) -> Rule:
        """Return the domain value."""
        return Rule(None, self.path, _spans(self.values))


class AnswerTable(ConfigTable):
    """An answer whose meaning its status does not tell: by its status, its body, or both."""

    means: Means = Field(examples=["throttled"])
    status: Whole | None = Field(None, ge=200, le=599, examples=[403])
    path: JsonPath | None = Field(None, examples=["error.code"])
    values: tuple[Value, ...] = Field((), max_length=_MOST_VALUES, examples=[[17, [80000, 80014]]])

    @model_validator(mode="after")
    def _tells_failures(self) -> Self:
        if (self.path is None) != (not self.values):
            raise wrong("needs both path and values, or neither", echo=False)
        if self.path is None and (self.status is None or self.status < _FAILURE):
            raise wrong("would match every answer", "add path and values", echo=False)
        return self

    def answer(self) -> Answer:
        """Return the domain value."""
        return Answer(self.means, Rule(self.status, self.path, _spans(self.values)))
