from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from adsyncd.rate.pacing import Evidence
from adsyncd.rate.quota import Shape

W = 60.0
REFUSED, CLEAN, SPACED = (6, 4), (10, 0), (9, 0)


def live(evidence: Evidence, windows: Iterable[tuple[int, int]], *, waiting: bool = True, start: int = 0) -> int:
    """Let windows pass with so many requests accepted and refused in each; return the number of the next one."""
    number = start
    for number, (accepted, refused) in enumerate(windows, start):
        for answer in range(accepted + refused):
            evidence.answered(number * (W + 1) + answer / 100, refused=answer >= accepted, waiting=waiting)
    return number + 1


def states(evidence: Evidence, windows: Iterable[tuple[int, int]], start: int = 0) -> str:
    """Return what was in force at the end of each window: `b` or `p`, in capitals if it is what was learned."""
    found = ""
    for window in windows:
        start = live(evidence, [window], start=start)
        found += evidence.shape[0].upper() if evidence.shape is evidence.learned else evidence.shape[0]
    return found


def kept() -> tuple[Evidence, int]:
    """Return what has learned that spacing helps, and the number of the next window."""
    evidence = Evidence(W)
    number = live(evidence, [REFUSED] * 3 + [SPACED] * 3 + [REFUSED])
    return evidence, live(evidence, [SPACED], start=number)


def test_two_windows_with_refusals_prove_nothing_three_in_a_row_begin_a_trial() -> None:
    assert states(Evidence(W), [REFUSED, REFUSED, CLEAN, REFUSED, REFUSED, CLEAN, CLEAN]) == "BBBBBBB"
    assert states(Evidence(W), [REFUSED, REFUSED, REFUSED, SPACED]) == "BBBp"


@given(st.lists(st.integers(0, 1), min_size=1, max_size=200))
def test_single_refusals_never_change_anything(refusals: list[int]) -> None:
    evidence = Evidence(W)
    rare = [(10, refused if number % 3 == 0 else 0) for number, refused in enumerate(refusals)]
    live(evidence, rare)
    assert evidence.shape is evidence.learned is Shape.BURST


def test_spacing_is_learned_where_it_ends_the_refusals_and_bursts_bring_them_back_though_it_costs_a_tenth() -> None:
    assert states(Evidence(W), [REFUSED] * 3 + [SPACED] * 3 + [REFUSED] + [SPACED] * 20) == "BBBpppB" + 20 * "P"


def test_spacing_is_not_learned_where_bursts_are_not_refused_any_more_since_somebody_else_went_away() -> None:
    assert states(Evidence(W), [REFUSED] * 3 + [SPACED] * 3 + [CLEAN] * 20) == "BBBppp" + 20 * "B"


def test_spacing_that_lets_through_more_is_kept_though_there_are_rare_refusals() -> None:
    assert states(Evidence(W), [(5, 5)] * 3 + [(7, 1)] * 3 + [(5, 5)] + [(7, 1)] * 20) == "BBBpppB" + 20 * "P"


def test_spacing_that_ends_no_refusals_is_given_up_however_much_it_lets_through() -> None:
    assert states(Evidence(W), [(5, 5)] * 3 + [(9, 2)] * 4) == "BBBpppB"


def test_spacing_that_helps_nothing_since_somebody_else_uses_the_quota_is_given_up_for_longer_and_longer() -> None:
    evidence, trials, number = Evidence(W), [], 0
    for _ in range(60):
        before = evidence.shape
        number = live(evidence, [(5, 2) if evidence.shape is Shape.BURST else (4, 1)], start=number)
        if evidence.shape is Shape.PACED and before is Shape.BURST:
            trials.append(number)
    assert evidence.learned is Shape.BURST
    gaps = [later - sooner for sooner, later in pairwise(trials)]
    assert gaps == sorted(gaps)
    assert len(set(gaps)) == len(gaps) >= 3


def test_what_was_learned_is_let_go_once_spaced_requests_are_refused_in_three_windows_in_a_row() -> None:
    evidence, number = kept()
    assert states(evidence, [(7, 2), (7, 2), SPACED, (7, 2), (7, 2), (7, 2), CLEAN], number) == "PPPPPPB"
    assert evidence.learned is Shape.BURST


def test_what_was_learned_is_checked_from_time_to_time_and_let_go_when_bursts_are_taken() -> None:
    evidence, number = kept()
    found = states(evidence, [SPACED] * 24 + [CLEAN] * 10, number)
    assert found.rstrip("B") == "P" * 23 + "bbb"


def test_checks_are_rarer_and_rarer_while_each_meets_with_refusals() -> None:
    evidence, number = kept()
    found = ""
    for _ in range(400):
        found += evidence.shape[0]
        number = live(evidence, [SPACED if evidence.shape is Shape.PACED else REFUSED], start=number)
    assert evidence.learned is Shape.PACED
    assert [len(spaced) for spaced in found.split("bb")] == [24, 48, 96, 192, 32]


def test_what_was_learned_before_a_restart_is_let_go_if_it_does_not_hold() -> None:
    for first in (SPACED, (7, 2)):
        evidence = Evidence(W, Shape.PACED)
        live(evidence, [first, first, first] + [SPACED] * 9 + [CLEAN] * 5)
        assert evidence.shape is evidence.learned is Shape.BURST
    evidence = Evidence(W, Shape.PACED)
    assert states(evidence, [SPACED] * 12 + [REFUSED] + [SPACED] * 20) == "P" * 12 + "b" + "P" * 20


def test_what_was_learned_is_let_go_by_one_who_never_has_a_queue_too() -> None:
    evidence = Evidence(W, Shape.PACED)
    live(evidence, [(4, 0)] * 40, waiting=False)
    assert evidence.shape is evidence.learned is Shape.BURST


def test_a_trial_is_not_judged_by_windows_in_which_there_was_nothing_to_do() -> None:
    evidence = Evidence(W)
    after = live(evidence, [REFUSED] * 3)
    after = live(evidence, [(1, 0)] * 30, waiting=False, start=after)
    assert (evidence.shape, evidence.learned) == (Shape.PACED, Shape.BURST)
    after = live(evidence, [SPACED] * 3 + [REFUSED], start=after)
    live(evidence, [SPACED], start=after)
    assert evidence.learned is Shape.PACED


def test_a_window_in_which_the_work_came_to_its_end_proves_nothing_on_trial() -> None:
    evidence, number = Evidence(W), 0
    number = live(evidence, [(8, 2)] * 3 + [SPACED], start=number)
    for _ in range(3):  # runs, of a whole window and the beginning of another
        number = live(evidence, [SPACED, (2, 0)], start=number)
        evidence.answered(number * (W + 1) - 2, refused=False, waiting=False)
        number += 60
    assert states(evidence, [REFUSED, SPACED], number) == "BP"
