import tomllib
from dataclasses import replace

import pytest
from pydantic import ValidationError

from adsyncd.config.diagnostics import Diagnostic, diagnose
from adsyncd.config.limits_table import LimitsTable
from adsyncd.rate.dialect import STANDARD, Counter, Dialect, Period, Rule, Unit, Usage


def dialect(text: str, *throttling: Rule) -> Dialect:
    return LimitsTable.model_validate(tomllib.loads(text)).dialect(throttling)


def problem(text: str) -> Diagnostic:
    with pytest.raises(ValidationError) as caught:
        dialect(text)
    [found] = diagnose(caught.value, LimitsTable)
    return found


def test_a_platform_of_which_nothing_is_said_speaks_as_all_do() -> None:
    assert dialect("") == STANDARD


def test_what_is_stated_takes_the_place_of_the_common_form() -> None:
    stated = dialect('wait_headers = ["X-Wait"]\nusages = []')
    assert stated == replace(STANDARD, wait_headers=("x-wait",), usages=())


def test_every_key_is_read() -> None:
    text = """\
wait_headers = ["X-Wait"]
waits = [{ path = "error.pause", unit = "ms" }, { path = "pause" }]
counters = [{ remaining = "X-Left", requests = "X-All", reset = "X-Reset" }, { remaining = "X-More" }]
[[usages]]
header = "X-Used"
percentages = ["calls", "time"]
each = "*.window"
reset = { path = "reset" }
wait = { path = "wait", unit = "m" }
[[usages]]
header = "X-Load"
percentages = ["load"]
"""
    assert dialect(text, Rule(420)) == Dialect(
        wait_headers=("x-wait",),
        waits=(Period("error.pause", Unit.MILLISECONDS), Period("pause")),
        counters=(Counter("x-left", "x-all", "x-reset"), Counter("x-more")),
        usages=(
            Usage("x-used", ("calls", "time"), "*.window", Period("reset"), Period("wait", Unit.MINUTES)),
            Usage("x-load", ("load",)),
        ),
        throttling=(Rule(420),),
    )


def test_a_mistake_is_told_with_its_key_and_what_would_be_right() -> None:
    found = problem('wait_headers = ["Retry After"]')
    assert found.key == ("wait_headers", "0")
    assert found.what == 'expected the name of a header field, got "Retry After"'
    unknown = problem('waits = [{ path = "wait", units = "s" }]')
    assert unknown.key == ("waits", "0", "units")
    assert unknown.fix == 'did you mean "unit"?'


@pytest.mark.parametrize(
    "text", ['wait_headers = "Retry-After"', "counters = [{}]", 'usages = [{ header = "X", percentages = [] }]']
)
def test_what_would_say_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        dialect(text)


def test_too_much_to_look_for_in_every_answer_is_refused() -> None:
    headers = ", ".join(f'"X-{number}"' for number in range(17))
    assert problem(f"wait_headers = [{headers}]").what == "must have at most 16 entries, got an array"
