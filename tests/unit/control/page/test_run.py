"""What the page of one run says, as values."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from adsyncd.control.page.run import RunView, run_view
from adsyncd.control.page.trail import trail
from adsyncd.model.campaign import PushState
from adsyncd.model.failure import RunDetails, Unpushed
from adsyncd.model.run import Outcome
from adsyncd.rate.wait import WaitReason
from support.drawn import UP, a_run
from support.records import NOON

DEAD = "the platform answered 422: this campaign can't be synced"
UNPUSHED = [
    Unpushed("cmp-0024", PushState.FAILED, "503 four times", 4, NOON - timedelta(minutes=2), "Lookalike"),
    *(
        Unpushed(f"cmp-{number:04}", PushState.DEAD_LETTERED, DEAD, 1, NOON - timedelta(hours=26), None)
        for number in (3, 7, 11)
    ),
]


def view(unpushed: Sequence[Unpushed] = (), more: int = 0, following: str | None = None, **run: Any) -> RunView:  # noqa: ANN401 - a run's fields
    return run_view(UP, RunDetails(a_run("umbrella", **run), unpushed, more), NOON, following=following)


def test_what_was_not_pushed_is_told_first_with_its_reasons_and_what_helps() -> None:
    shown = view(UNPUSHED, outcome=Outcome.PARTIAL, pushed=21, dead_lettered=3, failed=1)
    assert shown.sentence == "21 of 25 campaigns were pushed, 4 were not."
    assert shown.severity == "warning"
    assert list(shown.said) == [
        f"3 are dead letters, for one reason: {DEAD}. Runs skip dead letters.",
        "1 failed, for one reason: 503 four times. The next run tries again.",
    ]
    assert shown.fix == "adsyncd dead-letters replay --tenant umbrella"
    failed, dead, *_ = shown.unpushed
    assert (failed.state, failed.kind, failed.attempts, failed.lasts.words) == ("failed", "badt", 4, "2m")
    assert failed.name
    assert (dead.state, dead.name, dead.lasts.words, dead.since.words) == (
        "dead letter", None, "26h", "yesterday 10:00:00",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ({}, "All 25 campaigns were pushed."),
        ({"listed": 1, "pushed": 1}, "The campaign was pushed."),
        ({"listed": 0, "pushed": 0}, "The platform listed no campaigns."),
        ({"pushed": 2, "skipped": 23}, "2 of 25 campaigns were pushed; the others had not changed."),
        ({"pushed": 0, "stored": 25}, "All 25 campaigns were stored."),
        ({"pushed": 24, "failed": 1}, "24 of 25 campaigns were pushed, 1 was not."),
        ({"outcome": Outcome.FAILED, "pushed": 0}, "The run failed: it could not list all campaigns."),
        ({"outcome": Outcome.FAILED, "pushed": 3}, "The run failed: it could not list all campaigns; 3 were pushed."),
        (
            {"outcome": Outcome.ABANDONED, "pushed": 9, "error": "not done within run_deadline (30m)"},
            "The run passed its deadline: 9 of 25 campaigns were pushed.",
        ),
        ({"outcome": Outcome.ABANDONED, "pushed": 9}, "An operator cancelled the run: 9 of 25 campaigns were pushed."),
        ({"outcome": None, "ended_at": None, "pushed": 9}, "The run is in progress: 9 of 25 campaigns are done."),
    ],
)
def test_one_sentence_says_how_it_ended(run: dict[str, Any], sentence: str) -> None:
    assert view(**run).sentence == sentence


def test_facts_say_what_took_the_time() -> None:
    waits = {WaitReason.QUOTA: 8.1, WaitReason.BACKOFF: 0.01}
    facts = {
        fact.label: (fact.value, fact.small)
        for fact in view(waits=waits, retries=3, late_s=61.0, skipped_ticks=2).facts
    }
    assert facts == {
        "Took": ("2m 00s", "began 1m 01s late, 2 ticks skipped"),
        "Requests": ("31", "3 retries"),
        "Waited": ("8.1 s", "8.1 s for quota"),
        "Answered 429": ("0", ""),
    }
    assert next(iter(view().facts)).small == "began on time"


def test_an_error_that_repeats_the_sentence_is_left_out() -> None:
    error = "4 of 25 campaigns were not pushed"
    assert "Error" not in " ".join(view(UNPUSHED, outcome=Outcome.PARTIAL, failed=4, error=error).said)
    first = f"{error}, the first because {UNPUSHED[0].reason}"
    assert "Error" not in " ".join(view(UNPUSHED, outcome=Outcome.PARTIAL, failed=4, error=first).said)
    for more in (f"{error}; 2 odd items", f"{first}; 2 odd items", f"{error}, the first because of what is not shown"):
        assert "Error" in " ".join(view(UNPUSHED, outcome=Outcome.PARTIAL, failed=4, error=more).said)
    assert "Error" in " ".join(view([], outcome=Outcome.PARTIAL, failed=4, error=error).said)


def test_errors_notes_and_untried_campaigns_are_told() -> None:
    said = " ".join(view(outcome=Outcome.ABANDONED, failed=4, untried=4, error="boom\n", note="odd").said)
    assert said == r"4 were not tried: the run was cut short. Error: boom\n Note: odd"


def test_many_reasons_are_counted_and_the_first_told() -> None:
    many = [Unpushed(f"c{one}", PushState.FAILED, f"reason {one}", 1, NOON) for one in range(9)]
    [said] = view(many, failed=9, outcome=Outcome.PARTIAL).said
    assert "9 failed, for 9 reasons: reason 0; " in said
    assert "and others" in said


def test_campaigns_that_are_not_kept_are_counted() -> None:
    assert view(more=5, failed=5).untold.startswith("5 campaigns more")
    assert view(more=5, failed=5, outcome=None, ended_at=None).untold.startswith("They are listed here once")
    assert view(more=5, failed=5, following="x").untold == ""
    assert view().untold == ""


def test_the_pages_of_campaigns_are_named_by_ids_of_strangers() -> None:
    details = RunDetails(a_run("umbrella"), UNPUSHED, 200)
    shown = run_view(UP, details, NOON, trail=trail("a"), following="b~c d&e")
    assert shown.pager
    assert trail(shown.pager.next.partition("after=")[2]).cursors[0] == "a"
    assert "b%257Ec%2520d%2526e" in shown.pager.next
