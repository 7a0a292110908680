import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from adsyncd.config.feedback_table import FeedbackTable
from pydantic import ValidationError

from adsyncd.config import load_settings
from adsyncd.errors import ConfigError, Problem
from adsyncd.rate.dialect import PRESETS, STANDARD, Counter, Dialect, Period, Preset, Throttling, Unit, Usage


def dialect(text: str) -> Dialect:
    return FeedbackTable.model_validate(tomllib.loads(text)).dialect()


def loaded(tmp_path: Path, text: str, **environ: str) -> Dialect:
    path = tmp_path / "adsyncd.toml"
    path.write_text(f'[platforms.mixo]\nbase_url = "https://ads.example.com"\n{text}')
    return load_settings(path, environ).platforms["mixo"].platform("mixo").dialect


def problem(tmp_path: Path, text: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    [found] = caught.value.problems
    return found


def test_a_platform_of_which_nothing_is_said_speaks_as_all_do(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") == STANDARD


@pytest.mark.parametrize("preset", Preset)
def test_a_preset_is_named_alone_or_in_a_table_or_by_a_variable(tmp_path: Path, preset: Preset) -> None:
    assert loaded(tmp_path, f'feedback = "{preset}"') == PRESETS[preset]
    assert loaded(tmp_path, f'[platforms.mixo.feedback]\npreset = "{preset}"') == PRESETS[preset]
    assert loaded(tmp_path, "", ADSYNCD_PLATFORMS__MIXO__FEEDBACK=preset) == PRESETS[preset]


def test_what_is_stated_takes_the_place_of_the_presets_own() -> None:
    stated = dialect('preset = "meta"\nwait_headers = ["X-Wait"]\nusages = []')
    assert stated == replace(PRESETS[Preset.META], wait_headers=("x-wait",), usages=())


def test_every_key_is_read() -> None:
    text = """\
wait_headers = ["X-Wait"]
waits = [{ path = "error.pause", unit = "ms" }, { path = "pause" }]
counters = [{ remaining = "X-Left", requests = "X-All", reset = "X-Reset" }, { remaining = "X-More" }]
throttling = [
  { status = 400, path = "error.code", values = [17, "busy", [10, 12]] },
  { path = "code", values = ["17"] },
  { status = 420 },
]
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
    assert dialect(text) == Dialect(
        wait_headers=("x-wait",),
        waits=(Period("error.pause", Unit.MILLISECONDS), Period("pause")),
        counters=(Counter("x-left", "x-all", "x-reset"), Counter("x-more")),
        usages=(
            Usage("x-used", ("calls", "time"), "*.window", Period("reset"), Period("wait", Unit.MINUTES)),
            Usage("x-load", ("load",)),
        ),
        throttling=(
            Throttling(400, "error.code", (17, "busy", range(10, 13))),
            Throttling(None, "code", ("17",)),
            Throttling(420),
        ),
    )


def test_a_mistake_is_told_with_its_line_its_key_and_what_would_be_right(tmp_path: Path) -> None:
    found = problem(tmp_path, '\n[platforms.mixo.feedback]\nwait_headers = ["Retry After"]')
    assert (found.line, found.key) == (5, "platforms.mixo.feedback.wait_headers.0")
    assert found.what == 'expected the name of a header field, got "Retry After"'
    unknown = problem(tmp_path, 'feedback = { waits = [{ path = "wait", units = "s" }] }')
    assert (unknown.line, unknown.key) == (3, "platforms.mixo.feedback.waits.0.units")
    assert unknown.fix == 'did you mean "unit"?'
    preset = problem(tmp_path, 'feedback = "metta"')
    assert (preset.line, preset.key) == (3, "platforms.mixo.feedback.preset")
    assert '"meta"' in preset.what
    kind = problem(tmp_path, "feedback = 3")
    assert (kind.line, kind.what, kind.fix) == (3, "expected a table, got 3", 'for example feedback = "meta"')


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("values = [17]", "needs both path and values, or neither"),
        ('path = "code"', "needs both path and values, or neither"),
        ("", "would match every response"),
        ("status = 200", "would match every response"),
        ('path = "code", values = [[12, 10]]', "expected a whole number, text, or the first and last number"),
        ('path = "code", values = [true]', "expected a whole number, text, or the first and last number"),
        ('path = "code", values = [1.5]', "expected a whole number, text, or the first and last number"),
        ('path = "a..b", values = [1]', "expected names joined by dots"),
        ('status = 20, path = "code", values = [1]', "must be at least 200"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(tmp_path: Path, rule: str, what: str) -> None:
    found = problem(tmp_path, f"feedback = {{ throttling = [{{ {rule} }}] }}")
    assert found.line == 3
    assert (found.key or "").startswith("platforms.mixo.feedback.throttling.0")
    assert found.what.startswith(what)


@pytest.mark.parametrize(
    "text", ['wait_headers = "Retry-After"', "counters = [{}]", 'usages = [{ header = "X", percentages = [] }]']
)
def test_what_would_say_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        dialect(text)


def test_too_much_to_look_for_in_every_answer_is_refused(tmp_path: Path) -> None:
    headers = ", ".join(f'"X-{number}"' for number in range(17))
    found = problem(tmp_path, f"feedback = {{ wait_headers = [{headers}] }}")
    assert found.what == "must have at most 16 entries, got an array"
