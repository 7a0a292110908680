from datetime import timedelta

import pytest

from adsyncd.control.page import words
from adsyncd.control.page.words import Foreign, When
from support.records import NOON


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (0.25, "0.2 s"),
        (10.7, "10.7 s"),
        (59.96, "60 s"),
        (8, "8 s"),
        (122, "2m 02s"),
        (3599.4, "59m 59s"),
        (3599.6, "1h 00m"),
        (31 * 3600, "31h 00m"),
        (50 * 3600, "2d 2h"),
    ],
)
def test_what_took_a_while_is_said_in_two_units(seconds: float, said: str) -> None:
    assert words.took(seconds) == said


@pytest.mark.parametrize(
    ("share", "said"), [(0, "0 %"), (0.41, "41 %"), (2.75, "275 %"), (0.002, "0.2 %"), (1e-6, "< 0.1 %")]
)
def test_small_shares_are_not_said_to_be_none(share: float, said: str) -> None:
    assert words.percent(share) == said


def test_times_of_another_day_have_their_date() -> None:
    assert words.at(NOON, NOON) == When("2026-11-25T12:00:00Z", "12:00:00")
    assert words.at(NOON - timedelta(days=1), NOON).words == "yesterday 12:00:00"
    assert words.at(NOON - timedelta(days=2), NOON).words == "2026-11-23 12:00"


def test_times_past_change_each_minute_at_most() -> None:
    assert {words.ago(NOON - timedelta(seconds=one), NOON).words for one in range(60)} == {"just now"}
    assert words.ago(NOON - timedelta(minutes=53, seconds=59), NOON).words == "53m ago"
    assert words.for_(NOON - timedelta(hours=26), NOON).words == "26h"
    assert words.for_(NOON, NOON).words == "< 1m"
    assert words.until(NOON + timedelta(seconds=9), NOON).words == "in 9s"
    assert words.until(NOON - timedelta(days=9), NOON).words == "now"
    assert words.about(timedelta(days=3)) == "3d"


def test_a_stranger_s_words_are_cut_and_their_controls_shown() -> None:
    assert words.foreign("Spring sale") == Foreign("Spring sale")
    assert words.foreign("safe\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe\n") == Foreign(r"safe\u202egnp.exe\n")
    cut = words.foreign("x" * 10_000, 20)
    assert cut.short == "x" * 19 + "\N{HORIZONTAL ELLIPSIS}"
    assert cut.full == "x" * 400 + "\N{HORIZONTAL ELLIPSIS}"
    assert words.foreign("x" * 30, 20).full == "x" * 30
    assert len(words.foreign("\N{RIGHT-TO-LEFT OVERRIDE}" * 10_000).full) <= 401


def test_of_many_names_the_first_are_said() -> None:
    assert words.chips(["a", "b", "c", "d"], 9).more == 6
    assert words.chips(["a"], 1) == words.Chips(["a"])


def test_numbers_have_commas_and_nouns_their_plural() -> None:
    assert words.several(1, "tenant") == "1 tenant"
    assert words.several(182_340, "tenant") == "182,340 tenants"
    assert words.capital("late: of quota") == "Late: of quota"
    assert words.capital("") == ""
