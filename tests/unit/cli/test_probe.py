from dataclasses import replace

import pytest

from adsyncd.cli.probe import as_json, print_examined, print_probe
from adsyncd.config.profile_file import shipped_profile
from adsyncd.platforms.probe import Examined, Finding, Probe, Sent, Step
from adsyncd.rate.feedback import Limit, Said

PROFILE = shipped_profile("meta")
SENT = Sent("GET", "https://ads.example.com/c?limit=1", {"authorization": "Bearer ***"}, '{"a": 1}')
ID = Finding("id", ("id",), "id", 2, '"c-1"', "c-1")
FOUND = Examined(2, "after=tok", 7, (ID,))


def shown(capsys: pytest.CaptureFixture[str], examined: Examined) -> list[str]:
    print_examined(examined, PROFILE)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_page_is_shown_with_its_records_its_next_page_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, FOUND) == [
        "records: 2 at data",
        "next page: after=tok",
        "total: 7",
        "column path records value read as",
        'id id 2 of 2 "c-1" c-1',
    ]


def test_what_a_record_has_is_named_where_a_path_finds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    budget = Finding("budget", ("money.day", "money.life"), beside=("money.daily", "money.currency"))
    lines = shown(capsys, replace(FOUND, next=None, total=None, findings=(ID, budget)))
    assert lines[1:3] == ["next page: none", "total: not stated"]
    assert lines[-2:] == [
        "budget money.day, money.life 0 of 2 nothing nothing",
        "budget: nothing there; a record has money.daily, money.currency",
    ]


def test_a_value_that_could_not_be_read_is_shown_with_why(capsys: pytest.CaptureFixture[str]) -> None:
    budget = Finding("budget", ("money",), "money", 2, '"much"', None)
    lines = shown(capsys, replace(FOUND, findings=(ID, budget), odd=("c-1: budget is not a number",)))
    assert lines[-2:] == ['budget money 2 of 2 "much" nothing', "odd: c-1: budget is not a number"]


def test_an_empty_page_says_that_nothing_could_be_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, Examined(0, None, 0, ()))[-1] == "without a record, the fields can't be checked"


def test_what_a_platform_sent_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    evil = replace(ID, value='"\x1b[31m"', read_as="\x1b[31m")
    assert "\x1b" not in "".join(shown(capsys, replace(FOUND, findings=(evil,), odd=("\x1b[2J",))))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Said(), "none stated"),
        (Said(12.4, throttled=True), "the request was refused for a limit's sake; wait 12 s"),
        (
            Said(limits=(Limit(3, 8.0, 10, 60.0), Limit(used=0.25))),
            "3 requests left, 10 allowed in 60 s, reset in 8 s; 25% used",
        ),
    ],
)
def test_what_an_answer_says_of_limits_is_put_into_words(
    capsys: pytest.CaptureFixture[str], said: Said, words: str
) -> None:
    print_probe(Probe(sent=SENT, status=200, size=17, said=said, examined=FOUND), PROFILE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "GET https://ads.example.com/c?limit=1",
        "  authorization: Bearer ***",
        '  {"a": 1}',
        "answer: 200, 17 bytes",
        f"limits: {words}",
    ]


def test_a_failed_step_is_said_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_probe(Probe(Step.SIGN_IN, "the platform refused"), PROFILE)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: sign-in: the platform refused\n")


def test_json_has_the_same_keys_however_far_a_probe_came() -> None:
    early, late = as_json(Probe(Step.CREDENTIALS, "none"), PROFILE), as_json(Probe(sent=SENT, examined=FOUND), PROFILE)
    assert list(early) == list(late)
    assert (early["request"], early["records"], late["records"], late["records_path"]) == (None, None, 2, "data")
