import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.runs.deletion import Missing


@pytest.mark.parametrize(
    ("missing", "collapsed"),
    [
        (Missing(live=0, before=0, now=0, again=0), False),
        (Missing(live=30, before=0, now=15, again=0), False),
        (Missing(live=30, before=0, now=16, again=0), True),
        (Missing(live=30, before=0, now=30, again=0), True),
        (Missing(live=1, before=0, now=1, again=0), True),
        (Missing(live=30, before=30, now=30, again=30), False),  # it agrees
        (Missing(live=30, before=20, now=21, again=20), False),  # it does, and one more is gone
        (Missing(live=30, before=20, now=26, again=20), True),  # of the ten that were left most are gone
        (Missing(live=30, before=30, now=25, again=25), True),  # some came back: it is recovering
        (Missing(live=30, before=2, now=30, again=2), True),
    ],
)
def test_a_listing_has_collapsed_if_more_than_half_is_missing_and_the_one_before_does_not_agree(
    missing: Missing, collapsed: bool
) -> None:
    assert missing.collapsed is collapsed


@given(st.integers(0, 50), st.data())
def test_a_listing_that_finds_the_same_ones_missing_as_the_one_before_is_believed(
    live: int, data: st.DataObject
) -> None:
    gone = data.draw(st.integers(0, live))
    assert not Missing(live, gone, gone, gone).collapsed
