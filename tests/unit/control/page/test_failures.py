import shlex
from dataclasses import replace

import pytest

from adsyncd.control.page.failures import failures_view
from support.drawn import REASONS, UP
from support.records import NOON

HOSTILE = 'it\'s $(reboot) `x` "y" & <b>'


def test_a_sentence_says_whether_it_is_one_cause_or_many() -> None:
    assert failures_view(UP, REASONS, NOON).sentence == (
        "58 campaigns were not pushed, for 2 reasons; the last run of 4 tenants failed."
    )
    assert failures_view(UP, REASONS[:1], NOON).sentence == "55 campaigns were not pushed, for one reason."
    assert failures_view(UP, REASONS[1:2], NOON).sentence == "The last run of 4 tenants failed."
    assert failures_view(UP, (), NOON).sentence == "Nothing fails: every campaign is pushed."


def test_a_reason_has_its_tenants_its_age_and_what_happens_next() -> None:
    dead, runs, pushes = failures_view(UP, REASONS, NOON).rows
    assert (dead.campaigns, dead.number, dead.tenants.more) == ("55", "6", 3)
    assert dead.lasts
    assert dead.lasts.words == "26h"
    assert (runs.campaigns, runs.lasts, runs.do, pushes.do) == ("all", None, "", "")


def test_the_command_quotes_a_reason_for_a_shell() -> None:
    [row] = failures_view(UP, [replace(REASONS[0], reason=HOSTILE)], NOON).rows
    assert shlex.split(row.do) == ["adsyncd", "dead-letters", "replay", "--reason", HOSTILE]


@pytest.mark.parametrize("reason", ["two\nlines", "\N{RIGHT-TO-LEFT OVERRIDE}", ""])
def test_a_reason_that_can_not_be_pasted_is_replaced_by_the_tenant(reason: str) -> None:
    [row] = failures_view(UP, [replace(REASONS[0], reason=reason)], NOON).rows
    assert row.do == "adsyncd dead-letters replay --tenant umbrella"
