"""A selection of tenants as a query of the control API."""

from adsyncd.model.selection import EVERYTHING, Selection, Show


def test_a_query_has_each_condition_once() -> None:
    selection = Selection(frozenset({Show.LATE, Show.FAILING}), "mixo", "a*", "x")
    assert list(selection.query()) == [("state", "failing,late"), ("platform", "mixo"), ("match", "a*"), ("q", "x")]
    assert list(EVERYTHING.query()) == []


def test_no_condition_selects_everything() -> None:
    assert EVERYTHING.everything
    assert Selection(frozenset({Show.ALL})).everything
    assert not any(
        one.everything
        for one in (
            Selection(frozenset({Show.LATE})),
            Selection(platform="mixo"),
            Selection(match="*"),
            Selection(q="a"),
        )
    )


def test_the_conditions_besides_kinds_are_said_in_words() -> None:
    selection = Selection(frozenset({Show.LATE}), "mixo", "a*", "x")
    assert selection.in_words() == 'the platform "mixo" and an id that matches "a*" and an id or client id with "x"'
    assert EVERYTHING.in_words() == ""
