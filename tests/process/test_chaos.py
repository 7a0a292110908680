"""Whatever befalls the real daemon, no campaign is lost, none is pushed twice, and no quota is exceeded."""

import os
from collections.abc import Mapping, Sequence

import pytest

from support.chaos import FAULTS, FULL_DISK, Verdict, can_mount, hold_trials


@pytest.fixture(scope="module")
async def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Sequence[Verdict]]:
    first, trials = int(os.environ.get("ADSYNCD_SEED", "0")), int(os.environ.get("ADSYNCD_SOAK", "1"))
    possible = [fault for fault in FAULTS if fault != FULL_DISK or can_mount()]
    found = await hold_trials(tmp_path_factory.mktemp("chaos"), possible, range(first, first + trials))
    return {fault: [verdict for verdict in found if verdict.fault == fault] for fault in possible}


@pytest.mark.parametrize("fault", FAULTS)
async def test_x(fault, verdicts) -> None:
    for verdict in verdicts[fault]:
        assert verdict.problems == ()
        assert (verdict.losses.lost, verdict.losses.doubled, verdict.losses.refused) == (0,0,0)
