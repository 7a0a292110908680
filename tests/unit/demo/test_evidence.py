from dataclasses import replace
from datetime import timedelta

import pytest

from adsyncd.demo.evidence import TenantEvidence, judge
from adsyncd.demo.platform import LedgerPage
from adsyncd.errors import AdsyncdError
from adsyncd.model.run import Outcome
from adsyncd.rate.quota import Quota
from support.records import NOON, run

LEDGER = LedgerPage(accepted=20, refused=0, pushes={"cmp-1": 1, "cmp-2": 1})
RUN = replace(run(), outcome=Outcome.SUCCEEDED, ended_at=NOON + timedelta(seconds=7), pushed=2)
PULLED = TenantEvidence(
    replace(RUN, pushed=0, listed=2, stored=2), stored=2, ledger=replace(LEDGER, pushes={}), traced=True, pulls=True
)
SOUND = TenantEvidence(RUN, stored=2, ledger=LEDGER, traced=True)


def test_all_pushed_once_and_stored_and_traced_with_nothing_refused_is_as_it_has_to_be() -> None:
    judge([SOUND, PULLED, SOUND], 2)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (
            replace(SOUND, run=replace(RUN, outcome=Outcome.PARTIAL, error="1 of 2 campaigns were not pushed")),
            "its run partial: 1 of 2 campaigns were not pushed",
        ),
        (replace(SOUND, stored=1), "of 2 campaigns 2 were pushed and 1 are stored"),
        (replace(SOUND, ledger=replace(LEDGER, pushes={"cmp-1": 1})), "of 2 campaigns 1 were pushed and 2 are stored"),
        (
            replace(SOUND, ledger=replace(LEDGER, pushes={"cmp-1": 1, "cmp-2": 2})),
            "1 campaign was pushed more than once",
        ),
        (replace(SOUND, ledger=replace(LEDGER, refused=3)), "3 requests were refused for quota"),
        (replace(SOUND, run=replace(RUN, refused=4)), "4 requests were refused for quota"),
        (replace(SOUND, traced=False), "the trace of its run did not arrive"),
        (replace(PULLED, stored=1), "of 2 campaigns 2 were listed and 1 are stored"),
        (replace(PULLED, ledger=LEDGER), "2 campaigns were pushed, and none should be"),
    ],
)
def test_whatever_is_otherwise_is_said(found: TenantEvidence, problem: str) -> None:
    with pytest.raises(AdsyncdError) as raised:
        judge([SOUND, found], 2)
    assert str(raised.value) == f"acme: {problem}"


def test_the_quota_is_used_up_by_a_full_one_at_the_start_and_after_each_window() -> None:
    full = replace(SOUND, ledger=replace(LEDGER, accepted=30))
    assert full.quota_used(Quota(10, timedelta(seconds=3))) == 1.0  # at 0, 3 and 6 of 7 s
    assert SOUND.quota_used(Quota(10, timedelta(seconds=3))) == pytest.approx(2 / 3)
    assert SOUND.quota_used(Quota(20, timedelta(seconds=60))) == 1.0
