from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adsyncd.model.run import Tally, Wait, lateness_s, period_of, run_id
from adsyncd.rate.wait import WaitReason

FIRE = datetime(2026, 11, 25, 10, 15, tzinfo=UTC)


def test_a_run_is_named_by_its_tenant_and_fire_time_in_utc() -> None:
    assert run_id("acme", FIRE) == "acme-20261125T101500.000Z"
    assert run_id("acme", FIRE.astimezone(timezone(timedelta(hours=5)))) == run_id("acme", FIRE)


def test_runs_a_millisecond_apart_have_names_of_their_own_that_sort_by_time() -> None:
    names = [run_id("acme", FIRE + timedelta(milliseconds=ms)) for ms in range(1200)]
    assert len(set(names)) == 1200
    assert names == sorted(names)


@pytest.mark.parametrize("tenant", ["acme", "acme-2026", "a-20261125"])
@given(after=st.timedeltas(timedelta(0), timedelta(days=365 * 900)), length=st.integers(4, 20))
def test_the_beginning_of_a_run_id_tells_its_tenant_and_the_time_in_which_it_fired(
    tenant: str, after: timedelta, length: int
) -> None:
    fire_time = FIRE + after
    period = period_of(run_id(tenant, fire_time)[: len(tenant) + 1 + length])
    assert period
    assert period[0] == tenant
    assert period[1] <= fire_time < period[2]


@pytest.mark.parametrize(
    "text", ["acme", "acme-202", "acme-20261325", "acme-2026112T", "-2026", "acme-0000", "acme-9999"]
)
def test_no_other_text_is_the_beginning_of_a_run_id(text: str) -> None:
    assert period_of(text) is None


def test_campaigns_whose_outcome_is_known_are_settled_whatever_it_is() -> None:
    assert Tally(listed=20, pushed=1, skipped=2, stored=5, dead_lettered=3, failed=4).settled == 15


def test_of_several_waits_the_one_that_is_over_first_is_told_but_none_that_is_over_already() -> None:
    tally = Tally()
    in_line, first, later = (FIRE + timedelta(seconds=s) for s in (2, 20, 40))
    with (
        tally.waiting(WaitReason.BACKOFF, later),
        tally.waiting(WaitReason.QUOTA, in_line),
        tally.waiting(WaitReason.QUOTA, first),
    ):
        told = [tally.wait(FIRE + timedelta(seconds=s)) for s in (1, 3, 21, 41)]
        assert [wait and wait.until for wait in told] == [in_line, first, later, later]
    assert tally.wait(FIRE) is None


def test_a_wait_says_after_what_or_on_whose_account() -> None:
    assert str(Wait(WaitReason.QUOTA)) == "quota"
    assert str(Wait(WaitReason.BACKOFF, detail="Vault is sealed")) == "backoff after Vault is sealed"
    assert str(Wait(WaitReason.BREAKER, detail="ads.example.com")) == "circuit breaker of ads.example.com"


# The time of a run by the reason of its waits


class Hand:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


class Slot:
    """A place for one wait at a time."""

    def __init__(self, tally: Tally) -> None:
        self.tally, self.stack = tally, ExitStack()
        self.began: int | None = None
        self.reason: WaitReason | None = None

    def act(self, reason: WaitReason | None, step: int) -> None:
        """Begin a wait, give the one in progress another reason, or end it if there is no reason."""
        if reason is None:
            self.stack.close()
            self.began = None
        elif self.began is None:
            self.tell = self.stack.enter_context(self.tally.waiting(reason))
            self.began = step
        else:
            self.tell(Wait(reason))
        self.reason = reason


STEPS = st.lists(st.tuples(st.integers(0, 3), st.none() | st.sampled_from(WaitReason), st.integers(0, 5)), max_size=40)


@given(steps=STEPS)
def test_each_instant_of_a_run_counts_once_for_the_reason_of_its_oldest_wait(
    steps: list[tuple[int, WaitReason | None, int]],
) -> None:
    clock = Hand()
    tally = Tally(now=clock)
    slots = [Slot(tally) for _ in range(4)]
    expected: dict[WaitReason, float] = {}
    for step, (number, reason, lasts_s) in enumerate(steps):
        slots[number].act(reason, step)
        clock.at += lasts_s
        waiting = [slot for slot in slots if slot.began is not None]
        if waiting:
            oldest = min(waiting, key=lambda slot: slot.began or 0).reason
            assert oldest
            expected[oldest] = expected.get(oldest, 0.0) + lasts_s
        assert {reason: s for reason, s in tally.waits_so_far().items() if s} == {
            reason: s for reason, s in expected.items() if s
        }
    assert sum(tally.waits_so_far().values()) <= clock.at - 1000.0
    for slot in slots:
        slot.act(None, 0)
    clock.at += 1000
    assert sum(tally.waits.values()) == sum(expected.values())


def test_a_wait_for_the_database_counts_but_is_no_wait_to_be_shown() -> None:
    clock = Hand()
    tally = Tally(now=clock)
    with tally.storing():
        clock.at += 2
        assert tally.wait(FIRE) is None
        with tally.waiting(WaitReason.QUOTA):
            assert tally.wait(FIRE) == Wait(WaitReason.QUOTA)
            clock.at += 3
    assert tally.waits == {WaitReason.STORE: 5}


def test_what_a_cancelled_run_waited_for_is_never_the_database() -> None:
    tally = Tally()
    with pytest.raises(GeneratorExit), tally.storing(), tally.waiting(WaitReason.QUOTA):
        raise GeneratorExit
    assert tally.cut_short == Wait(WaitReason.QUOTA)


def test_the_clock_is_read_only_when_the_reason_changes() -> None:
    reads = list[float]()

    def read() -> float:
        reads.append(0.0)
        return 0.0

    tally = Tally(now=read)
    with tally.waiting(WaitReason.QUOTA):
        for _ in range(1000):
            with tally.waiting(WaitReason.BACKOFF), tally.storing():
                pass
    assert len(reads) == 2  # at its begin and its end


def test_a_run_is_as_late_as_the_oldest_tick_that_it_stands_for() -> None:
    later = FIRE + timedelta(minutes=4)
    assert lateness_s(FIRE, None, FIRE + timedelta(seconds=2)) == 2
    assert lateness_s(later, FIRE, later) == 240
    assert lateness_s(FIRE, None, FIRE - timedelta(days=1)) == 0
