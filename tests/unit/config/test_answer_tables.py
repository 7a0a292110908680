import tomllib

import pytest
from pydantic import ValidationError

from adsyncd.config.answer_tables import AnswerTable, RuleTable
from adsyncd.config.diagnostics import Diagnostic, diagnose
from adsyncd.config.field_types import ConfigTable
from adsyncd.model.profile import Answer, Means
from adsyncd.rate.dialect import Rule


def problem(table: type[ConfigTable], text: str) -> Diagnostic:
    with pytest.raises(ValidationError) as caught:
        table.model_validate(tomllib.loads(text))
    [found] = diagnose(caught.value, table)
    return found


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (
            'status = 400\npath = "error.code"\nvalues = [17, "busy", [10, 12], true]',
            Rule(400, "error.code", (17, "busy", range(10, 13), True)),
        ),
        ('path = "code"\nvalues = ["17"]', Rule(None, "code", ("17",))),
        ("status = 420", Rule(420)),
        ('status = 200\npath = "code"\nvalues = [40100]', Rule(200, "code", (40100,))),
    ],
)
@pytest.mark.parametrize("means", Means)
def test_an_answer_is_known_by_its_status_its_body_or_both(text: str, rule: Rule, means: Means) -> None:
    table = AnswerTable.model_validate(tomllib.loads(f'means = "{means}"\n{text}'))
    assert table.answer() == Answer(means, rule)


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("values = [17]", "needs both path and values, or neither"),
        ('path = "code"', "needs both path and values, or neither"),
        ("", "would match every answer"),
        ("status = 200", "would match every answer"),
        ('path = "code"\nvalues = [[12, 10]]', "expected a whole number, text, true, false, or the first and last"),
        ('path = "code"\nvalues = [[true, 10]]', "expected a whole number, text, true, false, or the first and last"),
        ('path = "code"\nvalues = [1.5]', "expected a whole number, text, true, false, or the first and last"),
        ('path = "a..b"\nvalues = [1]', "expected names joined by dots"),
        ('status = 20\npath = "code"\nvalues = [1]', "must be at least 200"),
        (f'path = "code"\nvalues = {list(range(257))}', "must have at most 256 entries"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(rule: str, what: str) -> None:
    assert problem(AnswerTable, f'means = "later"\n{rule}').what.startswith(what)


def test_what_an_answer_may_mean_is_told() -> None:
    found = problem(AnswerTable, 'means = "throtled"\nstatus = 420')
    assert found.what == 'expected "throttled", "sign-in", "later" or "refused", got "throtled"'
    assert found.fix == 'for example means = "throttled"'


def test_the_rule_of_every_success_has_a_path_and_values() -> None:
    assert RuleTable.model_validate({"path": "code", "values": [0, [2, 4]]}).rule() == Rule(
        None, "code", (0, range(2, 5))
    )
    assert problem(RuleTable, 'path = "code"\nvalues = []').what == "must not be empty, got an array"
    assert problem(RuleTable, "values = [0]").fix == 'add path = "code"'
