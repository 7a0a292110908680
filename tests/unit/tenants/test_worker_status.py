from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from adsyncd.errors import AdsyncdError, SignInRefused
from adsyncd.model.run import Outcome, Run, Tally
from adsyncd.model.status import Going, State
from adsyncd.model.verdict import Severity, Trouble, Verdict
from adsyncd.rate.quota import Quota, Shape
from adsyncd.rate.wait import WaitReason
from adsyncd.tenants.condition import Activity
from adsyncd.tenants.diff import Change
from adsyncd.tenants.services import Services
from adsyncd.tenants.turns import Turns
from adsyncd.tenants.worker import Worker
from support.records import NOON, HandClock, run
from support.tenants import a_tenant

RUN, REPLAY, COMMAND = Activity
LATER = NOON + timedelta(minutes=15)
PARTIAL = replace(run(), ended_at=NOON, outcome=Outcome.PARTIAL, error="1 of 2 campaigns were not pushed")


REFUSED = SignInRefused("wrong password")


class Gate:
    """A gate through which a request goes each second."""

    free = 3
    shape = Shape.PACED

    def forecast_s(self, permits: int, cost: int = 1) -> float:
        return permits / cost

    def silence_s(self) -> float:
        return 0.0


def a_worker(
    *activities: Activity,
    paused_since: datetime | None = None,
    last_run: Run | None = None,
    failure: AdsyncdError | None = None,
    **fields: Any,  # noqa: ANN401 - its own
) -> Worker:
    """Return a worker for which `activities` are in progress."""
    services = Mock(spec=Services, clock=HandClock(), turns=Turns())
    services.connector.session.return_value = SimpleNamespace(failure=failure)
    services.governor.gate.return_value = Gate()
    worker = Worker(a_tenant(), services, lambda _: None, paused_since, last_run)
    worker._activities = Counter(activities)
    for name, value in fields.items():
        setattr(worker, name, value)
    return worker


def going(announced: int = 0, listed: int = 0, pushed: int = 0) -> Going:
    return Going("acme-1", NOON, Tally(announced=announced, listed=listed, pushed=pushed))


@pytest.mark.parametrize(
    ("activities", "fields", "state"),
    [
        ([], {}, State.IDLE),
        ([COMMAND], {}, State.IDLE),
        ([], {"paused_since": NOON}, State.PAUSED),
        ([RUN], {}, State.RUNNING),
        ([RUN], {"paused_since": NOON}, State.RUNNING),
        ([REPLAY], {}, State.RUNNING),
        ([REPLAY], {"paused_since": NOON}, State.RUNNING),
        ([], {"elsewhere": "process 7"}, State.ELSEWHERE),
        ([], {"elsewhere": "process 7", "paused_since": NOON}, State.PAUSED),
        ([RUN], {"elsewhere": "process 7"}, State.RUNNING),
        ([RUN], {"leaving": True}, State.DRAINING),
        ([REPLAY], {"leaving": True}, State.DRAINING),
    ],
)
def test_the_state_is_what_the_tenant_does_now(
    activities: list[Activity], fields: dict[str, Any], state: State
) -> None:
    assert a_worker(*activities, **fields).status(LATER).state is state


def test_a_run_with_a_waiting_request_is_waiting() -> None:
    in_progress = going(announced=12, listed=10, pushed=2)
    worker = a_worker(RUN, going=in_progress)
    with in_progress.tally.waiting(WaitReason.BACKOFF, LATER):
        waiting = worker.status(LATER)
    assert waiting.wait
    assert (waiting.state, waiting.wait.reason, waiting.wait.until) == (State.WAITING, WaitReason.BACKOFF, LATER)
    assert worker.status(LATER).state is State.RUNNING


@pytest.mark.parametrize(
    ("announced", "done_at"),
    [
        (0, None),  # before the first page
        (12, NOON + timedelta(seconds=10 + 1)),  # ten pushes, and a page
        (4 * 10**10, NOON + timedelta(seconds=4 * 10**10 - 10 + 8 + 4 * 10**9 - 1)),  # more than a thousand years
        (10**12, None),
        (2**63 - 1, None),
        (10**400, None),
    ],
)
def test_the_end_of_a_run_is_estimated_from_the_first_page_on_if_a_calendar_has_its_date(
    announced: int, done_at: datetime | None
) -> None:
    listed, pushed = (10, 2) if announced else (0, 0)
    shown = a_worker(RUN, going=going(announced, listed, pushed)).status(LATER).run
    assert shown
    assert (shown.announced, shown.done_at) == (announced, done_at)


def test_a_paused_tenant_has_no_next_fire_time() -> None:
    assert a_worker().status(LATER).next_fire_time == LATER
    paused = a_worker(paused_since=NOON).status(LATER)
    assert (paused.next_fire_time, paused.paused_since) == (None, NOON)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, None),
        ({"last_run": PARTIAL}, PARTIAL.error),
        ({"last_run": PARTIAL, "failure": REFUSED}, "wrong password"),
        ({"last_run": PARTIAL, "failure": REFUSED, "_left_open": "taken over"}, "taken over"),
        ({"failure": REFUSED, "_left_open": "taken over", "_unrecorded": "disk full"}, "disk full"),
    ],
)
def test_the_error_is_the_present_obstacle_or_the_last_failure(fields: dict[str, Any], error: str | None) -> None:
    assert a_worker(**fields).status(LATER).error == error


def test_permits_are_shown_with_the_shape_in_which_they_are_granted() -> None:
    idle = a_worker().status(LATER)
    assert (idle.permits, idle.permits_free, idle.shape) == (10, 3, Shape.PACED)


def test_the_status_has_the_worker_s_verdict() -> None:
    late = Verdict("acme", Trouble.LATE, Severity.WARNING, "acme is late: every second tick is skipped.", "late")
    worker = a_worker(_judged=(late,))
    assert worker.status(LATER).verdict is worker.verdict is late
    assert a_worker().status(LATER).verdict is None


def test_a_run_in_progress_is_shown_with_the_account_that_it_began_with_until_it_ends() -> None:
    old = a_tenant()
    new = replace(old, client_id="another", quota=Quota(99, timedelta(minutes=1)))
    worker = a_worker(RUN, going=going(), failure=REFUSED, last_run=PARTIAL)
    worker._used = worker.account
    worker.change(Change(old, new))
    worker.session = SimpleNamespace(failure=None)  # type: ignore[assignment]  # the part that a status reads
    during = worker.status(LATER)
    assert (during.client_id, during.next_client_id, during.permits) == (old.client_id, "another", old.quota.requests)
    assert (during.error, worker.facts().tenant) == ("wrong password", old)
    worker.going = None
    after = worker.status(LATER)
    assert (after.client_id, after.next_client_id, after.permits) == ("another", None, 99)
    assert (after.error, after.verdict, after.last_run) == (None, None, PARTIAL)
    assert worker.facts().tenant == new


def test_a_changed_quota_of_the_same_account_applies_to_the_run_in_progress() -> None:
    old = a_tenant()
    new = replace(old, quota=Quota(99, timedelta(minutes=1)))
    worker = a_worker(RUN, going=going(), last_run=PARTIAL)
    worker._used = worker.account
    worker.change(Change(old, new))
    during = worker.status(LATER)
    assert (during.permits, during.next_client_id, during.error) == (99, None, PARTIAL.error)


def test_the_end_of_a_run_of_an_earlier_account_says_nothing_about_the_tenant() -> None:
    old = a_tenant()
    worker = a_worker(RUN, going=going())
    worker.change(Change(old, replace(old, client_id="another")))
    of_old = replace(PARTIAL, run_id="acme-1", ended_at=LATER, account_hash=old.account_hash)
    assert not worker.is_evidence(of_old)
    worker.note_end(of_old)
    assert (worker.last_run, worker.verdict) == (of_old, None)
    assert not worker.is_evidence(replace(PARTIAL, run_id="acme-0"))  # of an earlier version, and ended before
    assert worker.is_evidence(replace(PARTIAL, run_id="acme-2", ended_at=LATER))
    assert worker.is_evidence(replace(PARTIAL, run_id="acme-2", account_hash=worker.tenant.account_hash))


@pytest.mark.parametrize(
    ("last_run", "error"),
    [
        (replace(PARTIAL, account_hash=a_tenant().account_hash), PARTIAL.error),
        (replace(PARTIAL, account_hash=a_tenant(client_id="another").account_hash), None),
        (PARTIAL, PARTIAL.error),  # an earlier version wrote it
        (replace(PARTIAL, outcome=Outcome.ABANDONED, error=None, account_hash=a_tenant().account_hash), None),
    ],
)
def test_after_a_restart_the_last_run_counts_if_it_had_the_present_account(last_run: Run, error: str | None) -> None:
    worker = a_worker(last_run=last_run)
    shown = worker.status(LATER)
    assert (shown.error, shown.last_run) == (error, last_run)
    assert (shown.verdict is None) == (error is None)
