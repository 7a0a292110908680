"""Faults injected into the real daemon: no campaign is lost, none is pushed twice in a run, and no quota is exceeded.

Here each fault is tried once. `make soak` tries it as often as ADSYNCD_TRIALS says, and keeps what that measured.
ADSYNCD_SEED is the first trial's seed: `ADSYNCD_SEED=17 pytest tests/process/test_chaos.py -k SIGSTOP` repeats a plan.
"""

import os
from collections.abc import Mapping, Sequence

import pytest

from support.chaos import FAULTS, Verdict, hold_trials, missing
from support.reliability import Row, keep
from support.trial import Losses, count_losses

TRIALS = os.environ.get("ADSYNCD_TRIALS")


@pytest.fixture(scope="module")
async def verdicts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Sequence[Verdict]]:
    """The verdicts on all faults that are asked for and can be tried here, by fault."""
    asked = {item.callspec.params.get("fault") for item in request.session.items if hasattr(item, "callspec")}
    faults = [fault for fault in FAULTS if fault in asked and not missing(fault)]
    first, trials = int(os.environ.get("ADSYNCD_SEED", "0")), int(TRIALS or "1")
    found = await hold_trials(tmp_path_factory.mktemp("chaos"), faults, range(first, first + trials))
    by_fault = {fault: [verdict for verdict in found if verdict.fault == fault] for fault in faults}
    if TRIALS and faults == list(FAULTS):
        keep("process", [measured(fault, held) for fault, held in by_fault.items()])
    return by_fault


def measured(fault: str, verdicts: Sequence[Verdict]) -> Row:
    total = sum((verdict.losses for verdict in verdicts), Losses())
    return Row("process", fault, len(verdicts), total.pushes, total.lost, total.doubled, total.refused)


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost_doubled_or_refused_for_quota_and_what_is_cut_off_is_taken_up(
    fault: str, verdicts: Mapping[str, Sequence[Verdict]]
) -> None:
    """Counts reconcile, too, and it ends cleanly and without a traceback: else there are `problems`."""
    if reason := missing(fault):
        (pytest.fail if "CI" in os.environ else pytest.skip)(reason)
    for verdict in verdicts[fault]:
        losses = verdict.losses
        assert (losses.lost, losses.doubled, losses.refused, verdict.problems) == (0, 0, 0, ()), verdict


@pytest.mark.parametrize(
    ("effects", "stored", "refused", "losses"),
    [
        ({"c1": {"k1": 1, "k3": 1}, "c2": {"k2": 1, "k4": 1}}, 2, 0, Losses(4, 0, 0, 0)),
        ({"c1": {"k1": 1, "k3": 1}, "c2": {"k2": 1, "k4": 1}}, 1, 3, Losses(4, 1, 0, 3)),
        ({"c1": {"k1": 1}, "c2": {"k2": 1, "k4": 1}}, 2, 0, Losses(3, 1, 0, 0)),
        ({"c2": {"k2": 1, "k4": 1}}, 2, 0, Losses(2, 2, 0, 0)),
        ({"c1": {"k1": 2, "k3": 1}, "c2": {"k2": 1, "k4": 1}}, 2, 0, Losses(5, 0, 1, 0)),
        ({"c1": {"k1": 1, "k3": 1, "k5": 1}, "c2": {"k2": 1, "k4": 1}}, 2, 0, Losses(5, 0, 1, 0)),
    ],
    ids=["all is well", "not stored", "not pushed in a run", "never pushed", "twice by a key", "by a key too many"],
)
def test_losses_are_counted_for_what_they_are(
    effects: Mapping[str, Mapping[str, int]], stored: int, refused: int, losses: Losses
) -> None:
    """Of two campaigns and two runs."""
    total = sum(times for keys in effects.values() for times in keys.values())
    assert count_losses(2, stored, 2, {"effects": effects, "effects_total": total, "refused": refused}) == losses
