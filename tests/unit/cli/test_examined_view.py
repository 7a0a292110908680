from dataclasses import replace

import pytest

from adsyncd.cli.examined_view import print_examined
from adsyncd.config.profile_file import shipped_profile
from adsyncd.platforms.probe import Column, Examined

PROFILE = shipped_profile("meta")
ID = Column("id", ("id",), "id", 2, '"c-1"', "c-1")
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
    budget = Column("budget", ("money.day", "money.life"), beside=("money.daily", "money.currency"))
    lines = shown(capsys, replace(FOUND, next=None, total=None, columns=(ID, budget)))
    assert lines[1:3] == ["next page: none", "total: not stated"]
    assert lines[-2:] == [
        "budget money.day, money.life 0 of 2 nothing nothing",
        "budget: nothing there; a record has money.daily, money.currency",
    ]


def test_a_value_that_could_not_be_read_is_shown_with_why(capsys: pytest.CaptureFixture[str]) -> None:
    budget = Column("budget", ("money",), "money", 2, '"much"', None)
    lines = shown(capsys, replace(FOUND, columns=(ID, budget), odd=("c-1: budget is not a number",)))
    assert lines[-2:] == ['budget money 2 of 2 "much" nothing', "odd: c-1: budget is not a number"]


def test_an_empty_page_says_that_nothing_could_be_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, Examined(0, None, 0, ()))[-1] == "without a record, the fields can't be checked"


def test_what_a_platform_sent_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    evil = replace(ID, value='"\x1b[31m"', read_as="\x1b[31m")
    assert "\x1b" not in "".join(shown(capsys, replace(FOUND, columns=(evil,), odd=("\x1b[2J",))))
