from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from adsyncd.shaping import Evidence
from adsyncd.tenant import Shape

W = 60.0


def live(evidence: Evidence, windows: Iterable[tuple[int, int]], *, waiting: bool = True, start: int = 0) -> int:
    """Let windows pass with so many requests accepted and refused in each; return the number of the next one."""
    number = start
    for number, (accepted, refused) in enumerate(windows, start):
        for answer in range(accepted + refused):
            evidence.answered(number * (W + 1) + answer / 100, refused=answer >= accepted, waiting=waiting)
    return number + 1


def test_two_windows_with_refusals_prove_nothing_three_in_a_row_begin_a_trial() -> None:
    evidence = Evidence(W)
    after = live(evidence, [(6, 4), (6, 4), (10, 0), (6, 4), (6, 4), (10, 0)])
    assert (evidence.shape, evidence.trial) == (Shape.BURST, False)
    live(evidence, [(6, 4), (6, 4), (6, 4), (9, 0)], start=after)
    assert (evidence.shape, evidence.trial) == (Shape.PACED, True)


@given(st.lists(st.integers(0, 1), min_size=1, max_size=200))
def test_single_refusals_never_change_anything(refusals: list[int]) -> None:
    evidence = Evidence(W)
    rare = [(10, refused if number % 3 == 0 else 0) for number, refused in enumerate(refusals)]
    live(evidence, rare)
    assert evidence.shape is Shape.BURST


def test_spacing_that_ends_the_refusals_is_kept_though_it_costs_a_tenth() -> None:
    evidence = Evidence(W)
    live(evidence, [(10, 1)] * 3 + [(9, 0)] * 20)
    assert (evidence.shape, evidence.trial) == (Shape.PACED, False)


def test_spacing_that_lets_through_more_is_kept_though_there_are_still_refusals() -> None:
    evidence = Evidence(W)
    live(evidence, [(5, 5)] * 3 + [(7, 1)] * 20)
    assert (evidence.shape, evidence.trial) == (Shape.PACED, False)


def test_spacing_that_helps_nothing_since_somebody_else_uses_the_quota_is_given_up_for_longer_and_longer() -> None:
    evidence, trials, number = Evidence(W), [], 0
    for _ in range(60):
        before = evidence.trial
        number = live(evidence, [(5, 2) if evidence.shape is Shape.BURST else (4, 1)], start=number)
        if evidence.trial and not before:
            trials.append(number)
    assert evidence.shape is Shape.BURST or evidence.trial
    gaps = [later - sooner for sooner, later in pairwise(trials)]
    assert gaps == sorted(gaps)
    assert len(set(gaps)) == len(gaps) >= 3


def test_a_trial_is_not_judged_by_windows_in_which_there_was_nothing_to_do() -> None:
    evidence = Evidence(W)
    after = live(evidence, [(6, 4)] * 3)
    after = live(evidence, [(1, 0)] * 30, waiting=False, start=after)
    assert (evidence.shape, evidence.trial) == (Shape.PACED, True)
    live(evidence, [(9, 0)] * 5, start=after)
    assert (evidence.shape, evidence.trial) == (Shape.PACED, False)


def test_a_window_in_which_the_work_came_to_its_end_proves_nothing_on_trial() -> None:
    evidence, number = Evidence(W), 0
    number = live(evidence, [(8, 2)] * 3 + [(9, 0)], start=number)
    for _ in range(3):  # runs, of a whole window and the beginning of another
        number = live(evidence, [(9, 0), (2, 0)], start=number)
        evidence.answered(number * (W + 1) - 2, refused=False, waiting=False)
        number += 60
    assert (evidence.shape, evidence.trial) == (Shape.PACED, False)
