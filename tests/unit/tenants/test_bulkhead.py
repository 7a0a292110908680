from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adsyncd.errors import SignInRefused
from adsyncd.model.run import Outcome, Tally
from adsyncd.model.status import Going, State, TenantStatus
from adsyncd.rate.quota import Shape
from adsyncd.rate.wait import WaitReason
from adsyncd.tenants.bulkhead import Bulkhead
from support.records import NOON, run
from support.tenants import a_tenant

LATER = NOON + timedelta(minutes=15)
PARTIAL = replace(run(), ended_at=NOON, outcome=Outcome.PARTIAL, error="1 of 2 campaigns were not pushed")


class Gate:
    """A gate through which a request goes each second."""

    free = 3
    shape = Shape.PACED

    def forecast_s(self, requests: int) -> float:
        return float(requests)


def a_bulkhead(**changes: Any) -> Bulkhead:  # noqa: ANN401 - its fields
    parts = {"session": SimpleNamespace(failure=None), "gate": Gate(), "budget": None}
    return Bulkhead(a_tenant(), **cast("Any", parts | changes))


def status(bulkhead: Bulkhead, **changes: Any) -> TenantStatus:  # noqa: ANN401 - what a status is made of
    given = {"running": False, "paused_since": None, "last_run": None, "next_fire_time": LATER}
    return bulkhead.status(NOON, **cast("Any", given | changes))


def going(announced: int = 0, listed: int = 0, pushed: int = 0) -> Going:
    return Going("acme-1", NOON, Tally(announced=announced, listed=listed, pushed=pushed))


@pytest.mark.parametrize(
    ("fields", "running", "paused", "state"),
    [
        ({}, False, False, State.IDLE),
        ({}, False, True, State.PAUSED),
        ({}, True, False, State.RUNNING),
        ({}, True, True, State.RUNNING),
        ({"elsewhere": True}, False, False, State.ELSEWHERE),
        ({"elsewhere": True}, False, True, State.PAUSED),
        ({"elsewhere": True}, True, False, State.RUNNING),
        ({"leaving": True}, True, False, State.DRAINING),
    ],
)
def test_a_state_says_what_a_tenant_does_now(
    fields: dict[str, bool], *, running: bool, paused: bool, state: State
) -> None:
    assert status(a_bulkhead(**fields), running=running, paused_since=NOON if paused else None).state is state


def test_a_run_of_which_a_request_waits_waits() -> None:
    run_of_it = going(announced=12, listed=10, pushed=2)
    bulkhead = a_bulkhead(going=run_of_it)
    with run_of_it.tally.waiting(WaitReason.BACKOFF, LATER):
        waiting = status(bulkhead, running=True)
    assert waiting.wait
    assert (waiting.state, waiting.wait.reason, waiting.wait.until) == (State.WAITING, WaitReason.BACKOFF, LATER)
    assert status(bulkhead, running=True).state is State.RUNNING


def test_when_a_run_will_be_done_is_foreseen_as_soon_as_a_page_says_how_much_there_is() -> None:
    begun = status(a_bulkhead(going=going()), running=True).run
    far = status(a_bulkhead(going=going(announced=12, listed=10, pushed=2)), running=True).run
    assert begun
    assert far
    assert begun.done_at is None
    assert far.done_at == NOON + timedelta(seconds=10 + 1)  # ten pushes, and a page


def test_a_paused_tenant_is_due_at_no_time() -> None:
    assert status(a_bulkhead()).next_fire_time == LATER
    assert status(a_bulkhead(), paused_since=NOON).next_fire_time is None


def test_the_error_is_what_stands_in_the_way_now_or_what_went_wrong_last() -> None:
    refused = SimpleNamespace(failure=SignInRefused("wrong password"))
    assert status(a_bulkhead()).error is None
    assert status(a_bulkhead(), last_run=PARTIAL).error == PARTIAL.error
    assert status(a_bulkhead(session=refused), last_run=PARTIAL).error == "wrong password"
    assert status(a_bulkhead(session=refused, left_open="disk full"), last_run=PARTIAL).error == "disk full"
    assert status(a_bulkhead(left_open="taken over", unrecorded="disk full"), last_run=PARTIAL).error == "disk full"


def test_permits_are_told_as_they_are_let_out() -> None:
    idle = status(a_bulkhead())
    assert (idle.permits, idle.permits_free, idle.shape) == (10, 3, Shape.PACED)


@pytest.mark.parametrize("announced", [4 * 10**10, 10**12, 2**63 - 1, 10**400])
def test_a_run_of_so_many_campaigns_that_no_calendar_has_its_end_has_none(announced: int) -> None:
    shown = status(a_bulkhead(going=going(announced=announced)), running=True)
    assert shown.run
    assert shown.run.announced == announced
    assert shown.run.done_at is None or announced == 4 * 10**10  # more than a thousand years are some, too
