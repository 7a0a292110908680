import re
import tomllib
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

from adsyncd.config.answer_tables import AnswerTable
from adsyncd.config.limits_table import LimitsTable
from adsyncd.config.profile_file import shipped_names, shipped_profile
from adsyncd.model.profile import Means
from adsyncd.platforms import transport
from adsyncd.rate.dialect import STANDARD, Counter, Dialect
from adsyncd.rate.stated_time import LONGEST_S

PAGE = (Path(__file__).parents[2] / "docs" / "feedback.md").read_text(encoding="utf-8")
FLAT = " ".join(PAGE.split())
EXCERPTS = dict(re.findall(r"^`([\w-]+)`[:,][^\n]*\n\n```toml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))
OWN = [name for name in shipped_names() if shipped_profile(name).dialect != STANDARD]


def dialect(text: str) -> Dialect:
    document = tomllib.loads(text)
    assert document.keys() <= {"limits", "answers"}
    answers = [AnswerTable.model_validate(table).answer() for table in document.get("answers", [])]
    assert {answer.means for answer in answers} <= {Means.THROTTLED}
    return LimitsTable.model_validate(document.get("limits", {})).dialect(tuple(answer.rule for answer in answers))


def test_the_profiles_with_ways_of_their_own_are_listed() -> None:
    assert re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE) == OWN


def test_what_such_a_profile_has_of_limits_is_what_the_page_shows() -> None:
    assert {name: dialect(EXCERPTS[name]) for name in OWN} == {name: shipped_profile(name).dialect for name in OWN}
    assert EXCERPTS.keys() - OWN == {"standard", "x-ads"}


def test_the_table_of_the_common_forms_states_every_key() -> None:
    assert dialect(EXCERPTS["standard"]) == STANDARD
    stated = tomllib.loads(EXCERPTS["standard"])["limits"].keys()
    assert stated == {field.name for field in fields(Dialect)} - {"throttling"} == set(LimitsTable.model_fields)


def test_the_counters_of_x_are_added_to_the_common_ones() -> None:
    account = Counter("x-account-rate-limit-remaining", "x-account-rate-limit-limit", "x-account-rate-limit-reset")
    assert dialect(EXCERPTS["x-ads"]) == replace(STANDARD, counters=(*STANDARD.counters, account))


def test_the_example_says_something_of_its_own() -> None:
    [example] = re.findall(r"```toml\n(\[limits\]\nwait_headers = \[\"X-.*?)```", PAGE, re.DOTALL)
    found = dialect(example)
    assert found.wait_headers == ("x-retry-in", "retry-after")
    assert found.counters == (Counter("x-calls-left", "x-calls", "x-calls-reset"),)
    assert found.usages == STANDARD.usages
    assert len(found.throttling) == 2


def test_the_header_fields_and_numbers_are_those_of_the_code() -> None:
    for usage in STANDARD.usages:
        assert usage.header in PAGE.lower()
    assert timedelta(seconds=LONGEST_S) == timedelta(days=1)
    assert "No time counts for more than a day" in FLAT
    assert timedelta(seconds=transport._LONGEST_CLOSING_S) == timedelta(hours=1)
    assert "after an hour of silence" in FLAT
