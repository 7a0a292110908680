from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_api.ledger import Book


@given(st.lists(st.integers(0, 10), min_size=1).map(lambda steps: list(accumulate(steps))), st.integers(1, 30))
def test_the_largest_window_is_the_most_accepted_in_any_trailing_window(instants: list[int], window: int) -> None:
    book = Book()
    for at in instants:
        book.accept(at, [window])
    largest = max(sum(end - window < at <= end for at in instants) for end in instants)
    assert book.as_json()["largest_window"] == largest


def test_each_window_has_its_own_largest_count_and_the_first_one_is_the_largest_window() -> None:
    book = Book()
    for at in range(8):
        book.accept(at, [2, 0.5, 5])
    page = book.as_json()
    assert (page["largest_window"], page["largest_windows"]) == (2, {"2": 2, "0.5": 1, "5": 5})


def test_a_window_holds_what_its_requests_cost() -> None:
    book = Book()
    for at, cost in ((0, 3), (4, 2), (10, 1)):
        book.accept(at, [10, 5], cost)
    page = book.as_json()
    assert (page["accepted"], page["largest_windows"]) == (3, {"10": 5, "5": 5})


def test_a_page_without_requests_has_no_largest_window() -> None:
    assert Book().as_json()["largest_window"] == 0


def test_requests_are_booked_with_their_instants() -> None:
    book = Book()
    book.accept(1.5, [60])
    book.refuse(2.5)
    book.refuse(3.5)
    page = book.as_json()
    assert (page["accepted"], page["accepted_at"]) == (1, [1.5])
    assert (page["refused"], page["refused_at"]) == (2, [2.5, 3.5])


def test_effects_are_counted_by_campaign_and_key() -> None:
    book = Book()
    for campaign, key in [("a", "1"), ("a", "1"), ("a", "2"), ("b", "")]:
        book.effect(campaign, key)
    page = book.as_json()
    assert page["effects"] == {"a": {"1": 2, "2": 1}, "b": {"": 1}}
    assert page["effects_total"] == 4


def test_counts_stay_exact_when_the_oldest_details_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mock_api.ledger._KEPT", 2)
    book = Book()
    for number in range(5):
        book.accept(number, [60])
        book.refuse(number)
        book.effect("a", str(number))
    page = book.as_json()
    assert (page["accepted"], page["refused"], page["effects_total"], page["largest_window"]) == (5, 5, 5, 5)
    assert page["accepted_at"] == page["refused_at"] == [3, 4]
    assert page["effects"] == {"a": {"3": 1, "4": 1}}
